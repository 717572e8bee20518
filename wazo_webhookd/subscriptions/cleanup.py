"""Subscriptions of users and tenants that are gone go too (reference, delivery 2.1)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from wazo_webhookd.domain.subscription import is_storable

logger = logging.getLogger(__name__)

USER_DELETED: Final = 'user_deleted'
TENANT_DELETED: Final = 'auth_tenant_deleted'


class Remover(Protocol):
    def delete_of_user(self, user_uuid: str) -> int: ...

    def delete_of_tenant(self, tenant_uuid: str) -> int: ...


class Bus(Protocol):
    def subscribe_internal(self, event_name: str, handler: Callable[[Mapping[str, Any]], None]) -> None: ...


class Cleanup:
    """Handlers of two bus events, by body; only ``data.uuid`` is needed, any origin will do.

    Handling an event twice is harmless. DatabaseUnavailable passes, so that the event comes again.
    """

    def __init__(self, service: Remover) -> None:
        self._service = service

    def subscribe(self, bus: Bus) -> None:
        """Hear both events before they are acknowledged."""
        bus.subscribe_internal(USER_DELETED, self.on_user_deleted)
        bus.subscribe_internal(TENANT_DELETED, self.on_tenant_deleted)

    def on_user_deleted(self, body: Mapping[str, Any]) -> None:
        uuid = _uuid(body, USER_DELETED)
        if uuid is not None:
            _report('user', uuid, self._service.delete_of_user(uuid))

    def on_tenant_deleted(self, body: Mapping[str, Any]) -> None:
        uuid = _uuid(body, TENANT_DELETED)
        if uuid is not None:
            _report('tenant', uuid, self._service.delete_of_tenant(uuid))


def _uuid(body: Mapping[str, Any], name: str) -> str | None:
    data = body.get('data')
    uuid = data.get('uuid') if isinstance(data, Mapping) else None
    if isinstance(uuid, str) and uuid and is_storable(uuid):
        return uuid
    logger.warning('a %s event without the uuid of what was deleted is ignored', name)
    return None


def _report(kind: str, uuid: str, deleted: int) -> None:
    if deleted:
        logger.info('%d subscriptions of deleted %s %s deleted', deleted, kind, uuid)
