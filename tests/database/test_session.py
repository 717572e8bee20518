"""The way to the database: transactions, times, and what its absence looks like."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta, timezone
from uuid import uuid4

import pytest
from sqlalchemy import exc, func, insert, select, text, update

from wazo_webhookd.database import session as session_module
from wazo_webhookd.database.models import Fact, JournalEvent, Subscription
from wazo_webhookd.database.session import Database
from wazo_webhookd.exceptions import DatabaseUnavailable

FACT = Fact.__table__


def add(connection, name: str) -> None:
    connection.execute(insert(FACT).values(name=name))


def names(database: Database) -> set[str]:
    with database.reading() as connection:
        return set(connection.execute(select(FACT.c.name)).scalars()) - {'schema'}


def end_sessions(database: Database) -> None:
    """What a restart of the server looks like from here."""
    with database.own_connection(autocommit=True) as connection:
        connection.exec_driver_sql(
            'SELECT pg_terminate_backend(pid) FROM pg_stat_activity'
            ' WHERE datname = current_database() AND pid <> pg_backend_pid()'
        )
    time.sleep(0.1)


# -- transactions -------------------------------------------------------------------------------


def test_transaction_is_committed(database):
    with database.transaction() as connection:
        add(connection, 'a')

    assert names(database) == {'a'}


def test_transaction_that_raises_is_rolled_back(database):
    with pytest.raises(KeyError), database.transaction() as connection:
        add(connection, 'a')
        raise KeyError

    assert names(database) == set()


def test_data_errors_stay_what_they_are(database):
    with pytest.raises(exc.IntegrityError), database.transaction() as connection:
        add(connection, 'a')
        add(connection, 'a')

    with pytest.raises(exc.DBAPIError), database.reading() as connection:
        connection.execute(text('SELECT nothing_like_it'))
    assert names(database) == set()


def test_statement_too_large_for_an_index_is_no_absence(postgresql):
    noise = ''.join(str(uuid4()) for _ in range(2000))
    with pytest.raises(exc.OperationalError), postgresql.transaction() as connection:
        connection.execute(text('INSERT INTO webhookd_bound_event VALUES (:name, now())'), {'name': noise})


def test_connection_is_usable_after_an_error_while_reading(database):
    for _ in range(20):
        with pytest.raises(exc.DBAPIError), database.reading() as connection:
            connection.execute(text('SELECT nothing_like_it'))

    assert names(database) == set()


def test_reading_needs_no_transaction(postgresql):
    with postgresql.reading() as connection:
        connection.execute(text('SELECT 1'))
        driver = connection.connection.driver_connection
        assert driver.info.transaction_status == 0
    with postgresql.transaction() as connection:
        add(connection, 'a')
        assert connection.connection.driver_connection.info.transaction_status == 2


def test_snapshot_sees_one_state_of_the_data(database):
    with database.reading(snapshot=True) as connection:
        before = connection.execute(select(func.count()).select_from(FACT)).scalar_one()
        with database.transaction() as other:
            add(other, 'a')
        after = connection.execute(select(func.count()).select_from(FACT)).scalar_one()

    assert before == after
    assert names(database) == {'a'}


def test_snapshot_streams(database):
    with database.transaction() as connection:
        for number in range(50):
            add(connection, f'n{number}')

    with database.reading(snapshot=True) as connection:
        rows = connection.execute(select(FACT), execution_options={'yield_per': 10})
        assert len(list(rows)) == 51


def test_insert_can_ignore_what_is_there(database):
    with database.transaction() as connection:
        for _ in range(2):
            connection.execute(database.insert(Fact).values(name='a').on_conflict_do_nothing())

    assert names(database) == {'a'}


def test_guests_session_commits(database):
    with database.session() as session:
        session.add(Subscription(name='x', service='http', owner_tenant_uuid='t'))
        session.commit()

    with database.session() as session:
        found = session.query(Subscription).one()
        assert len(found.uuid) == 36
        assert found.created_at.utcoffset() == timedelta(0)


def test_deleting_a_subscription_takes_its_parts_along(database):
    with database.transaction() as connection:
        connection.execute(text("INSERT INTO webhookd_subscription (uuid, owner_tenant_uuid) VALUES ('s', 't')"))
        for kind, column in (('event', 'event_name'), ('option', 'name'), ('metadatum', 'key')):
            connection.execute(
                text(
                    f"INSERT INTO webhookd_subscription_{kind} (uuid, subscription_uuid, {column}) VALUES ('p','s','x')"
                )
            )
        connection.execute(text('DELETE FROM webhookd_subscription'))
        left = [
            connection.execute(text(f'SELECT count(*) FROM webhookd_subscription_{kind}')).scalar_one()
            for kind in ('event', 'option', 'metadatum')
        ]

    assert left == [0, 0, 0]


# -- times ---------------------------------------------------------------------------------------


def journal(database: Database, when: datetime) -> datetime:
    with database.transaction() as connection:
        connection.execute(
            insert(JournalEvent.__table__).values(
                uuid=str(uuid4()), name='n', source='rest', received_at=when, deliveries=0, headers='{}', body='{}'
            )
        )
        return connection.execute(select(JournalEvent.__table__.c.received_at)).scalar_one()


def test_times_are_aware_utc(database):
    elsewhere = datetime(2024, 2, 29, 12, 0, 0, 123456, tzinfo=timezone(timedelta(hours=5, minutes=30)))

    read = journal(database, elsewhere)

    assert read == elsewhere
    assert read.tzinfo is UTC
    assert read.hour == 6


def test_times_without_microseconds_are_read_too(database):
    assert journal(database, datetime(2024, 1, 1, tzinfo=UTC)) == datetime(2024, 1, 1, tzinfo=UTC)


def test_naive_times_are_refused(database):
    with pytest.raises(exc.StatementError, match='without time zone'):
        journal(database, datetime(2024, 1, 1))


def test_session_time_zone_is_utc_whatever_the_uri_says(postgresql_with_tables):
    database = Database.from_uri(f'{postgresql_with_tables}?options=-c%20timezone=Asia/Tokyo%20-c%20work_mem=5MB')
    with database.reading() as connection:
        assert connection.execute(text('SHOW TimeZone')).scalar_one() == 'UTC'
        assert connection.execute(text('SHOW work_mem')).scalar_one() == '5MB'
    database.dispose()


def test_clock_is_the_databases(database):
    with database.reading() as connection:
        now = database.now(connection)

    assert now.tzinfo is UTC
    assert abs(now - datetime.now(UTC)) < timedelta(seconds=5)


def test_default_of_created_at_is_now(database):
    with database.transaction() as connection:
        connection.execute(text("INSERT INTO webhookd_subscription (uuid, owner_tenant_uuid) VALUES ('s', 't')"))
        created_at = connection.execute(select(Subscription.__table__.c.created_at)).scalar_one()

    assert abs(created_at - datetime.now(UTC)) < timedelta(seconds=5)


# -- settings of connections ----------------------------------------------------------------------


def test_application_name_is_ours_unless_the_uri_names_one(postgresql_with_tables):
    for uri, expected in (
        (postgresql_with_tables, 'mine'),
        (f'{postgresql_with_tables}?application_name=theirs', 'theirs'),
    ):
        database = Database.from_uri(uri, application_name='mine')
        with database.reading() as connection:
            assert connection.execute(text('SHOW application_name')).scalar_one() == expected
        database.dispose()


def test_sqlite_is_set_up_to_lose_nothing(tmp_path):
    database = Database.from_uri(f'sqlite:///{tmp_path / "x.sqlite"}')
    with database.reading() as connection:
        values = [
            connection.exec_driver_sql(f'PRAGMA {name}').scalar_one()
            for name in ('journal_mode', 'synchronous', 'foreign_keys', 'busy_timeout')
        ]
    database.dispose()

    assert values == ['wal', 2, 1, 30_000]


def test_sqlite_in_memory_is_refused():
    with pytest.raises(ValueError, match='file'):
        Database.from_uri('sqlite://')


def test_making_a_database_connects_to_nothing():
    Database.from_uri('postgresql://nobody@192.0.2.1/none')


def test_uri_of_psycopg2_is_understood(postgresql_with_tables):
    database = Database.from_uri(postgresql_with_tables.replace('postgresql:', 'postgresql+psycopg2:'))
    with database.reading() as connection:
        assert connection.execute(text('SELECT 1')).scalar_one() == 1
    database.dispose()


# -- absence --------------------------------------------------------------------------------------


@pytest.mark.parametrize('uri', ['postgresql://nobody@127.0.0.1:1/none', 'sqlite:////nowhere/at/all.sqlite'])
def test_database_that_is_not_there(uri):
    database = Database.from_uri(uri)

    for door in (database.transaction, database.reading):
        with pytest.raises(DatabaseUnavailable), door():
            pass
    with pytest.raises(DatabaseUnavailable):
        database.own_connection()


def test_connections_closed_by_a_restart_are_replaced_unnoticed(postgresql):
    for _ in range(3):
        with postgresql.transaction() as connection:
            connection.execute(text('SELECT 1'))
        with postgresql.reading(), postgresql.reading():
            pass
        end_sessions(postgresql)
        with postgresql.reading() as one, postgresql.reading() as two:
            assert [one.execute(text('SELECT 1')).scalar_one(), two.execute(text('SELECT 1')).scalar_one()] == [1, 1]


def test_idle_connection_is_asked(postgresql, monkeypatch):
    monkeypatch.setattr(session_module, 'IDLE_SECONDS', 0)
    for _ in range(2):
        with postgresql.reading() as connection:
            assert connection.execute(text('SELECT 1')).scalar_one() == 1


def test_connection_lost_inside_a_transaction(postgresql):
    with pytest.raises(DatabaseUnavailable), postgresql.transaction() as connection:
        add(connection, 'a')
        end_sessions(postgresql)
        connection.execute(text('SELECT 1'))

    assert names(postgresql) == set()


def test_connection_lost_at_commit(postgresql):
    with pytest.raises(DatabaseUnavailable), postgresql.transaction() as connection:
        add(connection, 'a')
        end_sessions(postgresql)

    assert names(postgresql) == set()


def test_connection_lost_and_ignored_by_the_block(postgresql):
    with pytest.raises(DatabaseUnavailable), postgresql.transaction() as connection:
        add(connection, 'a')
        end_sessions(postgresql)
        for _ in range(2):
            with pytest.raises((DatabaseUnavailable, exc.SQLAlchemyError)):
                connection.execute(text('SELECT 1'))

    assert names(postgresql) == set()


def test_connection_lost_while_reading(postgresql):
    with pytest.raises(DatabaseUnavailable), postgresql.reading() as connection:
        connection.execute(text('SELECT 1'))
        end_sessions(postgresql)
        connection.execute(text('SELECT 1'))


def test_guests_session_hears_the_same(postgresql):
    with postgresql.session() as session:
        session.execute(text('SELECT 1'))
        end_sessions(postgresql)
        with pytest.raises(DatabaseUnavailable):
            session.execute(text('SELECT 1'))


def test_deadlock_may_be_tried_again(postgresql):
    with postgresql.transaction() as connection:
        add(connection, 'a')
        add(connection, 'b')
    met = threading.Barrier(2)
    failures = []

    def lock(first: str, second: str) -> None:
        try:
            with postgresql.transaction() as connection:
                connection.execute(update(FACT).where(FACT.c.name == first).values(number=1))
                met.wait(5)
                connection.execute(update(FACT).where(FACT.c.name == second).values(number=1))
        except DatabaseUnavailable as error:
            failures.append(error)

    threads = [threading.Thread(target=lock, args=names_) for names_ in (('a', 'b'), ('b', 'a'))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(failures) == 1


def test_exhausted_pool_is_absence(postgresql_with_tables, monkeypatch):
    database = Database.from_uri(postgresql_with_tables, pool_size=1)
    monkeypatch.setattr(database.engine.pool, '_timeout', 0.05)
    with database.reading(), database.reading(), database.reading(), pytest.raises(DatabaseUnavailable):
        database.own_connection()
    database.dispose()


# -- many at once ---------------------------------------------------------------------------------


def test_eight_threads_writing_never_find_the_database_locked(database):
    failures = []

    def write(thread: int) -> None:
        try:
            for number in range(25):
                with database.transaction() as connection:
                    connection.execute(select(func.count()).select_from(FACT)).scalar_one()
                    add(connection, f'{thread}-{number}')
                with database.reading() as connection:
                    connection.execute(select(FACT)).all()
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failures == []
    assert len(names(database)) == 200


WRITER = """
import sys
from wazo_webhookd.database.session import Database
database = Database.from_uri(sys.argv[1])
for number in range(50):
    with database.transaction() as connection:
        connection.exec_driver_sql("UPDATE webhookd_fact SET number = number + 1 WHERE name = 'schema'")
"""


def test_two_processes_writing_lose_no_update(database):
    before = _schema_number(database)
    uri = database.engine.url.render_as_string(hide_password=False)
    environment = {**os.environ, 'PYTHONPATH': os.pathsep.join(sys.path)}
    writers = [subprocess.Popen([sys.executable, '-c', WRITER, uri], env=environment) for _ in range(2)]
    codes = [writer.wait(60) for writer in writers]

    assert codes == [0, 0]
    assert _schema_number(database) == before + 100


def _schema_number(database: Database) -> int:
    with database.reading() as connection:
        return connection.execute(select(FACT.c.number).where(FACT.c.name == 'schema')).scalar_one()


def test_writer_that_waits_too_long_for_its_turn(tmp_path, monkeypatch):
    monkeypatch.setattr(session_module, 'LOCK_SECONDS', 0.1)
    database = Database.from_uri(f'sqlite:///{tmp_path / "x.sqlite"}')
    other = Database.from_uri(f'sqlite:///{tmp_path / "x.sqlite"}')  # as another process would

    with database.transaction():
        for neighbour in (database, other):
            with pytest.raises(DatabaseUnavailable, match='locked'), neighbour.transaction():
                pass
    database.dispose()
    other.dispose()
