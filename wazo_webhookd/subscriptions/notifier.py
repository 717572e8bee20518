"""The bus events that tell of a subscription's life (reference, rest 4.6)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

from wazo_webhookd.domain.subscription import Subscription

Deed = Literal['created', 'updated', 'deleted']

_ROUTING_KEY_BYTES: Final = 255
_ESCAPES: Final = str.maketrans({'.': '__DOT__', '#': '__HASH__', '*': '__STAR__'})
_OF_USERS: Final = ('uuid', 'name', 'service', 'events', 'config', 'metadata')


@dataclass(frozen=True, slots=True)
class LifeEvent:
    """One bus event: ``headers`` are the AMQP headers, repeated at the top of ``body``."""

    name: str
    routing_key: str
    headers: dict[str, Any]
    body: dict[str, Any]


def life_event(deed: Deed, subscription: Subscription, origin_uuid: str, now: datetime) -> LifeEvent:
    """Everybody of the tenant hears of a subscription without an owner, its owner alone of another.

    ``subscription`` as it is after the change (``deleted``: as it was last); ``now`` becomes the
    naive local time that the platform's events carry.
    """
    data = subscription.to_dict()
    owner = subscription.owner_user_uuid
    if owner is None:
        return tenant_event(
            f'webhookd_subscription_{deed}', f'webhookd.subscription.{deed}', subscription, data, origin_uuid, now
        )
    data = {key: data[key] for key in _OF_USERS}
    routing_key = f'webhookd.users.{owner.translate(_ESCAPES)}.subscription.{deed}'
    return user_event(f'webhookd_user_subscription_{deed}', routing_key, subscription, data, origin_uuid, now)


def tenant_event(
    name: str, routing_key: str, subscription: Subscription, data: dict[str, Any], origin_uuid: str, now: datetime
) -> LifeEvent:
    """For everybody in the tenant of the subscription."""
    return _event(name, routing_key, subscription.owner_tenant_uuid, '*', data, origin_uuid, now)


def user_event(
    name: str, routing_key: str, subscription: Subscription, data: dict[str, Any], origin_uuid: str, now: datetime
) -> LifeEvent:
    """For the owner of the subscription."""
    owner = str(subscription.owner_user_uuid)
    return _event(name, routing_key, subscription.owner_tenant_uuid, owner, data, origin_uuid, now)


def _event(
    name: str, routing_key: str, tenant: str, user: str, data: dict[str, Any], origin_uuid: str, now: datetime
) -> LifeEvent:
    routing_key = routing_key.encode()[:_ROUTING_KEY_BYTES].decode(errors='ignore')
    headers: dict[str, Any] = {
        'name': name,
        'origin_uuid': origin_uuid,
        'timestamp': now.astimezone().replace(tzinfo=None).isoformat(),
        'tenant_uuid': tenant,
        f'user_uuid:{user}': True,
        'required_access': f'event.{name}',
        'required_acl': f'events.{routing_key}',
    }
    return LifeEvent(name, routing_key, headers, {**headers, 'data': data})
