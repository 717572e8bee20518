"""What workers write, on both databases."""

from __future__ import annotations

import logging
import select as select_module
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import insert, select, update

from wazo_webhookd.database import processes
from wazo_webhookd.database.attempts import AttemptRows, Ended, Orphan, RowRefused, Send
from wazo_webhookd.database.models import Delivery, JournalEvent, Subscription, SubscriptionLog
from wazo_webhookd.database.session import Database
from wazo_webhookd.domain import numbers
from wazo_webhookd.domain.delivery import WORD_CHANNEL, Word, unpack_words
from wazo_webhookd.exceptions import DatabaseUnavailable

from .test_session import end_sessions

NOW = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)
EVENT = '{"name": "call_ended", "data": {"nul": "\\u0000", "lone": "\\ud800", "big": 1e400}}'
TENANT = str(uuid4())


class Table:
    """Rows of one subscription, and what became of them."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.rows = AttemptRows(database)
        self.subscription = str(uuid4())
        with database.transaction() as connection:
            connection.execute(
                insert(Subscription).values(uuid=self.subscription, name='s', service='http', owner_tenant_uuid=TENANT)
            )

    def delivery(self, state: str = 'out', *, attempt: int = 1, send: int = 1, **more: Any) -> str:
        uuid = str(uuid4())
        values = {
            'uuid': uuid, 'sequence': 1, 'subscription_uuid': self.subscription, 'tenant_uuid': TENANT,
            'event_uuid': str(uuid4()), 'event_name': 'call_ended', 'state': state, 'attempt': attempt, 'send': send,
            'max_attempts': 3, 'due_at': NOW, 'sent_at': NOW, 'deaths': 1, 'created_at': NOW,
            'expires_at': NOW + timedelta(days=1), **more,
        }  # fmt: skip
        with self.database.transaction() as connection:
            connection.execute(insert(Delivery).values(**values))
        return uuid

    def ended(self, delivery: str, status: str, attempt: int = 1, send: int | None = 1, **more: Any) -> Ended:
        row = Ended(
            delivery, self.subscription, attempt, send, 3, status, NOW.timestamp(), NOW.timestamp() + 1.5, EVENT,
            '{"a":1}', NOW.timestamp() + 60 if status == 'failure' else None,
            'a sentence' if status == 'error' else None,
        )  # fmt: skip
        return row._replace(**more)

    def record(self, *group: Ended, words: Sequence[Word] = ()) -> None:
        self.rows.record(group, words)

    def state(self, delivery: str) -> tuple[str, int, int]:
        row = self.row(delivery)
        return (row.state, row.attempt, row.send)

    def row(self, delivery: str) -> Any:
        with self.database.reading() as connection:
            return connection.execute(select(Delivery.__table__).where(Delivery.uuid == delivery)).one()

    def logs(self, delivery: str) -> list[Any]:
        statement = select(SubscriptionLog.__table__).where(SubscriptionLog.uuid == delivery)
        with self.database.reading() as connection:
            return list(connection.execute(statement.order_by(SubscriptionLog.attempts)))


@pytest.fixture
def table(database: Database) -> Any:
    table = Table(database)
    yield table
    table.rows.close()


def test_success_ends_the_delivery(table: Table) -> None:
    delivery = table.delivery(held_by=str(uuid4()))
    table.record(table.ended(delivery, 'success'))
    row, (log,) = table.row(delivery), table.logs(delivery)

    assert (row.state, row.attempt, row.send, row.held_by, row.deaths) == ('success', 1, 1, None, 0)
    assert row.ended_at == NOW + timedelta(seconds=1.5)
    assert (log.status, log.attempts, log.max_attempts, log.detail) == ('success', 1, 3, {'a': 1})
    assert (log.started_at, log.ended_at) == (NOW, NOW + timedelta(seconds=1.5))
    assert numbers.dumps(log.event) == EVENT


def test_event_is_stored_as_received(table: Table) -> None:
    delivery = table.delivery()
    table.record(table.ended(delivery, 'success'))
    with table.database.reading() as connection:
        cast = 'event' if table.database.is_sqlite else 'event::text'
        stored = connection.exec_driver_sql(f'SELECT {cast} FROM webhookd_subscription_log').scalar_one()

    assert stored == EVENT


def test_failure_waits_for_its_next_attempt(table: Table) -> None:
    delivery = table.delivery(held_by=str(uuid4()))
    table.record(table.ended(delivery, 'failure'))
    row = table.row(delivery)

    assert (row.state, row.attempt, row.send, row.held_by, row.deaths) == ('waiting', 2, 1, None, 0)
    assert row.due_at == NOW + timedelta(seconds=60)
    assert (row.ended_at, row.reason) == (None, None)
    assert [log.status for log in table.logs(delivery)] == ['failure']


def test_error_ends_with_its_reason(table: Table) -> None:
    delivery = table.delivery()
    table.record(table.ended(delivery, 'error'))

    assert table.state(delivery) == ('error', 1, 1)
    assert table.row(delivery).reason == 'a sentence'


@pytest.mark.parametrize(
    ('before', 'status', 'after'),
    [
        (('out', 1, 2), 'success', ('success', 1, 2)),  # sent again, the first one answered late
        (('waiting', 1, 2), 'success', ('success', 1, 2)),  # taken back as an orphan
        (('waiting', 3, 2), 'success', ('success', 1, 2)),
        (('out', 2, 2), 'success', ('success', 2, 2)),
        (('error', 3, 3), 'success', ('error', 3, 3)),
        (('cancelled', 1, 1), 'success', ('cancelled', 1, 1)),
        (('expired', 1, 1), 'success', ('expired', 1, 1)),
        (('out', 1, 2), 'failure', ('out', 1, 2)),
        (('out', 2, 1), 'failure', ('out', 2, 1)),
        (('waiting', 1, 1), 'failure', ('waiting', 1, 1)),
        (('out', 1, 2), 'error', ('out', 1, 2)),
        (('success', 1, 1), 'error', ('success', 1, 1)),
    ],
)
def test_late_success_counts_and_late_failure_does_not(
    table: Table, before: tuple[str, int, int], status: str, after: tuple[str, int, int]
) -> None:
    state, attempt, send = before
    delivery = table.delivery(state, attempt=attempt, send=send)
    table.record(table.ended(delivery, status))

    assert table.state(delivery) == after


def test_success_of_a_later_attempt_than_the_row_knows_changes_nothing(table: Table) -> None:
    delivery = table.delivery('out', attempt=1)
    table.record(table.ended(delivery, 'success', attempt=2, send=2))

    assert table.state(delivery) == ('out', 1, 1)


@pytest.mark.parametrize(
    ('first', 'second', 'kept'),
    [('failure', 'success', 'success'), ('success', 'failure', 'success'), ('failure', 'error', 'error')],
)
def test_log_row_is_overwritten_unless_it_says_success(table: Table, first: str, second: str, kept: str) -> None:
    delivery = table.delivery()
    table.record(table.ended(delivery, first))
    table.record(table.ended(delivery, second, detail='{"second":true}'))

    assert [log.status for log in table.logs(delivery)] == [kept]


def test_recording_twice_changes_nothing(table: Table) -> None:
    """The answer to a COMMIT may be lost."""
    uuids = [table.delivery() for _ in range(5)]
    group = [
        table.ended(uuid, status) for uuid, status in zip(uuids, ['success', 'failure', 'error'] * 2, strict=False)
    ]
    table.record(*group)
    before = [(table.row(uuid), table.logs(uuid)) for uuid in uuids]
    table.record(*group)

    assert [(table.row(uuid), table.logs(uuid)) for uuid in uuids] == before


def test_a_lost_connection_is_replaced_and_no_error_of_ours(
    postgresql: Database, caplog: pytest.LogCaptureFixture
) -> None:
    rows = AttemptRows(postgresql)
    ended = Table(postgresql).ended(str(uuid4()), 'success')
    rows.record([ended], ())
    end_sessions(postgresql)
    with pytest.raises(DatabaseUnavailable):
        rows.record([ended], ())

    assert [line.getMessage() for line in caplog.records if line.levelno >= logging.ERROR] == []
    rows.record([ended], ())
    rows.close()


def test_deleted_subscription_gets_no_log_row_and_no_further_attempt(table: Table) -> None:
    failed, succeeded = table.delivery(), table.delivery()
    with table.database.transaction() as connection:
        connection.execute(Subscription.__table__.delete())
    table.record(table.ended(failed, 'failure'), table.ended(succeeded, 'success'))

    assert table.state(failed) == ('cancelled', 1, 1)
    assert table.row(failed).reason == 'subscription deleted'
    assert table.row(failed).ended_at is not None
    assert table.state(succeeded) == ('success', 1, 1)
    assert table.logs(failed) + table.logs(succeeded) == []


def test_unknown_delivery_gets_its_log_row(table: Table) -> None:
    delivery = str(uuid4())
    table.record(table.ended(delivery, 'success'))

    assert len(table.logs(delivery)) == 1


def test_refused_row_is_told_from_a_database_that_is_away(table: Table) -> None:
    delivery = table.delivery()
    with pytest.raises(RowRefused):
        table.record(table.ended(delivery, 'success', max_attempts=2**70))
    table.record(table.ended(delivery, 'success'))

    assert table.state(delivery) == ('success', 1, 1)


def test_detail_that_is_no_json_is_refused(postgresql: Database) -> None:
    table = Table(postgresql)
    with pytest.raises(RowRefused):
        table.record(table.ended(table.delivery(), 'success', detail='{not json'))
    table.rows.close()


def test_nul_in_a_text_column_is_refused_before_it_is_sent(postgresql: Database) -> None:
    table = Table(postgresql)
    delivery = table.delivery()
    with pytest.raises(RowRefused):
        table.record(table.ended(delivery, 'error', reason='a\0b'))
    table.rows.close()


def test_missing_table_counts_as_away(empty: Database) -> None:
    rows = AttemptRows(empty)
    row = Ended(str(uuid4()), str(uuid4()), 1, 1, 3, 'success', 0.0, 1.0, '{}', '{}')
    with pytest.raises(DatabaseUnavailable):
        rows.record([row], [])
    rows.close()


def test_words_leave_with_the_commit(postgresql: Database) -> None:
    table = Table(postgresql)
    listener = postgresql.own_connection(autocommit=True)
    driver: Any = listener.connection.dbapi_connection
    listener.exec_driver_sql(f'LISTEN {WORD_CHANNEL}')
    uuids = [table.delivery() for _ in range(120)]
    words = [Word(uuid, 1, 1, 'success', 0.25) for uuid in uuids]
    table.record(*[table.ended(uuid, 'success') for uuid in uuids], words=words)
    told: list[Word] = []
    for _ in range(100):
        driver.poll()
        told = [word for notice in driver.notifies for word in unpack_words(notice.payload)]
        if len(told) == len(words):
            break
        select_module.select([driver], [], [], 0.05)
    listener.close()
    table.rows.close()

    assert sorted(told) == sorted(words)
    assert len(driver.notifies) > 1


def test_connection_that_was_cut_is_replaced(postgresql: Database) -> None:
    table = Table(postgresql)
    delivery = table.delivery()
    table.record(table.ended(delivery, 'failure'))
    with postgresql.transaction() as connection:
        connection.exec_driver_sql(
            'SELECT pg_terminate_backend(pid) FROM pg_stat_activity'
            ' WHERE datname = current_database() AND pid <> pg_backend_pid()'
        )
    with pytest.raises(DatabaseUnavailable):
        table.record(table.ended(delivery, 'success'))
    table.record(table.ended(delivery, 'success'))
    table.rows.close()

    assert table.state(delivery)[0] == 'success'


def test_holding_needs_the_very_send_and_nobody_alive_who_holds_it(table: Table) -> None:
    me, alive, dead = str(uuid4()), str(uuid4()), str(uuid4())
    with table.database.transaction() as connection:
        for life in (me, alive, dead):
            processes.register(connection, life, 'worker', 'host', 1, 8)
        processes.end(connection, dead)
    free, mine = table.delivery(), table.delivery(held_by=me)
    of_dead, of_alive = table.delivery(held_by=dead), table.delivery(held_by=alive)
    of_unknown = table.delivery(held_by=str(uuid4()))
    elsewhere, over = table.delivery('waiting'), table.delivery(send=2)
    everything = (free, mine, of_dead, of_alive, of_unknown, elsewhere, over)
    held = table.rows.hold([Send(uuid, 1, 1) for uuid in everything], me)

    assert {send.delivery for send in held} == {free, mine, of_dead, of_unknown}
    assert all(table.row(uuid).held_by == me for uuid in (free, mine, of_dead, of_unknown))
    assert table.row(of_alive).held_by == alive


def test_one_of_two_claims_wins(table: Table) -> None:
    first, second = str(uuid4()), str(uuid4())
    with table.database.transaction() as connection:
        for life in (first, second):
            processes.register(connection, life, 'worker', 'host', 1, 8)
    delivery = table.delivery()
    sends = [Send(delivery, 1, 1)]

    assert table.rows.hold(sends, first) == set(sends)
    assert table.rows.hold(sends, second) == set()


def test_delivery_without_a_row_is_adopted_once(table: Table) -> None:
    orphan = Orphan(str(uuid4()), table.subscription, TENANT, 'call_ended', TENANT, EVENT, 3, 11, 30.0)
    first, second = table.rows.adopt(orphan), table.rows.adopt(orphan)
    row = table.row(orphan.delivery)
    with table.database.reading() as connection:
        journal = connection.execute(select(JournalEvent.__table__)).one()

    assert (first, second) == (True, False)
    assert (row.state, row.attempt, row.send, row.max_attempts) == ('waiting', 3, 2, 11)
    assert row.expires_at - row.created_at == timedelta(days=30)
    assert (journal.uuid, journal.body, journal.tenant_uuid) == (row.event_uuid, EVENT, TENANT)


def test_adopting_leaves_an_existing_row_alone(table: Table) -> None:
    delivery = table.delivery('success')
    orphan = Orphan(delivery, table.subscription, TENANT, 'call_ended', None, EVENT, 2, 11, 30.0)

    assert table.rows.adopt(orphan) is False
    assert table.state(delivery) == ('success', 1, 1)


def test_orderly_end_leaves_nothing_held(table: Table) -> None:
    me, other = str(uuid4()), str(uuid4())
    mine, others, ended = table.delivery(held_by=me), table.delivery(held_by=other), table.delivery('error', held_by=me)
    table.rows.release(me)

    assert [table.row(uuid).held_by for uuid in (mine, others, ended)] == [None, other, me]
    assert table.state(mine) == ('out', 1, 1)


def test_release_of_a_finished_row_is_not_needed(table: Table) -> None:
    delivery = table.delivery()
    me = str(uuid4())
    table.rows.hold([Send(delivery, 1, 1)], me)
    table.record(table.ended(delivery, 'failure'))
    with table.database.transaction() as connection:
        connection.execute(update(Delivery).where(Delivery.uuid == delivery).values(state='out', send=2))

    assert table.row(delivery).held_by is None
