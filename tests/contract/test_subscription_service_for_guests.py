"""What plugins import of the subscriptions, and how they call it (reference, delivery 7.3 and 7.4)."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest

from wazo_webhookd.database import schema
from wazo_webhookd.plugins.subscription import service as kept_for_guests
from wazo_webhookd.plugins.subscription.service import SubscriptionService, build_subscription_service
from wazo_webhookd.subscriptions import service as home

PARAMETERS = {
    'list': ['owner_tenant_uuids', 'owner_user_uuid', 'events_user_uuid', 'search_metadata'],
    'get': ['uuid', 'owner_tenant_uuids', 'owner_user_uuid'],
    'create': ['dict'],
    'update': ['uuid', 'dict', 'owner_tenant_uuids', 'owner_user_uuid'],
    'delete': ['uuid', 'owner_tenant_uuids', 'owner_user_uuid'],
    'get_logs': ['uuid', 'from_date', 'limit', 'offset', 'order', 'direction', 'search'],
    'create_hook_log': [
        'uuid', 'subscription_uuid', 'status', 'attempts', 'max_attempts', 'started_at', 'ended_at', 'event', 'detail',
    ],
}  # fmt: skip
POSITIONS_ONLY = ('uuid', 'dict')


@pytest.fixture
def config(tmp_path: Path) -> dict[str, Any]:
    uri = f'sqlite:///{tmp_path / "webhookd.sqlite"}'
    schema.upgrade(uri)
    return {'db_uri': uri, 'uuid': 'wazo'}


def test_both_import_paths_are_the_same_objects() -> None:
    for name in kept_for_guests.__all__:
        assert getattr(kept_for_guests, name) is getattr(home, name)


@pytest.mark.parametrize(('method', 'parameters'), PARAMETERS.items())
def test_methods_take_what_plugins_pass(method: str, parameters: list[str]) -> None:
    own = list(inspect.signature(getattr(SubscriptionService, method)).parameters)[1:]

    for position, name in enumerate(parameters):
        assert name in POSITIONS_ONLY or own[position] == name


def test_documented_call_of_a_plugin(config: dict[str, Any]) -> None:
    service = SubscriptionService(config)
    created = service.create(
        {
            'name': 'my-subscription',
            'service': 'http',
            'events': ['call_created'],
            'config': {'method': 'get', 'url': 'https://me.example.com'},
        }
    )

    assert (created.name, created.service, created.events) == ('my-subscription', 'http', ['call_created'])
    assert created.config == {'method': 'get', 'url': 'https://me.example.com'}
    assert created.metadata_ == created.metadata == {}
    assert [found.uuid for found in service.list()] == [created.uuid]
    service.delete(created.uuid)
    assert service.list() == []
    service.database.dispose()


def test_a_service_is_built_from_dependencies(config: dict[str, Any]) -> None:
    service = build_subscription_service({'config': config, 'bus_publisher': object()})

    assert service.list() == []
    service.subscribe_bus(object())
    service.close()
    service.database.dispose()
