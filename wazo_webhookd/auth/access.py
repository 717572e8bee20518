"""Which access a REST method needs.

``required_acl`` marks the method; the marks are read by the verifier.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple, TypeVar

Method = TypeVar('Method', bound=Callable[..., Any])

MARK: Final = 'acl'


class Access(NamedTuple):
    pattern: str


def required_acl(pattern: str) -> Callable[[Method], Method]:
    """Mark a method with an access such as ``webhookd.subscriptions.{subscription_uuid}.read``."""

    def mark(method: Method) -> Method:
        setattr(method, MARK, Access(pattern))
        return method

    return mark


def expanded(method: Callable[..., Any], arguments: Mapping[str, Any]) -> str:
    """The access that a call of the method needs; dots in what comes from the path become ``_``.

    A method that is not marked asks for no particular access: any valid token opens it.
    """
    mark = getattr(method, MARK, None)
    pattern: str = getattr(mark, 'pattern', '') or ''
    return pattern.format(**{name: str(value).replace('.', '_') for name, value in arguments.items()})
