"""How an event of the platform looks on the bus: headers, and a body that repeats them (reference: delivery 1.1)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

EVERYBODY = '*'


@dataclass(frozen=True, slots=True)
class PlatformEvent:
    """One event, ready to be published."""

    name: str
    routing_key: str
    headers: dict[str, Any]
    body: dict[str, Any]


def build(
    name: str,
    data: Any,
    *,
    origin_uuid: str,
    routing_key: str,
    now: datetime,
    tenant_uuid: str | None = None,
    user_uuids: Iterable[str] = (),
    required_acl: str | None = None,
    extra: Mapping[str, Any] | None = None,
) -> PlatformEvent:
    """``user_uuids``: EVERYBODY for all of the tenant. ``now`` becomes naive local time, as the platform has it.

    ``routing_key``: dotted, its parts escaped with ``escaped``. ``extra``: further headers, which never replace ours.
    """
    local = now.astimezone() if now.tzinfo is not None else now
    headers: dict[str, Any] = dict(extra or {})
    headers.update(
        name=name,
        origin_uuid=origin_uuid,
        timestamp=local.replace(tzinfo=None).isoformat(),
        required_access=f'event.{name}',
        required_acl=required_acl or f'events.{routing_key}',
    )
    if tenant_uuid is not None:
        headers['tenant_uuid'] = tenant_uuid
    for user_uuid in user_uuids:
        headers[f'user_uuid:{user_uuid}'] = True
    return PlatformEvent(name, routing_key, headers, {**headers, 'data': data})


def escaped(part: str) -> str:
    """One part of a routing key."""
    return part.replace('.', '__DOT__').replace('#', '__HASH__').replace('*', '__STAR__')
