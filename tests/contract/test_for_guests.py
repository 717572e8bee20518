"""Names that plugins, services and other programs import or look up (reference: rest 6.2 and 6.3, architecture 3)."""

from __future__ import annotations

import importlib
from importlib.metadata import entry_points
from types import ModuleType

import pytest

GROUPS = {
    'wazo_webhookd.plugins': {'api', 'config', 'mobile', 'services', 'status', 'subscriptions'},
    'wazo_webhookd.services': {'http', 'mobile'},
    'wazo_webhookd.celery_tasks': {'subscription', 'mobile'},
    'wazo_purge_db.purgers': {'webhookd-logs'},
    'console_scripts': {
        'wazo-webhookd', 'wazo-webhookd-worker', 'wazo-webhookd-init-db', 'wazo-webhookd-init-amqp',
        'wazo-webhookd-sync-db',
    },
}  # fmt: skip
IMPORTED = {
    'wazo_webhookd.rest_api': ['app', 'api', 'AuthResource', 'ErrorCatchingResource', 'auth_verifier', 'VERSION'],
    'wazo_webhookd.auth': [
        'required_master_tenant', 'get_master_tenant_uuid', 'Token', 'get_token_user_uuid_from_request',
    ],
    'wazo_webhookd.plugins.subscription.service': ['SubscriptionService', 'build_subscription_service'],
    'wazo_webhookd.plugins.subscription.celery_tasks': ['hook_runner_task'],
    'wazo_webhookd.services.helpers': [
        'HookExpectedError', 'HookRetry', 'requests_automatic_hook_retry', 'requests_automatic_detail',
    ],
    'wazo_webhookd.celery': ['app'],
    'wazo_webhookd.bus': ['BusConsumer', 'BusPublisher'],
    'wazo_webhookd.database.models': [
        'Subscription', 'SubscriptionEvent', 'SubscriptionOption', 'SubscriptionMetadatum', 'SubscriptionLog',
    ],
    'wazo_webhookd.database.purger': ['SubscriptionLogsPurger'],
}  # fmt: skip


def ours(group: str) -> dict[str, object]:
    found = [entry for entry in entry_points(group=group) if entry.value.startswith('wazo_webhookd.')]
    return {entry.name: entry.load() for entry in found}


@pytest.mark.parametrize('group', GROUPS)
def test_entry_points_are_there_and_load(group: str) -> None:
    assert set(ours(group)) >= GROUPS[group]


def test_what_is_loaded_is_what_each_group_promises() -> None:
    assert all(callable(plugin().load) for plugin in ours('wazo_webhookd.plugins').values())  # type: ignore[operator]
    for name in GROUPS['wazo_webhookd.services']:
        assert {'load', 'run'} <= set(dir(ours('wazo_webhookd.services')[name]))
    assert all(isinstance(module, ModuleType) for module in ours('wazo_webhookd.celery_tasks').values())
    assert callable(ours('wazo_purge_db.purgers')['webhookd-logs']().purge)  # type: ignore[operator]


@pytest.mark.parametrize('module', IMPORTED)
def test_names_can_be_imported(module: str) -> None:
    imported = importlib.import_module(module)

    assert [name for name in IMPORTED[module] if not hasattr(imported, name)] == []


def test_the_names_mean_what_they_meant() -> None:
    from wazo_webhookd.celery import app
    from wazo_webhookd.rest_api import VERSION, api

    assert VERSION == '1.0'
    assert api.prefix == '/1.0'
    assert app.tasks['wazo_webhookd.plugins.subscription.celery_tasks.hook_runner_task'] is not None
