"""What something else than this program writes to the subscriptions is noticed as our own changes are."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import psycopg2
import pytest
from sqlalchemy.engine import make_url

from integration_tests.support.until import until
from wazo_webhookd.database import facts, position, processes, schema
from wazo_webhookd.database.session import Database
from wazo_webhookd.domain.scope import EVERYTHING, Scope
from wazo_webhookd.subscriptions.catalog import Catalog
from wazo_webhookd.subscriptions.certainty import Certainty
from wazo_webhookd.subscriptions.feed import CHANNEL, VERSION, ChangeFeed, ChangeListener
from wazo_webhookd.subscriptions.service import NoSuchSubscription, SubscriptionService

ALL = Scope(EVERYTHING)
CONFIG = {'uuid': 'wazo', 'db_uri': 'postgresql://nowhere'}
GIVEN: dict[str, Any] = {
    'name': 'n',
    'service': 'http',
    'events': ['a'],
    'config': {'url': 'http://x', 'method': 'get'},
    'metadata': {'k': 'v'},
    'owner_tenant_uuid': 't',
}
STATEMENTS = {
    'insert': 'INSERT INTO webhookd_subscription (uuid, name, service, owner_tenant_uuid)'
    " VALUES ('x', 'x', 'http', 't')",
    'update': "UPDATE webhookd_subscription SET name = 'm'",
    'delete': 'DELETE FROM webhookd_subscription',
    'another event': "UPDATE webhookd_subscription_event SET event_name = 'b'",
    'another option': "UPDATE webhookd_subscription_option SET value = 'http://y' WHERE name = 'url'",
    'another metadatum': 'DELETE FROM webhookd_subscription_metadatum',
    'many rows': 'INSERT INTO webhookd_subscription (uuid, name, service, owner_tenant_uuid)'
    " SELECT n::text, 'x', 'http', 't' FROM generate_series(1, 1000) AS n",
    'everything': 'TRUNCATE webhookd_subscription CASCADE',
}


def uri_of(database: Database) -> str:
    url = make_url(database.engine.url.render_as_string(hide_password=False)).set(drivername='postgresql')
    return url.render_as_string(hide_password=False)


@contextmanager
def stranger(database: Database) -> Iterator[Any]:
    """A cursor as psql would have one, in a transaction."""
    with (
        closing(psycopg2.connect(uri_of(database))) as connection,
        connection,
        connection.cursor() as cursor,
    ):
        yield cursor


def version(database: Database) -> int:
    with database.reading() as connection:
        return facts.get(connection, VERSION)[0]


@pytest.fixture
def feed(postgresql: Database) -> ChangeFeed:
    feed = ChangeFeed()
    feed.attach(database=postgresql, life='life')
    return feed


@pytest.fixture
def service(feed: ChangeFeed) -> SubscriptionService:
    return SubscriptionService(CONFIG, feed=feed)


@pytest.mark.parametrize('statement', STATEMENTS.values(), ids=STATEMENTS)
def test_each_transaction_makes_one_version_and_tells(
    postgresql: Database, service: SubscriptionService, statement: str
) -> None:
    service.create(GIVEN)
    before = version(postgresql)
    with closing(psycopg2.connect(uri_of(postgresql))) as ear:
        ear.autocommit = True
        with ear.cursor() as cursor:
            cursor.execute(f'LISTEN {CHANNEL}')
            with stranger(postgresql) as writer:
                writer.execute(statement)
                writer.execute('SAVEPOINT one')
                writer.execute("UPDATE webhookd_subscription SET service = 'http'")
            cursor.execute('SELECT 1')
        told = [json.loads(word.payload) for word in ear.notifies]

    assert version(postgresql) == before + 1
    assert told == [{'kind': 'reload', 'version': before + 1}]


def test_what_was_undone_makes_no_version(postgresql: Database, service: SubscriptionService) -> None:
    service.create(GIVEN)
    before = version(postgresql)
    with stranger(postgresql) as writer:
        writer.execute(STATEMENTS['update'])
        writer.execute('ROLLBACK')

    assert version(postgresql) == before


def test_our_own_writes_count_once(postgresql: Database, service: SubscriptionService) -> None:
    before = version(postgresql)
    created = service.create(GIVEN)
    service.update(created.uuid, {'name': 'm', 'events': ['b', 'c']})
    service.delete(created.uuid)

    assert version(postgresql) == before + 3


def test_an_open_transaction_keeps_nobody_from_writing(postgresql: Database, service: SubscriptionService) -> None:
    created = service.create(GIVEN)
    with stranger(postgresql) as writer:
        writer.execute('UPDATE webhookd_subscription SET name = %s WHERE uuid = %s', ('mine', created.uuid))
        with postgresql.transaction() as connection:
            connection.exec_driver_sql("SET LOCAL lock_timeout = '5s'")
            facts.bump(connection, VERSION)

    assert service.get(created.uuid).name == 'mine'


def test_a_stranger_needs_no_right_on_our_other_tables(postgresql: Database) -> None:
    role = f'webhookd_stranger_{uuid.uuid4().hex[:8]}'
    before = version(postgresql)
    with stranger(postgresql) as owner:
        owner.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'x'")
        owner.execute(f'GRANT INSERT ON webhookd_subscription TO {role}')
    try:
        with stranger(postgresql) as writer:
            writer.execute(f'SET ROLE {role}')
            writer.execute("SET search_path = ''")
            writer.execute(STATEMENTS['insert'].replace('webhookd_sub', 'public.webhookd_sub'))
        assert version(postgresql) == before + 1
    finally:
        with stranger(postgresql) as owner:
            owner.execute(f'DROP OWNED BY {role}')
            owner.execute(f'DROP ROLE {role}')


def test_whoever_writes_never_fails_because_of_us(empty_postgresql: Database) -> None:
    schema.upgrade(empty_postgresql)
    with stranger(empty_postgresql) as writer:
        writer.execute('DROP TABLE webhookd_fact')
        writer.execute(STATEMENTS['insert'])

    with stranger(empty_postgresql) as reader:
        reader.execute('SELECT uuid FROM webhookd_subscription')
        assert reader.fetchall() == [('x',)]


def test_a_daemon_takes_over_what_was_written_elsewhere(
    postgresql: Database, feed: ChangeFeed, service: SubscriptionService
) -> None:
    created = service.create(GIVEN)
    catalog = Catalog()
    catalog.load(postgresql)
    feed.observe(catalog.on_change)
    listener = ChangeListener(postgresql, feed, lambda: None)
    listener.start()
    try:
        until(lambda: listener.listening, 10)
        with stranger(postgresql) as writer:
            writer.execute(STATEMENTS['another event'])
        until(lambda: catalog.names() == {'b'}, 10, what='the catalog knows the other event')
        with stranger(postgresql) as writer:
            writer.execute(STATEMENTS['delete'])
        until(lambda: catalog.card(created.uuid) is None, 10, what='the catalog knows of the deletion')
    finally:
        listener.stop()


# -- reading what is known


@pytest.fixture
def known(postgresql: Database, feed: ChangeFeed) -> tuple[SubscriptionService, list[str]]:
    """A service that believes its catalog, and what it was asked for that was certain."""
    catalog = Catalog()
    catalog.load(postgresql)
    certainty = Certainty(catalog, postgresql, 'life')
    feed.observe(catalog.on_change)
    feed.observe(certainty.doubt)
    certain: list[str] = []

    def card(uuid: str) -> Any:
        found = certainty.card(uuid)
        if found is not None:
            certain.append(uuid)
        return found

    return SubscriptionService(CONFIG, feed=feed, known=card), certain


def test_what_is_known_reads_as_what_is_stored(known: tuple[SubscriptionService, list[str]]) -> None:
    service, certain = known
    nasty: dict[str, Any] = {
        **GIVEN,
        'name': 'é\u2028"\\\x01😀',
        'events': ['z', 'a', 'm'],
        'config': {'url': 'http://x', 'int': 2**70, 'float': 1e300, 'tiny': 0.1, 'no': False, 'null': None, 'e': ''},
        'metadata': {'z': None, 'a': '1', '': ''},
        'owner_user_uuid': 'o',
        'events_user_uuid': 'u',
        'events_wazo_uuid': 'w',
    }
    for given in (GIVEN, nasty, {**nasty, 'config': {}, 'metadata': {}}):
        created = service.create(given)
        assert json.dumps(service.shown(created.uuid, ALL)) == json.dumps(service.get(created.uuid).to_dict())
        assert certain[-1] == created.uuid


def test_each_answer_follows_the_last_change(known: tuple[SubscriptionService, list[str]]) -> None:
    service, certain = known
    created = service.create(GIVEN)
    for number in range(50):
        service.update(created.uuid, {'name': str(number)})
        assert service.shown(created.uuid, ALL)['name'] == str(number)
        assert service.shown(created.uuid, ALL)['name'] == str(number)
    assert len(certain) == 100
    service.delete(created.uuid)
    with pytest.raises(NoSuchSubscription):
        service.shown(created.uuid, ALL)


def test_others_see_what_is_known_no_more_than_what_is_stored(known: tuple[SubscriptionService, list[str]]) -> None:
    service, certain = known
    created = service.create({**GIVEN, 'owner_user_uuid': 'o'})
    for scope in (Scope.of(()), Scope.of(('other',)), Scope.of(('t',), owner='somebody')):
        with pytest.raises(NoSuchSubscription):
            service.shown(created.uuid, scope)
    for scope in (Scope.of(('t',)), Scope.of(('t', 'other'), owner='o')):
        assert service.shown(created.uuid.upper() if '-' in created.uuid else created.uuid, scope)['name'] == 'n'
    assert len(certain) == 5


def test_another_daemon_ends_it_and_its_end_brings_it_back(postgresql: Database) -> None:
    def begin(life: str, kind: str) -> None:
        with postgresql.transaction() as connection:
            processes.register(connection, life, kind, 'host', 1, 0)

    begin('life', 'daemon')
    begin('worker', 'worker')
    assert position.read(postgresql, 'life') == (version(postgresql), False)
    begin('other', 'daemon')
    assert position.read(postgresql, 'life') == (version(postgresql), True)
    with postgresql.transaction() as connection:
        processes.end(connection, 'other')
    assert position.read(postgresql, 'life') == (version(postgresql), False)


def test_the_position_is_not_asked_of_an_embedded_database(new_sqlite: Callable[[], Database]) -> None:
    assert position.read(new_sqlite(), 'life') is None


@pytest.fixture
def new_sqlite(tmp_path: Any) -> Iterator[Callable[[], Database]]:
    database = Database.from_uri(f'sqlite:///{tmp_path / "x.sqlite"}')
    yield lambda: database
    database.dispose()
