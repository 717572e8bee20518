"""A wish: these events, to that service, configured so."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

Scalar = str | int | float | bool | None

MASTER: Final = 'master'
"""Stored as the owner tenant while the master tenant is not known yet; matches as the master tenant does."""

UUID_LENGTH: Final = 36

FIELDS: Final = (
    'name',
    'service',
    'events',
    'config',
    'owner_tenant_uuid',
    'owner_user_uuid',
    'events_user_uuid',
    'events_wazo_uuid',
    'metadata',
)


class InvalidSubscription(ValueError):
    """What was given cannot be stored as a subscription."""


@dataclass(frozen=True, slots=True)
class Subscription:
    """As stored, complete, readable without a database. ``events`` keep the order given."""

    uuid: str
    name: str
    service: str
    events: list[str]
    config: dict[str, Scalar]
    owner_tenant_uuid: str
    owner_user_uuid: str | None = None
    events_user_uuid: str | None = None
    events_wazo_uuid: str | None = None
    metadata: dict[str, str | None] = field(default_factory=dict)
    created_at: datetime | None = None

    @property
    def metadata_(self) -> dict[str, str | None]:
        """The name that current plugins use for ``metadata``."""
        return self.metadata

    def to_dict(self) -> dict[str, Any]:
        """The ten keys that REST shows and services receive."""
        return {
            'uuid': self.uuid,
            'name': self.name,
            'service': self.service,
            'events': list(self.events),
            'config': dict(self.config),
            'events_user_uuid': self.events_user_uuid,
            'events_wazo_uuid': self.events_wazo_uuid,
            'owner_user_uuid': self.owner_user_uuid,
            'owner_tenant_uuid': self.owner_tenant_uuid,
            'metadata': dict(self.metadata),
        }

    def document(self) -> bytes:
        """``to_dict()`` as compact JSON, ASCII only."""
        return json.dumps(self.to_dict(), separators=(',', ':')).encode()

    def wishes_the_same_as(self, other: Subscription) -> bool:
        """Same name, service, events (in any order) and config."""
        return (
            self.name == other.name
            and self.service == other.service
            and set(self.events) == set(other.events)
            and _typed(self.config) == _typed(other.config)
        )


def _typed(config: Mapping[str, Scalar]) -> dict[str, tuple[type, Scalar]]:
    return {key: (type(value), value) for key, value in config.items()}


def is_storable(value: str) -> bool:
    """No column takes NUL or half of a surrogate pair."""
    return '\0' not in value and not any('\ud800' <= character <= '\udfff' for character in value)


def clean(values: Mapping[str, Any]) -> dict[str, Any]:
    """What code (REST after its own validation, or a guest) gave, in the form that is stored.

    Takes ``metadata`` or ``metadata_``; keys that are absent stay absent, unknown keys are dropped.
    Raises InvalidSubscription naming the key.
    """
    given = dict(values)
    if 'metadata_' in given:
        given.setdefault('metadata', given['metadata_'])
    result: dict[str, Any] = {}
    for key in FIELDS:
        if key not in given:
            continue
        value = given[key]
        if key == 'events':
            result[key] = _events(value)
        elif key == 'config':
            result[key] = _mapping(key, value, keep_types=True)
        elif key == 'metadata':
            result[key] = _mapping(key, {} if value is None else value, keep_types=False)
        elif value is None and key not in ('name', 'service'):
            result[key] = None
        else:
            result[key] = _text(key, value)
            if key.endswith('_uuid') and len(result[key]) > UUID_LENGTH:
                raise InvalidSubscription(f'{key}: longer than {UUID_LENGTH} characters')
    return result


def _text(key: str, value: Any) -> str:
    text = str(value)
    if not is_storable(text):
        raise InvalidSubscription(f'{key}: contains a character that cannot be stored (NUL or a lone surrogate)')
    return text


def _events(value: Any) -> list[str]:
    if isinstance(value, str | bytes) or not isinstance(value, Iterable):
        raise InvalidSubscription('events: not a list of names')
    return list(dict.fromkeys(_text('events', name) for name in value))


def _mapping(key: str, value: Any, *, keep_types: bool) -> dict[str, Scalar]:
    if not isinstance(value, Mapping):
        raise InvalidSubscription(f'{key}: not a mapping')
    result: dict[str, Scalar] = {}
    for name, item in value.items():
        if item is not None and not isinstance(item, str | int | float):
            raise InvalidSubscription(f'{key}: the value of {str(name)[:128]!r} is not a string, number or boolean')
        if isinstance(item, str):
            item = _text(key, item)
        elif item is not None and not keep_types:
            item = json.dumps(item)
        elif isinstance(item, float) and item - item != 0.0:
            raise InvalidSubscription(f'{key}: the value of {str(name)[:128]!r} is not a finite number')
        result[_text(key, name)] = item
    return result
