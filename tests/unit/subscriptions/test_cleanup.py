"""Subscriptions of users and tenants that are gone (reference, delivery 2.1)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from wazo_webhookd.subscriptions.cleanup import Cleanup


class _Service:
    def __init__(self) -> None:
        self.deleted: list[tuple[str, str]] = []

    def delete_of_user(self, user_uuid: str) -> int:
        self.deleted.append(('user', user_uuid))
        return 1

    def delete_of_tenant(self, tenant_uuid: str) -> int:
        self.deleted.append(('tenant', tenant_uuid))
        return 0


class _Bus:
    def __init__(self) -> None:
        self.handlers: dict[str, Callable[[Mapping[str, Any]], None]] = {}

    def subscribe_internal(self, event_name: str, handler: Callable[[Mapping[str, Any]], None]) -> None:
        self.handlers[event_name] = handler


def test_only_the_uuid_of_what_was_deleted_is_needed() -> None:
    service, bus = _Service(), _Bus()
    Cleanup(service).subscribe(bus)
    bus.handlers['user_deleted']({'data': {'uuid': 'u'}})
    bus.handlers['auth_tenant_deleted']({'name': 'auth_tenant_deleted', 'data': {'uuid': 't'}})

    assert service.deleted == [('user', 'u'), ('tenant', 't')]


@pytest.mark.parametrize('body', [{}, {'data': None}, {'data': {}}, {'data': {'uuid': 5}}, {'data': {'uuid': '\0'}}])
def test_an_event_without_a_uuid_deletes_nothing(body: dict[str, Any]) -> None:
    service, bus = _Service(), _Bus()
    Cleanup(service).subscribe(bus)
    for handler in bus.handlers.values():
        handler(body)

    assert service.deleted == []
