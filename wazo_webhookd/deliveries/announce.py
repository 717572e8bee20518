"""Bus events about endpoints and subscriptions in trouble, left in the outbox."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final, Literal

from sqlalchemy import Connection

from ..database import outbox

Kind = Literal['resting', 'recovered', 'disabling', 'disabled', 'resumed']

_NAMES: Final[dict[Kind, tuple[str, str]]] = {
    'resting': ('webhookd_endpoint_resting', 'endpoint.resting'),
    'recovered': ('webhookd_endpoint_recovered', 'endpoint.recovered'),
    'disabling': ('webhookd_subscription_disabling', 'subscription.disabling'),
    'disabled': ('webhookd_subscription_disabled', 'subscription.disabled'),
    'resumed': ('webhookd_subscription_resumed', 'subscription.resumed'),
}
_OWN_NAMES: Final = frozenset(name for name, _ in _NAMES.values())
_ESCAPES: Final = str.maketrans({'.': '__DOT__', '#': '__HASH__', '*': '__STAR__'})


def is_own_event(name: str) -> bool:
    """Is it one of those that are written here?"""
    return name in _OWN_NAMES


class Announcer:
    """``life`` publishes what is written after the commit; ``wake()`` tells its sender of the outbox."""

    def __init__(self, origin_uuid: str, life: str, wake: Callable[[], None] = lambda: None) -> None:
        self._origin_uuid = origin_uuid
        self._life = life
        self.wake = wake

    def write(
        self, connection: Connection, kind: Kind, document: bytes, state: str, reason: str | None, since: float | None
    ) -> None:
        """``document``: the subscription as REST shows it. Without an owner everybody of its tenant hears of it, else
        the owner alone (reference, rest 4.6)."""
        subscription = json.loads(document)
        name, key = _NAMES[kind]
        owner = subscription.get('owner_user_uuid')
        routing_key = f'webhookd.{key}' if owner is None else f'webhookd.users.{str(owner).translate(_ESCAPES)}.{key}'
        headers: dict[str, Any] = {
            'name': name,
            'origin_uuid': self._origin_uuid,
            'timestamp': datetime.now().isoformat(),  # naive local time, as all of the platform's events
            'tenant_uuid': subscription['owner_tenant_uuid'],
            f'user_uuid:{"*" if owner is None else owner}': True,
            'required_access': f'event.{name}',
            'required_acl': f'events.{routing_key}',
        }
        data = {
            'uuid': subscription['uuid'],
            'name': subscription['name'],
            'state': state,
            'reason': reason,
            'since': None if since is None else datetime.fromtimestamp(since, UTC).isoformat(),
        }
        outbox.write(connection, self._life, name, routing_key, headers, {**headers, 'data': data})
