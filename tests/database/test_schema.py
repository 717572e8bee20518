"""The migrations make what the models say, from nothing and from every database there has been."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import exc, inspect, select, text

from tests.database.adopted import STEPS, build, reached
from wazo_webhookd.database import admission, facts, schema
from wazo_webhookd.database import subscriptions as rows
from wazo_webhookd.database.models import Base, Subscription, SubscriptionEvent, SubscriptionLog
from wazo_webhookd.database.session import Database
from wazo_webhookd.exceptions import DatabaseUnavailable, SchemaBehind

ROOT = Path(__file__).parents[2]
TODAYS = '3eb8e3fa4537'
NO_TENANT = '00000000-0000-0000-0000-000000000000'
MADE = 'uuid_generate_v4()'


# -- the migrations are the models -----------------------------------------------------------------


def described(database: Database) -> dict[str, Any]:
    """Everything about our tables that the database knows, in a form that can be compared."""
    inspector = inspect(database.engine)
    return {
        table: {
            'columns': {column['name']: _column(column) for column in inspector.get_columns(table)},
            'primary key': inspector.get_pk_constraint(table)['constrained_columns'],
            'name of the primary key': inspector.get_pk_constraint(table)['name'],
            'foreign keys': sorted(map(_foreign_key, inspector.get_foreign_keys(table))),
            'unique': sorted((one['name'], one['column_names']) for one in inspector.get_unique_constraints(table)),
            'indexes': {one['name']: _index(one) for one in inspector.get_indexes(table)},
        }
        for table in inspector.get_table_names()
        if table != schema.VERSION_TABLE
    }


def _column(column: Any) -> tuple[str, bool, str | None]:
    default = column['default']
    return str(column['type']), column['nullable'], None if default == MADE else default and default.strip('()')


def _foreign_key(key: Any) -> tuple[Any, ...]:
    return (str(key['name']), key['constrained_columns'], key['referred_table'], key['options'])


def _index(index: Any) -> tuple[Any, ...]:
    where = {key: str(value) for key, value in index['dialect_options'].items() if key.endswith('where')}
    return index['column_names'], bool(index['unique']), where


@pytest.fixture
def ideal(database, tmp_path, request):
    """What the models say, made by SQLAlchemy in a database of its own."""
    if database.is_sqlite:
        made = Database.from_uri(f'sqlite:///{tmp_path / "ideal.sqlite"}')
    else:
        made = Database.from_uri(request.getfixturevalue('new_postgresql')())
    Base.metadata.create_all(made.engine)
    yield described(made)
    made.dispose()


def test_migrations_make_what_the_models_say(database, ideal):
    assert described(database) == ideal


def test_alembic_finds_no_difference_either(database):
    with database.engine.connect() as connection:
        context = MigrationContext.configure(
            connection, opts={'compare_type': True, 'version_table': schema.VERSION_TABLE}
        )
        assert compare_metadata(context, Base.metadata) == []


def test_revisions_listed_are_those_of_alembic():
    config = Config()
    config.set_main_option('script_location', str(schema.migrations()))
    scripts = ScriptDirectory.from_config(config)

    assert tuple(script.revision for script in scripts.walk_revisions())[::-1] == schema.REVISIONS
    assert scripts.get_current_head() == schema.HEAD


def test_migrations_are_those_of_the_checkout():
    assert schema.migrations() == ROOT / 'alembic'


# -- check ------------------------------------------------------------------------------------------


def stamp(database: Database, *revisions: str) -> None:
    with database.transaction() as connection:
        connection.execute(text(f'DELETE FROM {schema.VERSION_TABLE}'))
        for revision in revisions:
            connection.execute(text(f'INSERT INTO {schema.VERSION_TABLE} VALUES (:revision)'), {'revision': revision})


@pytest.fixture
def stamped(database):
    yield lambda *revisions: stamp(database, *revisions)
    stamp(database, schema.HEAD)


def test_schema_that_fits(database):
    schema.check(database)


def test_database_without_tables_is_behind(empty):
    with pytest.raises(SchemaBehind, match=r'no tables.*wazo-webhookd-init-db'):
        schema.check(empty)


@pytest.mark.parametrize('revision', schema.REVISIONS[:-1])
def test_older_schema_is_behind(database, stamped, revision):
    stamped(revision)
    with pytest.raises(SchemaBehind, match=f'{revision}.*wazo-webhookd-init-db'):
        schema.check(database)


def test_no_revision_is_behind(database, stamped):
    stamped()
    with pytest.raises(SchemaBehind, match='wazo-webhookd-init-db'):
        schema.check(database)


def test_newer_schema_that_still_works_with_us_is_fine(database, stamped):
    stamped('ffffffffffff')

    schema.check(database)


def test_newer_schema_that_asks_for_a_newer_program_does_not_fit(database, stamped):
    stamped('ffffffffffff')
    with database.transaction() as connection:
        for _ in range(schema.LEVEL):
            facts.bump(connection, 'schema')

    with pytest.raises(SchemaBehind, match='newer than this program'):
        schema.check(database)


def test_schema_of_something_else_does_not_fit(database, stamped):
    stamped('ffffffffffff')
    with database.transaction() as connection:
        connection.execute(text("DELETE FROM webhookd_fact WHERE name = 'schema'"))

    with pytest.raises(SchemaBehind, match=schema.VERSION_TABLE):
        schema.check(database)
    with pytest.raises(SchemaBehind, match='does not come from this program'):
        schema.upgrade(database)


def test_database_that_is_away_is_neither_right_nor_behind():
    with pytest.raises(DatabaseUnavailable):
        schema.check(Database.from_uri('postgresql://nobody@127.0.0.1:1/none'))


# -- upgrade ----------------------------------------------------------------------------------------


def test_upgrade_from_nothing_and_again(empty):
    schema.upgrade(empty)
    schema.check(empty)
    before = described(empty)
    schema.upgrade(empty)

    assert described(empty) == before


def test_upgrade_by_uri(empty):
    schema.upgrade(empty.engine.url.render_as_string(hide_password=False))

    schema.check(empty)


def test_four_that_upgrade_at_once_take_turns(empty):
    failures = []

    def upgrade() -> None:
        database = Database.from_uri(empty.engine.url.render_as_string(hide_password=False))
        try:
            schema.upgrade(database)
        except Exception as error:
            failures.append(error)
        finally:
            database.dispose()

    threads = [threading.Thread(target=upgrade) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failures == []
    schema.check(empty)


def test_a_daemon_that_admits_does_not_keep_an_upgrade_waiting(database):
    with database.own_connection(autocommit=True) as session:
        if not database.is_sqlite:
            assert admission.try_lock(session) is not None
        upgrade = threading.Thread(target=schema.upgrade, args=(database,), daemon=True)
        upgrade.start()
        upgrade.join(20)

        assert not upgrade.is_alive()


def test_upgrade_that_fails_changes_nothing(empty):
    with empty.transaction() as connection:
        connection.execute(text('CREATE TABLE webhookd_bound_event (name text)'))

    with pytest.raises(exc.DBAPIError):
        schema.upgrade(empty)
    assert inspect(empty.engine).get_table_names() == ['webhookd_bound_event']


def test_foreign_keys_hold_after_an_upgrade(empty):
    schema.upgrade(empty)

    with pytest.raises(exc.IntegrityError), empty.transaction() as connection:
        connection.execute(
            text("INSERT INTO webhookd_subscription_option (uuid, subscription_uuid, name) VALUES ('o', 'none', 'x')")
        )


def test_alembic_by_hand(empty, tmp_path):
    uri = empty.engine.url.render_as_string(hide_password=False)
    command = [sys.executable, '-m', 'alembic.config', '-c', str(ROOT / 'alembic.ini'), 'upgrade', 'head']
    environment = {**os.environ, 'ALEMBIC_DB_URI': uri, 'PYTHONPATH': str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout) == (0, '')
    assert f'-> {schema.HEAD}' in done.stderr
    schema.check(empty)


def test_uri_of_the_ini_file_is_second(empty, tmp_path):
    uri = empty.engine.url.render_as_string(hide_password=False)
    ini = (ROOT / 'alembic.ini').read_text().replace('%(here)s', str(ROOT))
    (tmp_path / 'alembic.ini').write_text(ini.replace('[loggers]', f'sqlalchemy.url = {uri}\n\n[loggers]'))
    environment = {key: value for key, value in os.environ.items() if key != 'ALEMBIC_DB_URI'}
    done = subprocess.run(
        [sys.executable, '-m', 'alembic.config', '-c', str(tmp_path / 'alembic.ini'), 'upgrade', 'head'],
        cwd=tmp_path, env={**environment, 'PYTHONPATH': str(ROOT)}, capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    schema.check(empty)


def test_alembic_by_hand_without_a_database_says_so_in_a_line(tmp_path):
    command = [sys.executable, '-m', 'alembic.config', '-c', str(ROOT / 'alembic.ini'), 'current']
    environment = {**os.environ, 'ALEMBIC_DB_URI': 'postgresql://nobody@127.0.0.1:1/none', 'PYTHONPATH': str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

    assert done.returncode == 1
    assert 'cannot be reached' in done.stderr
    assert 'Traceback' not in done.stderr


# -- adoption ---------------------------------------------------------------------------------------

LONG = ''.join(chr(0x4E00 + number * 7 % 20000) for number in range(3000))


def fill(connection, revision: str) -> None:
    """Rows that a program of that revision may have written; the first one is the oldest but not the smallest uuid."""
    execute = connection.exec_driver_sql
    for uuid, service in (('z', 'http'), ('m', 'mobile'), ('a', 'mobile'), ('k', 'http')):
        columns, values = ['uuid', 'name', 'service'], [uuid, uuid, service]
        if reached(revision, 'f63e43dcf0ca'):
            columns.append('owner_tenant_uuid')
            values.append(f'tenant of {uuid}')
        places = ', '.join(['%s'] * len(values))
        execute(f'INSERT INTO webhookd_subscription ({", ".join(columns)}) VALUES ({places})', tuple(values))
        for event in ('zebra', 'call_created', 'ant'):
            execute(
                'INSERT INTO webhookd_subscription_event (subscription_uuid, event_name) VALUES (%s, %s)', (uuid, event)
            )
        for name, value in (('url', f'http://{uuid}/é'), ('method', 'post'), ('body', None)):
            execute(
                'INSERT INTO webhookd_subscription_option (subscription_uuid, name, value) VALUES (%s, %s, %s)',
                (uuid, name, value),
            )
    for step, column in (
        ('4a3e41acfb', 'events_user_uuid'), ('231d4dbd38', 'owner_user_uuid'), ('57e36bf4269', 'events_wazo_uuid'),
    ):  # fmt: skip
        if reached(revision, step):
            # of all rows: an updated one moves to the end of its table
            execute(f"UPDATE webhookd_subscription SET {column} = CASE uuid WHEN 'm' THEN '{column}' END")
    if reached(revision, '35b30e165f6'):
        for uuid, key, value in (
            ('m', 'mobile', 'true'),
            ('a', 'mobile', 'false'),
            ('z', 'x', None),
            ('z', 'long', LONG),
        ):
            execute(
                'INSERT INTO webhookd_subscription_metadatum (subscription_uuid, key, value) VALUES (%s, %s, %s)',
                (uuid, key, value),
            )
    if reached(revision, 'cab8bbbdcfae'):
        execute(
            'INSERT INTO webhookd_subscription_log (uuid, subscription_uuid, status, started_at, ended_at, attempts,'
            " max_attempts, event, detail) VALUES ('h', 'z', 'failure', '2024-05-06 07:08:09.123456+02',"
            " '2024-05-06 07:08:10+02', 1, 10, %s, %s)",
            ('{"b": 1.0,  "a": "\\u0000"}', '{"error": "x"}'),
        )
        execute(
            'INSERT INTO webhookd_subscription_log (uuid, subscription_uuid, attempts) VALUES (%s, %s, %s)',
            ('h', 'z', 2),
        )


@pytest.fixture
def adopt(empty_postgresql):
    def from_revision(revision: str) -> Database:
        with empty_postgresql.transaction() as connection:
            build(connection, revision)
            fill(connection, revision)
        schema.upgrade(empty_postgresql)
        schema.check(empty_postgresql)
        return empty_postgresql

    return from_revision


@pytest.mark.parametrize('revision', STEPS)
def test_every_older_database_is_adopted(adopt, revision, postgresql):
    database = adopt(revision)

    assert described(database) == described(postgresql)
    with database.reading() as connection:
        found = {one.uuid: one for one in rows.find(connection, [], limit=None, offset=None)}
        in_order = connection.execute(select(Subscription.uuid).order_by(Subscription.created_at)).scalars().all()
    assert in_order == ['z', 'm', 'a', 'k']
    assert list(found) == ['z', 'm', 'a', 'k']
    for uuid, one in found.items():
        assert one.name == uuid
        assert one.owner_tenant_uuid == (f'tenant of {uuid}' if reached(revision, 'f63e43dcf0ca') else NO_TENANT)
        assert one.config == {'url': f'http://{uuid}/é', 'method': 'post', 'body': None}
        assert one.events[:3] == ['zebra', 'call_created', 'ant']
    assert found['z'].service == 'http'
    assert [found[uuid].events[3:] for uuid in 'zk'] == [[], []]
    assert found['m'].events_user_uuid == ('events_user_uuid' if reached(revision, '4a3e41acfb') else None)
    assert found['m'].owner_user_uuid == ('owner_user_uuid' if reached(revision, '231d4dbd38') else None)
    assert found['m'].events_wazo_uuid == ('events_wazo_uuid' if reached(revision, '57e36bf4269') else None)
    if reached(revision, '35b30e165f6'):
        assert found['z'].metadata == {'x': None, 'long': LONG}
        assert found['m'].metadata == {'mobile': 'true'}


@pytest.mark.parametrize('revision', STEPS)
def test_mobile_subscriptions_get_the_events_that_came_later(adopt, revision):
    database = adopt(revision)
    with database.reading() as connection:
        names = {
            uuid: set(
                connection.execute(
                    select(SubscriptionEvent.event_name).where(SubscriptionEvent.subscription_uuid == uuid)
                ).scalars()
            )
            - {'zebra', 'call_created', 'ant'}
            for uuid in 'zmak'
        }

    cancelled = set() if reached(revision, 'f573303305e5') else {'call_cancel_push_notification'}
    has_metadata = reached(revision, '35b30e165f6') and revision != TODAYS
    assert names == {
        'z': set(),
        'm': cancelled | ({'user_missed_call'} if has_metadata else set()),
        'a': cancelled,
        'k': set(),
    }


@pytest.mark.parametrize('revision', [step for step in STEPS if reached(step, 'cab8bbbdcfae')])
def test_attempts_are_adopted(adopt, revision):
    database = adopt(revision)
    table = SubscriptionLog.__table__
    with database.reading() as connection:
        first, second = connection.execute(select(table).order_by(table.c.attempts)).all()
        as_stored = connection.execute(text('SELECT event::text FROM webhookd_subscription_log WHERE attempts = 1'))
        assert as_stored.scalar_one() == '{"b": 1.0,  "a": "\\u0000"}'

    assert first.started_at == datetime(2024, 5, 6, 5, 8, 9, 123456, tzinfo=UTC)
    assert first.started_at.tzinfo is UTC
    assert (first.status, first.max_attempts, first.detail) == ('failure', 10, {'error': 'x'})
    assert (second.status, second.started_at, second.event, second.detail) == (None, None, None, None)


def test_attempts_outlive_what_they_are_about(adopt):
    database = adopt(TODAYS)
    with database.transaction() as connection:
        connection.execute(
            text("INSERT INTO webhookd_subscription_log (uuid, subscription_uuid, attempts) VALUES ('l', 'gone', 1)")
        )
        connection.execute(text("DELETE FROM webhookd_subscription WHERE uuid = 'z'"))
        left = connection.execute(text('SELECT count(*) FROM webhookd_subscription_log')).scalar_one()

    assert left == 3


def test_todays_program_still_writes_to_an_adopted_database(adopt):
    database = adopt(TODAYS)
    with database.transaction() as connection:
        uuid = connection.execute(
            text("INSERT INTO webhookd_subscription (name, owner_tenant_uuid) VALUES ('later', 't') RETURNING uuid")
        ).scalar_one()
        for table, column in (('event', 'event_name'), ('option', 'name'), ('metadatum', 'key')):
            connection.execute(
                text(f'INSERT INTO webhookd_subscription_{table} (subscription_uuid, {column}) VALUES (:uuid, :name)'),
                {'uuid': uuid, 'name': 'name'},
            )

    with database.reading() as connection:
        (*_, last) = rows.find(connection, [], limit=None, offset=None)
    assert (last.name, last.events, last.config, last.metadata) == ('later', ['name'], {'name': None}, {'name': None})


def test_database_that_went_back_to_todays_program_comes_again(adopt):
    database = adopt(TODAYS)
    before = described(database)
    with database.reading() as connection:
        order = connection.execute(select(Subscription.uuid, Subscription.created_at)).all()
    command = [sys.executable, '-m', 'alembic.config', '-c', str(ROOT / 'alembic.ini'), 'downgrade', TODAYS]
    uri = database.engine.url.render_as_string(hide_password=False)
    subprocess.run(
        command, check=True, capture_output=True, env={**os.environ, 'ALEMBIC_DB_URI': uri, 'PYTHONPATH': str(ROOT)}
    )
    with pytest.raises(SchemaBehind):
        schema.check(database)
    schema.upgrade(database)
    schema.check(database)

    assert described(database) == before
    with database.reading() as connection:
        assert connection.execute(select(Subscription.uuid, Subscription.created_at)).all() == order


def test_new_database_has_defaults_for_uuids_where_the_function_exists(empty_postgresql):
    with empty_postgresql.transaction() as connection:
        build(connection, '1495b7c1224')
        connection.exec_driver_sql(
            'DROP TABLE webhookd_subscription, webhookd_subscription_event, webhookd_subscription_option,'
            ' alembic_version_webhookd'
        )
    schema.upgrade(empty_postgresql)
    inspector = inspect(empty_postgresql.engine)
    for kind in ('', '_event', '_option', '_metadatum'):
        (uuid,) = (c for c in inspector.get_columns(f'webhookd_subscription{kind}') if c['name'] == 'uuid')
        assert uuid['default'] == MADE


def test_many_adopted_subscriptions_keep_their_order(empty_postgresql):
    uuids = [f'{number * 7919 % 5000:05}' for number in range(5000)]
    with empty_postgresql.transaction() as connection:
        build(connection, TODAYS)
        connection.execute(
            text(
                'INSERT INTO webhookd_subscription (uuid, owner_tenant_uuid)'
                " SELECT uuid, 't' FROM json_array_elements_text(:uuids) AS uuid"
            ),
            {'uuids': json.dumps(uuids)},
        )
    schema.upgrade(empty_postgresql)
    with empty_postgresql.reading() as connection:
        found = connection.execute(select(Subscription.uuid, Subscription.created_at).order_by(Subscription.created_at))
        ordered, times = zip(*found.all(), strict=True)

    assert list(ordered) == uuids
    assert len(set(times)) == 5000
    assert max(times) <= datetime.now(UTC)
