"""Which rows go, and which stay whatever their age."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from uuid import uuid4

import pytest
from sqlalchemy import insert, select

from wazo_webhookd.database import retention
from wazo_webhookd.database.models import (
    Delivery,
    EndpointHealth,
    JournalEvent,
    Process,
    Subscription,
    SubscriptionLog,
)
from wazo_webhookd.database.purger import SubscriptionLogsPurger

NOW = datetime.now(UTC)
CONFIG = SimpleNamespace(journal_days=10, deliveries_days=20, logs_days=30)


def ago(days: float) -> datetime:
    return NOW - timedelta(days=days)


def put(database, model, *rows: dict) -> None:
    with database.transaction() as connection:
        connection.execute(insert(model.__table__), list(rows))


def left(database, model, column: str = 'uuid') -> set[str]:
    with database.reading() as connection:
        return set(connection.execute(select(model.__table__.c[column])).scalars())


def log(name: str, started: datetime | None, ended: datetime | None = None) -> dict:
    return {
        'uuid': name, 'subscription_uuid': 's', 'attempts': 1, 'status': 'success', 'started_at': started,
        'ended_at': ended,
    }  # fmt: skip


def event(name: str, received: datetime) -> dict:
    return {
        'uuid': name, 'name': 'n', 'source': 'bus', 'received_at': received, 'deliveries': 1, 'headers': '{}',
        'body': '{}',
    }  # fmt: skip


def delivery(name: str, state: str, created: datetime, ended: datetime | None = None, of: str = 'e') -> dict:
    return {
        'uuid': name, 'sequence': 1, 'subscription_uuid': 's', 'tenant_uuid': 't', 'event_uuid': of, 'event_name': 'n',
        'state': state, 'max_attempts': 3, 'due_at': created, 'created_at': created, 'expires_at': created,
        'ended_at': ended,
    }  # fmt: skip


def sweep(database, **options):
    return retention.sweep(database, CONFIG, pause=0, **options)


def test_nothing_to_do(database):
    assert sweep(database) == {'logs': 0, 'deliveries': 0, 'journal': 0, 'processes': 0, 'endpoints': 0}


def test_old_attempts_go(database):
    put(
        database,
        SubscriptionLog,
        log('old', ago(31), ago(31)),
        log('young', ago(29), ago(29)),
        log('never started', None, ago(31)),
    )

    assert sweep(database)['logs'] == 2
    assert left(database, SubscriptionLog) == {'young'}


@pytest.mark.parametrize('state', ['success', 'error', 'expired', 'cancelled'])
def test_deliveries_go_when_they_ended_long_ago(database, state):
    put(
        database,
        Delivery,
        delivery('old', state, ago(25), ago(21)),
        delivery('ended lately', state, ago(25), ago(19)),
        delivery('young', state, ago(2), ago(1)),
    )

    assert sweep(database)['deliveries'] == 1
    assert left(database, Delivery) == {'ended lately', 'young'}


def test_unfinished_deliveries_stay(database):
    put(database, Delivery, delivery('waiting', 'waiting', ago(99)), delivery('out', 'out', ago(99)))

    assert sweep(database)['deliveries'] == 0


def test_journal_goes_unless_a_delivery_needs_it(database):
    put(
        database,
        JournalEvent,
        event('old', ago(11)),
        event('young', ago(9)),
        event('waited for', ago(99)),
        event('out', ago(99)),
        event('delivered', ago(99)),
        event('one of two waits', ago(99)),
    )
    put(
        database,
        Delivery,
        delivery('1', 'waiting', ago(99), of='waited for'),
        delivery('2', 'out', ago(99), of='out'),
        delivery('3', 'success', ago(99), ago(15), of='delivered'),
        delivery('4', 'success', ago(99), ago(15), of='one of two waits'),
        delivery('5', 'waiting', ago(99), of='one of two waits'),
    )

    assert sweep(database)['journal'] == 2
    assert left(database, JournalEvent) == {'young', 'waited for', 'out', 'one of two waits'}


def test_lives_are_forgotten_after_a_week(database):
    rows = [
        {'id': name, 'kind': 'worker', 'host': 'h', 'pid': 1, 'started_at': ago(90), 'seen_at': seen}
        for name, seen in (('old', ago(8)), ('recent', ago(6)))
    ]
    put(database, Process, *rows)

    assert sweep(database)['processes'] == 1
    assert left(database, Process, 'id') == {'recent'}


def test_endpoints_are_forgotten_but_not_a_disabling(database):
    uuid = str(uuid4())
    put(database, Subscription, {'uuid': uuid, 'owner_tenant_uuid': 't'})
    rows = [
        {'key': key, 'standing': 'proven', 'circuit': 'closed', 'disabled': disabled, 'updated_at': updated}
        for key, disabled, updated in (
            ('t|https://old:443', False, ago(31)),
            ('t|https://recent:443', False, ago(29)),
            (f'sub:{uuid}', True, ago(99)),
            ('sub:deleted', True, ago(2)),
            ('sub:deleted just now', True, ago(0.5)),
        )
    ]
    put(database, EndpointHealth, *rows)

    assert sweep(database)['endpoints'] == 2
    assert left(database, EndpointHealth, 'key') == {'t|https://recent:443', f'sub:{uuid}', 'sub:deleted just now'}


def test_work_is_done_in_small_batches(database):
    put(database, SubscriptionLog, *(log(f'{number}', ago(31)) for number in range(25)))
    transactions = []
    original = database.transaction

    def counted():
        transactions.append(1)
        return original()

    database.transaction = counted

    assert sweep(database, batch=10)['logs'] == 25
    assert len(transactions) == 3 + 4


def test_stopping_ends_it_early(database):
    put(database, SubscriptionLog, log('old', ago(31)))
    stopping = threading.Event()
    stopping.set()

    assert sweep(database, stopping=stopping)['logs'] == 0


def test_two_daemons_may_sweep_at_once(database):
    put(database, SubscriptionLog, *(log(f'{number}', ago(31)) for number in range(200)))
    counts = []
    threads = [threading.Thread(target=lambda: counts.append(sweep(database, batch=7)['logs'])) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sum(counts) == 200
    assert left(database, SubscriptionLog) == set()


# -- wazo-purge-db ---------------------------------------------------------------------------------


def test_purger_deletes_what_started_before_the_days_to_keep(database):
    put(
        database,
        SubscriptionLog,
        log('old', ago(2.1)),
        log('young', ago(1.9)),
        log('never started', None, ago(99)),
    )
    with database.session() as session:
        assert SubscriptionLogsPurger().purge(2, session) is None
        session.commit()

    assert left(database, SubscriptionLog) == {'young', 'never started'}


def test_purger_with_zero_days_deletes_everything(database):
    put(database, SubscriptionLog, log('old', ago(2)), log('just now', datetime.now(UTC)))
    with database.session() as session:
        SubscriptionLogsPurger().purge(0, session)
        session.commit()

    assert left(database, SubscriptionLog) == set()


def test_purger_leaves_the_commit_to_its_caller(database):
    put(database, SubscriptionLog, log('old', ago(2)))
    with database.session() as session:
        SubscriptionLogsPurger().purge(1, session)
        session.rollback()

    assert left(database, SubscriptionLog) == {'old'}
