"""The daemon's picture of the subscriptions stays right whatever order changes are heard in."""

from __future__ import annotations

import json
import tracemalloc
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from wazo_webhookd.domain.event import Event
from wazo_webhookd.domain.subscription import MASTER, Subscription
from wazo_webhookd.subscriptions.catalog import Catalog
from wazo_webhookd.subscriptions.feed import Change

START = datetime(2026, 1, 1, tzinfo=UTC)


def _subscription(uuid: str, *events: str, **values: Any) -> Subscription:
    given: dict[str, Any] = {'owner_tenant_uuid': 't', 'created_at': START, 'config': {}, **values}
    return Subscription(uuid=uuid, name='n', service='http', events=list(events), **given)


def _event(name: str, **headers: Any) -> Event:
    return Event('e', name, headers, {}, '{}', 'bus', START)


def _created(version: int, *now: Subscription) -> Change:
    return Change('created', version, tuple(subscription.uuid for subscription in now), now)


def test_card_knows_what_a_delivery_needs() -> None:
    catalog = Catalog()
    mine = _subscription('s', 'a', owner_user_uuid='u', config={'url': 'http://host/{{ x }}', 'method': 'get'})
    catalog.on_change(_created(1, mine))
    (card,) = catalog.match(_event('a', tenant_uuid='t'))

    assert card.uuid == 's'
    assert card.tenant_uuid == 't'
    assert card.service == 'http'
    assert card.endpoint == 't|http://host:80'
    assert card.user_owned
    assert json.loads(card.document) == mine.to_dict() == card.subscription()


def test_subscriptions_come_in_the_order_of_their_creation() -> None:
    catalog = Catalog()
    late = _subscription('1', 'a', created_at=START + timedelta(microseconds=1))
    catalog.on_change(_created(1, late, _subscription('3', 'a'), _subscription('2', 'a')))

    assert [card.uuid for card in catalog.match(_event('a', tenant_uuid='t'))] == ['2', '3', '1']


def test_deleted_subscriptions_are_gone() -> None:
    catalog = Catalog()
    catalog.on_change(_created(1, _subscription('s', 'a')))
    catalog.on_change(Change('deleted', 2, ('s',)))

    assert len(catalog) == 0
    assert catalog.names() == set()
    assert catalog.card('s') is None


def test_one_that_cannot_be_used_keeps_no_other_from_its_events(caplog: pytest.LogCaptureFixture) -> None:
    catalog = Catalog()
    odd = _subscription('odd', 'a', config=None)
    catalog.on_change(_created(1, _subscription('1', 'a'), odd, _subscription('2', 'a')))

    assert [card.uuid for card in catalog.match(_event('a', tenant_uuid='t'))] == ['1', '2']
    assert catalog.card('odd') is None
    assert 'subscription odd cannot be used' in caplog.text


def test_an_older_change_that_is_heard_late_changes_nothing() -> None:
    catalog = Catalog()
    catalog.on_change(Change('updated', 3, ('s',), (_subscription('s', 'new'),)))
    catalog.on_change(Change('updated', 2, ('s',), (_subscription('s', 'old'),)))

    assert catalog.names() == {'new'}


def test_a_creation_that_is_heard_after_the_deletion_changes_nothing() -> None:
    catalog = Catalog()
    catalog.on_change(Change('deleted', 2, ('s',)))
    catalog.on_change(_created(1, _subscription('s', 'a')))

    assert len(catalog) == 0


def test_master_tenant_hears_all_tenants_from_when_it_is_known() -> None:
    catalog = Catalog()
    catalog.on_change(_created(1, _subscription('s', 'a', owner_tenant_uuid='m'), _subscription('t', 'a')))

    assert catalog.match(_event('a', tenant_uuid='x')) == []
    catalog.set_master_tenant('m')
    assert [card.uuid for card in catalog.match(_event('a', tenant_uuid='x'))] == ['s']
    catalog.set_master_tenant('t')
    assert [card.uuid for card in catalog.match(_event('a', tenant_uuid='x'))] == ['t']


def test_what_waits_for_its_tenant_hears_all_tenants_at_once() -> None:
    catalog = Catalog()
    catalog.on_change(_created(1, _subscription('s', 'a', owner_tenant_uuid=MASTER)))

    assert [card.uuid for card in catalog.match(_event('a', tenant_uuid='x'))] == ['s']


def test_the_reason_of_a_silence_can_be_asked() -> None:
    catalog = Catalog()
    catalog.on_change(_created(1, _subscription('s', 'a')))

    assert catalog.explain('s', _event('a', tenant_uuid='t')) is None
    assert catalog.explain('s', _event('a', tenant_uuid='x')) == 'the event is not of tenant t'
    assert catalog.explain('other', _event('a')) == 'there is no such subscription'


def test_ten_thousand_subscriptions_cost_at_most_25_mebibytes() -> None:
    catalog = Catalog()
    tenants = [str(uuid.uuid4()) for _ in range(50)]
    tracemalloc.start()
    for number in range(10_000):
        user = str(uuid.uuid4()) if number % 2 else None
        subscription = Subscription(
            uuid=str(uuid.uuid4()),
            name=f'subscription {number}',
            service='http',
            events=['call_created', 'call_ended', 'user_created', f'custom_{number % 200}', 'user_missed_call'],
            config={'url': f'https://host{number % 500}.example.com/{number}', 'method': 'post', 'body': '{{ event }}'},
            owner_tenant_uuid=tenants[number % 50],
            owner_user_uuid=user,
            events_user_uuid=user,
            metadata={'a': '1', 'b': 'two', 'c': str(number)},
            created_at=START,
        )
        catalog.on_change(_created(number + 1, subscription))
    mebibytes = tracemalloc.get_traced_memory()[0] / 2**20
    tracemalloc.stop()
    print(f'{mebibytes:.1f} MiB')

    assert len(catalog) == 10_000
    assert mebibytes < 25
