"""Whose subscriptions a caller may see: one value, decided once per request."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Final, Literal


class _Everything(Enum):
    EVERYTHING = 'everything'

    def __repr__(self) -> str:
        return 'EVERYTHING'


EVERYTHING: Final = _Everything.EVERYTHING
"""All tenants. Has to be said aloud: an empty set of tenants is nothing, and None is no answer."""

Tenants = frozenset[str] | Literal[_Everything.EVERYTHING]


@dataclass(frozen=True, slots=True)
class Scope:
    """``tenants``: the owner tenants that are visible, or EVERYTHING; an empty set shows nothing.
    ``owner``: the only owner whose subscriptions are visible; None does not ask for the owner."""

    tenants: Tenants
    owner: str | None = None

    @classmethod
    def of(cls, tenants: Iterable[str], owner: str | None = None) -> Scope:
        return cls(frozenset(tenants), owner)

    @property
    def is_empty(self) -> bool:
        return self.tenants is not EVERYTHING and not self.tenants

    def includes(self, tenant: str, owner: str | None) -> bool:
        """Is a subscription of this owner tenant and owner user visible?"""
        if self.tenants is not EVERYTHING and tenant not in self.tenants:
            return False
        return self.owner is None or self.owner == owner
