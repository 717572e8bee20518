"""Deliveries, health and resume over REST (new.md)."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from sqlalchemy import insert

from wazo_webhookd.database.models import Delivery, SubscriptionLog
from wazo_webhookd.plugins.deliveries.service import why_waiting

from .conftest import MASTER, TENANT

NOW = datetime(2026, 11, 1, 12, 0, 0, 123456, tzinfo=UTC)
KEYS = {
    'uuid', 'subscription_uuid', 'event_uuid', 'event_name', 'state', 'attempts', 'max_attempts', 'next_attempt_at',
    'created_at', 'ended_at', 'reason',
}  # fmt: skip


def uuid_of(number):
    return f'44444444-0000-4000-8000-{number:012}'


@pytest.fixture
def stored(rest):
    """Stores deliveries of one subscription; later numbers are younger."""
    subscription = rest.create('tenant')['uuid']

    def store(number=1, state='waiting', attempt=1, logs=(), **more):
        values = {
            'uuid': uuid_of(number), 'sequence': number, 'subscription_uuid': subscription, 'tenant_uuid': TENANT,
            'event_uuid': uuid_of(900 + number), 'event_name': 'a', 'state': state, 'attempt': attempt,
            'max_attempts': 11, 'due_at': NOW + timedelta(hours=1), 'created_at': NOW + timedelta(seconds=number),
            'expires_at': NOW + timedelta(days=30),
        }  # fmt: skip
        with rest.database.transaction() as connection:
            connection.execute(insert(Delivery.__table__).values(**values | more))
            for attempts, status in enumerate(logs, 1):
                connection.execute(
                    insert(SubscriptionLog.__table__).values(
                        uuid=uuid_of(number),
                        subscription_uuid=subscription,
                        status=status,
                        attempts=attempts,
                        max_attempts=11,
                        started_at=NOW,
                        ended_at=NOW,
                        event={'name': 'a'},
                        detail={},
                    )
                )

    store.subscription = subscription
    return store


def listed(rest, stored, query=''):
    return rest.call('GET', f'/subscriptions/{stored.subscription}/deliveries{query}').json


def test_a_delivery_has_these_keys(rest, stored):
    stored(1, 'waiting', attempt=3, logs=('failure', 'failure'))
    answer = listed(rest, stored)
    [delivery] = answer['items']

    assert set(answer) == {'items', 'total', 'filtered'}
    assert delivery == {
        'uuid': uuid_of(1),
        'subscription_uuid': stored.subscription,
        'event_uuid': uuid_of(901),
        'event_name': 'a',
        'state': 'waiting',
        'attempts': 2,
        'max_attempts': 11,
        'next_attempt_at': '2026-11-01T13:00:00.123456+00:00',
        'created_at': '2026-11-01T12:00:01.123456+00:00',
        'ended_at': None,
        'reason': None,
    }


@pytest.mark.parametrize(
    ('state', 'attempt', 'logs', 'made'),
    [
        ('waiting', 1, (), 0),
        ('out', 2, ('failure',), 1),
        ('success', 2, ('failure', 'success'), 2),
        ('error', 1, ('error',), 1),
        ('error', 11, (), 11),
        ('expired', 4, (), 3),
        ('cancelled', 2, ('failure', 'failure'), 2),
    ],
)
def test_attempts_are_those_made_so_far(rest, stored, state, attempt, logs, made):
    stored(1, state, attempt, logs)

    assert listed(rest, stored)['items'][0]['attempts'] == made


def test_the_youngest_comes_first_unless_asked_otherwise(rest, stored):
    for number in (1, 2, 3):
        stored(number)

    def order(query):
        return [int(item['uuid'][-3:]) for item in listed(rest, stored, query)['items']]

    assert order('') == [3, 2, 1]
    assert order('?direction=asc&order=created_at') == [1, 2, 3]
    assert order('?limit=1&offset=1') == [2]
    assert listed(rest, stored, '?limit=1')['total'] == 3
    assert listed(rest, stored, '?limit=1')['filtered'] == 3


def test_a_list_is_filtered(rest, stored):
    stored(1, 'success')
    stored(2, 'error', event_name='b')
    stored(3, 'error', event_name='a')

    assert listed(rest, stored, '?state=error')['total'] == 2
    assert listed(rest, stored, '?state=error&event_name=b')['items'][0]['uuid'] == uuid_of(2)
    assert listed(rest, stored, '?from_date=2026-11-01T12:00:02.5Z')['total'] == 1


@pytest.mark.parametrize(
    'query', ['limit=-1', 'limit=1001', 'offset=-1', 'limit=x', 'state=gone', 'order=state', 'direction=up',
              'from_date=2026', 'event_name=%00', f'offset={2**63}']
)  # fmt: skip
def test_bad_queries_are_400(rest, stored, query):
    response = rest.call('GET', f'/subscriptions/{stored.subscription}/deliveries?{query}')

    assert response.status_code == 400
    assert list(response.json['details']) == [query.partition('=')[0]]


def test_a_single_delivery_has_its_attempts(rest, stored):
    stored(1, 'success', 2, ('failure', 'success'), ended_at=NOW)
    shown = rest.call('GET', f'/deliveries/{uuid_of(1).upper()}').json

    assert set(shown) == KEYS | {'log'}
    assert [(entry['attempts'], entry['status']) for entry in shown['log']] == [(1, 'failure'), (2, 'success')]
    assert shown['log'][0]['event'] == {'name': 'a'}
    assert shown['next_attempt_at'] is None
    assert shown['ended_at'] == NOW.isoformat()


def test_deliveries_of_another_tenant_are_not_there(rest, stored):
    stored(1)
    for path in (f'/deliveries/{uuid_of(1)}', '/deliveries/nope'):
        response = rest.call('GET', path, token='other')
        assert response.status_code == 404
        assert response.json['error_id'] == 'no-such-delivery'
        assert response.json['details'] == {'delivery_uuid': path.rpartition('/')[2]}
    assert rest.call('GET', f'/deliveries/{uuid_of(1)}').status_code == 200
    assert rest.call('GET', f'/deliveries/{uuid_of(1)}', headers={'Wazo-Tenant': MASTER}).status_code == 200


def test_what_hangs_on_a_subscription_is_404_with_it(rest, stored):
    for method, what in (('GET', 'deliveries'), ('GET', 'health'), ('POST', 'resume')):
        response = rest.call(method, f'/subscriptions/{stored.subscription}/{what}', token='other')
        assert response.status_code == 404
        assert response.json['error_id'] == 'no-such-subscription'
    assert rest.admitter.resumed == []


def test_resume_reaches_the_admitter(rest, stored):
    response = rest.call('POST', f'/subscriptions/{stored.subscription.upper()}/resume')

    assert response.status_code == 204
    assert rest.admitter.resumed == [stored.subscription]


def test_a_list_costs_the_same_few_queries_whatever_its_length(rest, stored):
    from sqlalchemy import event

    statements = []
    for number in range(1, 41):
        stored(number, 'waiting' if number % 2 else 'success')
    event.listen(rest.database.engine, 'before_cursor_execute', lambda *arguments: statements.append(arguments[2]))
    counts = []
    for limit in (2, 40):
        statements.clear()
        listed(rest, stored, f'?limit={limit}')
        counts.append(len([text for text in statements if text.startswith('SELECT')]))

    assert counts[0] == counts[1]


# -- why a delivery has to wait


def row(**more):
    return SimpleNamespace(**{'disabled': False, 'resting_until': None, 'reason': None} | more)


@pytest.mark.parametrize(
    ('rows', 'reason'),
    [
        ({}, None),
        ({'sub:s': row(), 'e': row()}, None),
        (
            {'e': row(resting_until=NOW + timedelta(seconds=30))},
            'endpoint resting until 2026-11-01T12:00:30.123456+00:00',
        ),
        ({'e': row(resting_until=NOW - timedelta(seconds=1))}, None),
        (
            {'sub:s': row(resting_until=NOW + timedelta(seconds=1))},
            'subscription resting until 2026-11-01T12:00:01.123456+00:00',
        ),
        ({'sub:s': row(disabled=True, reason='5 days of failures')}, 'subscription disabled: 5 days of failures'),
        ({'sub:s': row(disabled=True)}, 'subscription disabled'),
    ],
)
def test_the_reason_of_waiting(rows, reason):
    assert why_waiting(rows, 'sub:s', NOW) == reason
