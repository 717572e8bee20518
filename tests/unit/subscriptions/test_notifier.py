"""The bus events of a subscription's life (reference, rest 4.6)."""

from __future__ import annotations

from datetime import datetime

import pytest

from wazo_webhookd.domain.subscription import Subscription
from wazo_webhookd.subscriptions.notifier import Deed, life_event

NOW = datetime(2026, 1, 3, 10, 11, 12, 345678).astimezone()
UNOWNED = Subscription('s', 'n', 'http', ['e'], {'url': 'x'}, 't', metadata={'a': 'b'})
OWNED = Subscription('s', 'n', 'http', ['e'], {'url': 'x'}, 't', owner_user_uuid='u')


@pytest.mark.parametrize('deed', ['created', 'updated', 'deleted'])
def test_subscription_without_owner_concerns_its_tenant(deed: Deed) -> None:
    event = life_event(deed, UNOWNED, 'wazo', NOW)

    assert event.headers == {
        'name': f'webhookd_subscription_{deed}',
        'origin_uuid': 'wazo',
        'timestamp': '2026-01-03T10:11:12.345678',
        'tenant_uuid': 't',
        'user_uuid:*': True,
        'required_access': f'event.webhookd_subscription_{deed}',
        'required_acl': f'events.webhookd.subscription.{deed}',
    }
    assert event.body == {**event.headers, 'data': UNOWNED.to_dict()}
    assert event.name == f'webhookd_subscription_{deed}'
    assert event.routing_key == f'webhookd.subscription.{deed}'


@pytest.mark.parametrize('deed', ['created', 'updated', 'deleted'])
def test_subscription_with_owner_concerns_the_owner(deed: Deed) -> None:
    event = life_event(deed, OWNED, 'wazo', NOW)

    assert event.headers['name'] == event.name == f'webhookd_user_subscription_{deed}'
    assert event.headers['user_uuid:u'] is True
    assert 'user_uuid:*' not in event.headers
    assert event.headers['tenant_uuid'] == 't'
    assert event.routing_key == f'webhookd.users.u.subscription.{deed}'
    assert event.headers['required_acl'] == f'events.webhookd.users.u.subscription.{deed}'
    assert event.body['data'] == {
        'uuid': 's', 'name': 'n', 'service': 'http', 'events': ['e'], 'config': {'url': 'x'}, 'metadata': {},
    }  # fmt: skip


def test_any_owner_fits_into_a_routing_key() -> None:
    owner = Subscription('s', 'n', 'http', [], {}, 't', owner_user_uuid='*' * 36)

    routing_key = life_event('created', owner, 'wazo', NOW).routing_key
    assert routing_key.startswith('webhookd.users.__STAR____STAR__')
    assert len(routing_key.encode()) <= 255
