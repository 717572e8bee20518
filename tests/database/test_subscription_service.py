"""Every write is one transaction that leaves word of itself; what is read does not depend on the database."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy
from sqlalchemy import func, insert, select

from wazo_webhookd.database import facts, models, outbox
from wazo_webhookd.database import subscriptions as rows
from wazo_webhookd.database.session import Database
from wazo_webhookd.domain.event import Event
from wazo_webhookd.domain.scope import EVERYTHING, Scope
from wazo_webhookd.domain.subscription import MASTER, InvalidSubscription, Subscription
from wazo_webhookd.exceptions import DatabaseUnavailable
from wazo_webhookd.subscriptions.catalog import Catalog
from wazo_webhookd.subscriptions.feed import RECENT, VERSION, Change, ChangeFeed, ChangeListener
from wazo_webhookd.subscriptions.service import NoSuchSubscription, SubscriptionService

GIVEN: dict[str, Any] = {
    'name': 'n',
    'service': 'http',
    'events': ['b', 'a'],
    'config': {'url': 'http://x', 'method': 'get'},
    'owner_tenant_uuid': 't',
}
CONFIG = {'uuid': 'wazo', 'db_uri': 'postgresql://nowhere'}
ALL = Scope(EVERYTHING)
UTC_START = datetime(2026, 1, 4, 8, tzinfo=UTC)


@pytest.fixture
def feed(database: Database) -> ChangeFeed:
    feed = ChangeFeed()
    feed.attach(database=database, life='life')
    return feed


@pytest.fixture
def service(feed: ChangeFeed) -> SubscriptionService:
    return SubscriptionService(CONFIG, feed=feed)


@pytest.fixture
def catalog(feed: ChangeFeed, database: Database) -> Catalog:
    catalog = Catalog()
    catalog.load(database)
    feed.observe(catalog.on_change)
    return catalog


@contextmanager
def _statements(database: Database) -> Iterator[list[str]]:
    seen: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        seen.append(statement)

    sqlalchemy.event.listen(database.engine, 'before_cursor_execute', note)
    try:
        yield seen
    finally:
        sqlalchemy.event.remove(database.engine, 'before_cursor_execute', note)


def _left(database: Database) -> list[tuple[str, Any]]:
    with database.reading() as connection:
        return [(row.name, row.body['data']) for row in outbox.take(connection, 'life')]


def _count(database: Database, model: Any) -> int:
    with database.reading() as connection:
        return int(connection.execute(select(func.count()).select_from(model.__table__)).scalar_one())


# -- one subscription


def test_what_was_created_is_read_as_it_was_given(service: SubscriptionService) -> None:
    given = {
        **GIVEN,
        'config': {'text': '', 'int': 10, 'big': 2**70, 'yes': True, 'float': 1.5, 'null': None, 'digits': '10'},
        'metadata': {'a': 'b', 'null': None},
        'owner_user_uuid': 'o',
        'events_user_uuid': 'u',
        'events_wazo_uuid': 'w',
    }
    created = service.create(given)
    read = service.get(created.uuid)

    assert read == created
    assert read.to_dict() == {**given, 'uuid': created.uuid}
    assert {key: type(value) for key, value in read.config.items()} == {
        key: type(value) for key, value in given['config'].items()
    }
    assert read.created_at is not None
    assert service.list() == [created]
    assert uuid.UUID(created.uuid).version == 4


def test_events_keep_the_order_given_and_lose_doubles(service: SubscriptionService) -> None:
    created = service.create({**GIVEN, 'events': ['c', 'a', 'b', 'a']})

    assert service.get(created.uuid).events == ['c', 'a', 'b']
    assert service.list()[0].events == ['c', 'a', 'b']


def test_rows_of_an_older_program_are_read(service: SubscriptionService, database: Database) -> None:
    with database.transaction() as connection:
        connection.execute(insert(rows.subscription).values(uuid='old', owner_tenant_uuid='t'))
        for name in ('x', 'y'):
            connection.execute(insert(rows.event).values(uuid=name, subscription_uuid='old', event_name=name))
        connection.execute(insert(rows.option).values(uuid='o', subscription_uuid='old', name='k', value='10'))

    assert service.get('old').config == {'k': '10'}
    assert service.get('old') == service.list()[0]
    assert service.list()[0].events == ['x', 'y']


def test_update_changes_what_is_given_and_keeps_the_rest(service: SubscriptionService) -> None:
    before = service.create({**GIVEN, 'metadata': {'a': 'b'}, 'owner_user_uuid': 'o'})
    after = service.update(before.uuid, {'name': 'other', 'events': ['z'], 'config': {'k': 'v'}})

    assert service.get(before.uuid) == after
    assert after.to_dict() == {**before.to_dict(), 'name': 'other', 'events': ['z'], 'config': {'k': 'v'}}
    assert after.created_at == before.created_at


def test_deleting_takes_logs_along_and_cancels_what_waits(service: SubscriptionService, database: Database) -> None:
    gone, other = service.create(GIVEN), service.create(GIVEN)
    _deliver(database, 'w1', gone.uuid, 'waiting')
    _deliver(database, 'o1', gone.uuid, 'out')
    _deliver(database, 'w2', other.uuid, 'waiting')
    _log(database, gone.uuid, 'd1')
    _log(database, other.uuid, 'd2')
    service.delete(gone.uuid)

    with pytest.raises(NoSuchSubscription):
        service.get(gone.uuid)
    with database.reading() as connection:
        states = {row.uuid: row for row in connection.execute(select(rows.delivery))}
        logs = connection.execute(select(rows.log.c.uuid)).scalars().all()
    assert {uuid: row.state for uuid, row in states.items()} == {'w1': 'cancelled', 'o1': 'out', 'w2': 'waiting'}
    assert states['w1'].reason == 'subscription deleted'
    assert states['w1'].ended_at is not None
    assert logs == ['d2']
    for model in (models.SubscriptionEvent, models.SubscriptionOption):
        assert _count(database, model) == 2


NOBODY = uuid.UUID('5f0c1c52-7a0e-4f43-9c2b-3f1f0d3c7a11')


@pytest.mark.parametrize('asked', ['nope', str(NOBODY), '\0', 'a/b', '', '\ud800', NOBODY])
def test_unknown_subscriptions(service: SubscriptionService, asked: object) -> None:
    for act in (service.get, service.delete, lambda uuid: service.update(uuid, GIVEN)):
        with pytest.raises(NoSuchSubscription) as refused:
            act(asked)
        assert refused.value.details == {'subscription_uuid': str(asked)}


def test_uuids_are_compared_whatever_their_case(service: SubscriptionService) -> None:
    created = service.create(GIVEN)

    assert service.get(created.uuid.upper()) == created
    assert service.get(uuid.UUID(created.uuid)) == created
    service.delete(created.uuid.upper())
    assert service.list() == []


def test_nothing_can_be_stored_that_no_column_takes(service: SubscriptionService) -> None:
    for change in ({'name': 'a\0'}, {'config': {'a': []}}, {'events': 'x'}, {'name': '\ud800'}):
        with pytest.raises(InvalidSubscription):
            service.create({**GIVEN, **change})
    with pytest.raises(InvalidSubscription, match='service, config: missing'):
        service.create({'name': 'n', 'events': []})


def test_large_and_strange_metadata_are_stored_and_found(service: SubscriptionService) -> None:
    noise = ''.join(chr(0x1F300 + number * 7919 % 700) for number in range(999))
    metadata = {'a': noise, noise: 'b', 'c' * 5000: 'd' * 5000, '': ''}
    created = service.create({**GIVEN, 'metadata': metadata})
    service.create(GIVEN)

    for key, value in metadata.items():
        assert [found.uuid for found in service.list(search_metadata={key: value})] == [created.uuid]


# -- whose


def test_scope_decides_who_sees_what(service: SubscriptionService) -> None:
    mine = service.create({**GIVEN, 'owner_user_uuid': 'u'})
    child = service.create({**GIVEN, 'owner_tenant_uuid': 'child'})

    seen: dict[Scope, list[Subscription]] = {
        ALL: [mine, child],
        Scope.of(['t']): [mine],
        Scope.of(['t', 'child']): [mine, child],
        Scope.of(['t'], owner='u'): [mine],
        Scope.of(['t'], owner='v'): [],
        Scope.of([]): [],
        Scope.of([], owner='u'): [],
    }
    for scope, expected in seen.items():
        assert service.page(scope) == (expected, len(expected))
        for subscription in (mine, child):
            if subscription in expected:
                assert service.get(subscription.uuid, scope=scope) == subscription
            else:
                for act in (service.get, service.delete, lambda uuid, scope: service.update(uuid, GIVEN, scope=scope)):
                    with pytest.raises(NoSuchSubscription):
                        act(subscription.uuid, scope=scope)
    assert len(service.list()) == 2


def test_guests_ask_with_keywords(service: SubscriptionService) -> None:
    mine = service.create({**GIVEN, 'owner_user_uuid': 'u', 'events_user_uuid': 'v', 'metadata': {'mobile': 'true'}})
    service.create({**GIVEN, 'owner_tenant_uuid': 'other'})

    assert service.list(owner_user_uuid='u', search_metadata={'mobile': 'true'}) == [mine]
    assert service.list(owner_tenant_uuids=['t']) == [mine]
    assert service.list(events_user_uuid='v') == [mine]
    assert service.list(owner_tenant_uuids=[]) == []
    assert service.get(mine.uuid, owner_tenant_uuids=['t'], owner_user_uuid='u') == mine
    with pytest.raises(NoSuchSubscription):
        service.get(mine.uuid, owner_tenant_uuids=[])
    with pytest.raises(NoSuchSubscription):
        service.delete_as_user(mine.uuid, 'somebody else')


# -- lists


def test_lists_are_in_the_order_of_creation_unless_asked_otherwise(service: SubscriptionService) -> None:
    created = [service.create({**GIVEN, 'name': name}) for name in 'cab']

    assert [found.name for found in service.list()] == ['c', 'a', 'b']
    assert [found.name for found in service.list(direction='desc')] == ['b', 'a', 'c']
    assert [found.name for found in service.list(order='name')] == ['a', 'b', 'c']
    assert service.list(order='uuid', direction='desc') == sorted(created, key=lambda one: one.uuid, reverse=True)


def test_a_page_says_how_many_there_are_in_all(service: SubscriptionService) -> None:
    created = [service.create({**GIVEN, 'name': f'n{number}'}) for number in range(5)]

    assert service.page(ALL, limit=2, offset=1) == (created[1:3], 5)
    assert service.page(ALL, limit=0) == ([], 5)
    assert service.page(ALL, offset=4) == (created[4:], 5)
    assert service.page(ALL, limit=2, search='N3') == ([created[3]], 1)
    assert service.page(ALL, limit=2**63 - 1, offset=2**63 - 1) == ([], 5)


@pytest.mark.parametrize(
    ('term', 'found'),
    [('Alpha', ['one']), ('%', ['two']), ('_', ['two']), ('CALL', ['one', 'two']), ('custom', ['three']), ('zzz', [])],
)
def test_search_looks_at_name_service_and_events(service: SubscriptionService, term: str, found: list[str]) -> None:
    one = service.create({**GIVEN, 'name': 'alphabet', 'events': ['call'], 'metadata': {'k': 'one'}})
    two = service.create({**GIVEN, 'name': '100%_', 'events': ['call', 'recall'], 'metadata': {'k': 'two'}})
    three = service.create({**GIVEN, 'name': 'x', 'service': 'custom', 'events': [], 'metadata': {'k': 'three'}})

    assert {one.uuid, two.uuid, three.uuid}
    assert [subscription.metadata['k'] for subscription in service.list(search=term)] == found


def test_metadata_are_and_ed_and_exact(service: SubscriptionService) -> None:
    both = service.create({**GIVEN, 'metadata': {'a': '1', 'b': '2', 'n': None}})
    service.create({**GIVEN, 'metadata': {'a': '1', 'b': '3'}})

    assert service.list(search_metadata={'a': '1', 'b': '2'}) == [both]
    assert len(service.list(search_metadata={'a': '1'})) == 2
    for wanted in ({'a': '1 '}, {'A': '1'}, {'n': ''}, {'a': '1', 'b': '4'}):
        assert service.list(search_metadata=wanted) == []


def test_the_number_of_statements_does_not_grow_with_the_page(service: SubscriptionService, database: Database) -> None:
    wish = {**GIVEN, 'events': [f'e{number}' for number in range(10)], 'metadata': {'a': '1', 'b': '2', 'c': '3'}}
    for _ in range(30):
        service.create(wish)

    numbers = []
    for limit in (1, 30):
        with _statements(database) as seen:
            found, total = service.page(ALL, limit=limit)
        numbers.append(len(seen))
        assert (len(found), total) == (limit, 30)
        assert all(len(one.events) == 10 and len(one.metadata) == 3 for one in found)
    assert numbers == [5, 5]
    with _statements(database) as seen:
        service.get(found[0].uuid)
    assert len(seen) <= 1  # on PostgreSQL it passes SQLAlchemy by


# -- who hears


def test_every_write_leaves_its_event_with_the_change(service: SubscriptionService, database: Database) -> None:
    mine = service.create(GIVEN)
    changed = service.update(mine.uuid, {'owner_user_uuid': 'u'})
    service.delete(mine.uuid)

    six = {key: changed.to_dict()[key] for key in ('uuid', 'name', 'service', 'events', 'config', 'metadata')}
    assert _left(database) == [
        ('webhookd_subscription_created', mine.to_dict()),
        ('webhookd_user_subscription_updated', six),
        ('webhookd_user_subscription_deleted', six),
    ]


def test_a_write_that_fails_leaves_nothing(
    service: SubscriptionService, database: Database, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError('in the middle')

    monkeypatch.setattr(facts, 'bump', fail)
    with pytest.raises(RuntimeError):
        service.create(GIVEN)

    assert _left(database) == []
    assert _count(database, models.Subscription) == 0
    assert len(catalog) == 0


def test_a_lost_connection_is_tried_once_more(
    service: SubscriptionService, database: Database, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Database.transaction
    lost = []

    @contextmanager
    def answer_lost_once(self: Database) -> Iterator[Any]:
        with real(self) as connection:
            yield connection
        if not lost:
            lost.append(True)
            raise DatabaseUnavailable

    monkeypatch.setattr(Database, 'transaction', answer_lost_once)
    created = service.create(GIVEN)
    lost.clear()
    service.delete(created.uuid)

    assert [name for name, _ in _left(database)] == ['webhookd_subscription_created', 'webhookd_subscription_deleted']
    assert len(catalog) == 0
    assert catalog.version == 2


def test_the_catalog_knows_before_the_writer_is_answered(service: SubscriptionService, catalog: Catalog) -> None:
    created = service.create(GIVEN)
    assert [card.uuid for card in catalog.match(_event('a'))] == [created.uuid]
    assert catalog.card(created.uuid).subscription() == created.to_dict()  # type: ignore[union-attr]

    service.update(created.uuid, {'events': ['z']})
    assert catalog.match(_event('a')) == []
    assert catalog.wants('z')

    service.delete(created.uuid)
    assert catalog.names() == set()
    assert catalog.version == 3


def test_observers_are_called_in_order_after_the_commit(
    service: SubscriptionService, feed: ChangeFeed, database: Database
) -> None:
    heard: list[Any] = []
    feed.observe(lambda change: heard.append((change.kind, change.names, _count(database, models.Subscription))))
    feed.observe(lambda change: 1 / 0)
    feed.observe(lambda change: heard.append('second'))
    service.create(GIVEN)

    assert heard == [('created', {'a', 'b'}, 1), 'second']


def test_a_daemon_catches_up_with_another_in_the_transaction_of_its_intake(
    service: SubscriptionService, database: Database
) -> None:
    service.create(GIVEN)
    deaf = Catalog()
    deaf.load(database)
    kept, changed, gone = service.create(GIVEN), service.create(GIVEN), service.create(GIVEN)
    service.update(changed.uuid, {'events': ['z']})
    service.delete(gone.uuid)
    with database.transaction() as connection:
        version, _ = facts.get(connection, VERSION)
        with _statements(database) as seen:
            deaf.catch_up(connection, version)
            deaf.catch_up(connection, version)

    assert deaf.version == version == 6
    assert len(deaf) == 3
    assert deaf.card(kept.uuid) is not None
    assert deaf.card(gone.uuid) is None
    assert deaf.names() == {'a', 'b', 'z'}
    assert len(seen) == 5


def test_catching_up_reads_all_when_the_changes_are_too_long_ago(
    service: SubscriptionService, database: Database
) -> None:
    gone = service.create(GIVEN)
    deaf = Catalog()
    deaf.load(database)
    service.delete(gone.uuid)
    created = service.create(GIVEN)
    with database.transaction() as connection:
        facts.put(connection, RECENT, '[[3,[]]]')
        deaf.catch_up(connection, 3)

    assert deaf.version == 3
    assert len(deaf) == 1
    assert deaf.card(created.uuid) is not None


def test_what_is_heard_while_rows_are_read_wins_over_them(service: SubscriptionService, database: Database) -> None:
    created = service.create({**GIVEN, 'events': ['old']})
    catalog = Catalog()
    real = rows.everything

    def heard_meanwhile(connection: Any) -> Iterator[list[Subscription]]:
        for page in real(connection):
            newer = Subscription(**{**_fields(created), 'events': ['new']})
            catalog.on_change(Change('updated', 2, (created.uuid,), (newer,)))
            yield page

    rows.everything = heard_meanwhile
    try:
        catalog.load(database)
    finally:
        rows.everything = real

    assert catalog.names() == {'new'}
    assert catalog.version == 2


def test_ten_thousand_changes_leave_a_bounded_word(feed: ChangeFeed, database: Database) -> None:
    for _ in range(100):
        with database.transaction() as connection:
            feed.record(connection, 'deleted', [str(uuid.uuid4()) for _ in range(100)])
    with database.reading() as connection:
        version, _ = facts.get(connection, VERSION)
        _, text = facts.get(connection, RECENT)

    assert version == 100
    assert text is not None
    assert len(text) < 20_000


def test_writes_from_many_threads_end_in_the_same_picture(
    service: SubscriptionService, database: Database, catalog: Catalog
) -> None:
    first = service.create(GIVEN)

    def work(number: int) -> None:
        mine = service.create({**GIVEN, 'name': f'{number}'})
        service.update(first.uuid, {'events': [f'e{number}']})
        if number % 2:
            service.delete(mine.uuid)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(24)))
    fresh = Catalog()
    fresh.load(database)

    assert catalog.version == fresh.version == 1 + 24 + 24 + 12
    assert len(catalog) == len(fresh) == 13
    assert catalog.names() == fresh.names()
    assert catalog.card(first.uuid).document == fresh.card(first.uuid).document  # type: ignore[union-attr]


# -- guests


def test_the_same_wish_in_load_is_found_again(service: SubscriptionService, feed: ChangeFeed) -> None:
    feed.loading = lambda: True
    first = service.create({**GIVEN, 'events': ['a', 'b']})

    assert service.create({**GIVEN, 'events': ['b', 'a']}) == first
    assert service.create({**GIVEN, 'config': {'url': 'http://y', 'method': 'get'}}) != first
    assert service.create({**GIVEN, 'owner_tenant_uuid': 'other'}) != first
    assert len(service.list()) == 3
    feed.loading = lambda: False
    assert service.create(GIVEN) != first


def test_a_number_is_another_wish_than_its_digits(service: SubscriptionService, feed: ChangeFeed) -> None:
    feed.loading = lambda: True
    service.create({**GIVEN, 'service': 'example', 'config': {'time': 1}})
    service.create({**GIVEN, 'service': 'example', 'config': {'time': '1'}})
    service.create({**GIVEN, 'service': 'example', 'config': {'time': True}})
    service.create({**GIVEN, 'service': 'example', 'config': {'time': 1}})

    assert len(service.list()) == 3


def test_many_daemons_that_start_at_once_leave_one(database: Database) -> None:
    wish = {key: value for key, value in GIVEN.items() if key != 'owner_tenant_uuid'}
    start = threading.Barrier(6)

    def daemon(number: int) -> str:
        feed = ChangeFeed()
        feed.attach(database=database, life=f'{number}', loading=lambda: True)
        service = SubscriptionService(CONFIG, feed=feed)
        start.wait(10)
        if number == 0:
            service.remember_master_tenant('m')
        return service.create(wish).uuid

    with ThreadPoolExecutor(6) as pool:
        uuids = set(pool.map(daemon, range(6)))

    assert len(uuids) == 1
    with database.reading() as connection:
        (row,) = connection.execute(select(rows.subscription)).all()
    assert row.owner_tenant_uuid == 'm'


def test_without_a_tenant_it_belongs_to_the_master_tenant_from_when_that_is_known(
    service: SubscriptionService, database: Database, catalog: Catalog, feed: ChangeFeed
) -> None:
    wish = {key: value for key, value in GIVEN.items() if key != 'owner_tenant_uuid'}
    created = service.create(wish)

    assert created.owner_tenant_uuid == MASTER
    assert [card.uuid for card in catalog.match(_event('a', tenant_uuid='any'))] == [created.uuid]
    assert _left(database) == []
    service.remember_master_tenant('m')
    service.remember_master_tenant('m')
    catalog.set_master_tenant('m')
    assert service.get(created.uuid).owner_tenant_uuid == 'm'
    assert catalog.card(created.uuid).tenant_uuid == 'm'  # type: ignore[union-attr]
    assert [(name, data['owner_tenant_uuid']) for name, data in _left(database)] == [
        ('webhookd_subscription_created', 'm')
    ]

    feed.loading = lambda: True
    assert service.create(wish).uuid == created.uuid
    feed.master_tenant = lambda: 'm'
    assert service.create(wish).uuid == created.uuid
    assert SubscriptionService({**CONFIG, 'auth': {'master_tenant_uuid': 'm'}}, feed=feed).create(wish) == service.get(
        created.uuid
    )


def test_in_a_worker_nothing_is_written(service: SubscriptionService, database: Database, feed: ChangeFeed) -> None:
    kept = service.create(GIVEN)
    feed.attach(database=database, writable=False)
    returned = service.create(GIVEN)

    assert returned.name == 'n'
    assert returned.uuid != kept.uuid
    assert service.update(kept.uuid, {'name': 'other'}).name == 'other'
    service.delete(kept.uuid)
    service.delete_of_tenant('t')
    service.remember_master_tenant('m')
    service.create_hook_log('d', kept.uuid, 'success', 1, 1, UTC_START, UTC_START, {}, {})
    with service.rw_session() as session:
        session.add(models.Subscription(uuid='s', name='n', service='http', owner_tenant_uuid='t'))
    assert service.list() == [kept]
    assert _count(database, models.SubscriptionLog) == 0


def test_a_script_needs_the_configuration_alone(database: Database) -> None:
    uri = database.engine.url.render_as_string(hide_password=False)
    unattached = ChangeFeed()
    service = SubscriptionService({'db_uri': uri.replace('+psycopg2', ''), 'uuid': 'wazo'}, feed=unattached)
    created = service.create(GIVEN)
    service.close()

    assert SubscriptionService({'db_uri': uri.replace('+psycopg2', '')}, feed=unattached).list() == [created]
    with database.reading() as connection:
        assert [row.life for row in outbox.take(connection, None)] == [None]
    unattached.database_for(uri.replace('+psycopg2', '')).dispose()


def test_a_second_argument_is_accepted(feed: ChangeFeed) -> None:
    assert SubscriptionService(CONFIG, object(), feed=feed).list() == []


def test_sessions_of_the_orm_are_for_guests(service: SubscriptionService, database: Database, catalog: Catalog) -> None:
    with service.rw_session() as session:
        session.add(models.Subscription(uuid='s', name='n', service='http', owner_tenant_uuid='t'))
        session.add(models.SubscriptionEvent(uuid='e', subscription_uuid='s', event_name='a'))

    with service.ro_session() as session:
        assert [one.name for one in session.scalars(select(models.Subscription))] == ['n']
    assert catalog.names() == {'a'}


# -- clean-up


def test_subscriptions_of_a_deleted_user_go_with_their_events(
    service: SubscriptionService, database: Database, catalog: Catalog
) -> None:
    owned = service.create({**GIVEN, 'owner_user_uuid': 'u'})
    watching = service.create({**GIVEN, 'events_user_uuid': 'u'})
    other = service.create({**GIVEN, 'owner_user_uuid': 'v'})

    assert service.delete_of_user('u') == 2
    assert service.delete_of_user('u') == 0
    assert service.list() == [other]
    assert len(catalog) == 1
    deleted = [data['uuid'] for name, data in _left(database) if name.endswith('_deleted')]
    assert sorted(deleted) == sorted([owned.uuid, watching.uuid])


def test_more_than_a_batch_of_a_deleted_tenant_goes(service: SubscriptionService, catalog: Catalog) -> None:
    for _ in range(120):
        service.create({**GIVEN, 'events': ['a'], 'config': {}})
    other = service.create({**GIVEN, 'owner_tenant_uuid': 'other'})

    assert service.delete_of_tenant('t') == 120
    assert service.list() == [other]
    assert len(catalog) == 1
    assert catalog.version == 123


# -- logs


def _log(database: Database, subscription: str, uuid: str, attempts: int = 1, **values: Any) -> None:
    row = {
        'uuid': uuid, 'subscription_uuid': subscription, 'attempts': attempts, 'max_attempts': 3, 'status': 'success',
        'started_at': UTC_START, 'ended_at': UTC_START, 'event': {'name': 'e'}, 'detail': {}, **values,
    }  # fmt: skip
    with database.transaction() as connection:
        connection.execute(insert(rows.log).values(**row))


def _deliver(database: Database, uuid: str, subscription: str, state: str) -> None:
    row = {
        'uuid': uuid, 'sequence': 1, 'subscription_uuid': subscription, 'tenant_uuid': 't', 'event_uuid': 'e',
        'event_name': 'a', 'state': state, 'max_attempts': 1, 'due_at': UTC_START, 'created_at': UTC_START,
        'expires_at': UTC_START + timedelta(days=1),
    }  # fmt: skip
    with database.transaction() as connection:
        connection.execute(insert(rows.delivery).values(**row))


def test_logs_are_paged_in_a_stable_order(service: SubscriptionService, database: Database) -> None:
    for number in range(5):
        _log(database, 's', f'd{number}')
    _log(database, 'other', 'd0', 2)

    newest = [log.uuid for log in service.get_logs('s')]
    assert newest == ['d4', 'd3', 'd2', 'd1', 'd0']
    pages = [service.page_of_logs('s', limit=2, offset=offset) for offset in (0, 2, 4)]
    assert [log.uuid for page, _ in pages for log in page] == newest
    assert {total for _, total in pages} == {5}
    assert service.page_of_logs('s', limit=0) == ([], 5)
    assert [log.uuid for log in service.get_logs('s', direction='asc', limit=1)] == ['d0']


def test_logs_are_ordered_as_the_statuses_and_nulls_are(service: SubscriptionService, database: Database) -> None:
    for uuid_, status in (('e', 'error'), ('s', 'success'), ('f', 'failure'), ('n', None)):
        _log(database, 's', uuid_, status=status, ended_at=None if uuid_ == 'n' else UTC_START)

    def order(**asked: Any) -> list[str]:
        return [log.uuid for log in service.get_logs('s', **asked)]

    assert order(order='status', direction='asc') == ['s', 'f', 'e', 'n']
    assert order(order='status') == ['n', 'e', 'f', 's']
    assert order(order='ended_at', direction='asc') == ['e', 'f', 's', 'n']
    assert order(order='ended_at') == ['n', 's', 'f', 'e']


def test_logs_are_filtered_by_date_and_text(service: SubscriptionService, database: Database) -> None:
    _log(database, 's', 'old', started_at=UTC_START - timedelta(hours=1), status='failure')
    _log(database, 's', 'new', event={'name': 'é 100%'}, detail={'error': 'Connection refused'})

    def found(**asked: Any) -> list[str]:
        return [log.uuid for log in service.get_logs('s', **asked)]

    assert found(from_date=UTC_START) == ['new']
    assert found(from_date=datetime(2026, 1, 4, 8, 0, 1)) == []
    assert found(from_date=datetime(2026, 1, 4, 6)) == ['new', 'old']
    assert found(search='refused') == ['new']
    assert found(search='É'.lower()) == ['new']
    assert found(search='100%') == ['new']
    assert found(search='failure') == ['old']
    assert found(search='nothing like it') == []
    assert service.page_of_logs('s', search='e', limit=1)[1] == 2


def test_logs_are_shown_with_aware_times_and_objects(service: SubscriptionService, database: Database) -> None:
    _log(database, 's', 'd', detail='a text', event=None, started_at=UTC_START + timedelta(microseconds=1))

    assert service.get_logs('s')[0].to_dict() == {
        'uuid': 'd', 'status': 'success', 'started_at': '2026-01-04T08:00:00.000001+00:00',
        'ended_at': '2026-01-04T08:00:00+00:00', 'attempts': 1, 'max_attempts': 3, 'event': None,
        'detail': {'value': 'a text'},
    }  # fmt: skip


def test_guests_may_write_a_log(service: SubscriptionService) -> None:
    mine = service.create(GIVEN)
    naive = datetime(2026, 1, 4, 8)
    service.create_hook_log('d', mine.uuid, 'failure', 1, 3, naive, UTC_START, {'name': 'e'}, {'error': 'x'})
    service.create_hook_log('d', mine.uuid, 'success', 1, 3, naive, UTC_START, {'name': 'e'}, {})
    service.create_hook_log('d', mine.uuid, 'failure', 1, 3, naive, UTC_START, {'name': 'e'}, {'late': True})
    service.create_hook_log('d', 'gone', 'success', 1, 3, naive, UTC_START, {}, {})

    (log,) = service.get_logs(mine.uuid)
    assert (log.status, log.detail, log.started_at) == ('success', {}, UTC_START)
    assert service.get_logs('gone') == []


# -- between daemons (PostgreSQL)


def test_another_daemon_hears_of_every_change(postgresql: Database, wait_until: Callable[..., None]) -> None:
    one, two = ChangeFeed(), ChangeFeed()
    one.attach(database=postgresql, life='one')
    two.attach(database=postgresql, life='two')
    catalog = Catalog()
    two.observe(catalog.on_change)
    echoes: list[Change] = []
    one.observe(echoes.append)
    sessions: list[Any] = []
    two.on_relay('auth_session_deleted', sessions.append)
    listeners = [
        ChangeListener(postgresql, two, lambda: catalog.load(postgresql)),
        ChangeListener(postgresql, one, lambda: None),
    ]
    for listener in listeners:
        listener.start()
    try:
        wait_until(lambda: catalog.version == 0 and all(listener.listening for listener in listeners))
        service = SubscriptionService(CONFIG, feed=one)
        mine = service.create(GIVEN)
        wait_until(lambda: catalog.names() == {'a', 'b'})
        service.update(mine.uuid, {'events': ['z']})
        wait_until(lambda: catalog.names() == {'z'})
        one.relay('auth_session_deleted', {'uuid': 'session'})
        wait_until(lambda: sessions == [{'uuid': 'session'}])
        with service.rw_session() as session:
            session.add(models.SubscriptionEvent(uuid='e', subscription_uuid=mine.uuid, event_name='y'))
        wait_until(lambda: catalog.names() == {'y', 'z'})
        service.delete(mine.uuid)
        wait_until(lambda: len(catalog) == 0)
        assert catalog.version == 4
        assert [change.kind for change in echoes] == ['created', 'updated', 'reload', 'deleted']
        assert not any(change.remote for change in echoes)
    finally:
        for listener in listeners:
            listener.stop()


@pytest.fixture
def wait_until() -> Callable[..., None]:
    def wait(condition: Callable[[], bool], seconds: float = 10) -> None:
        moment = threading.Event()
        for _ in range(int(seconds / 0.02)):
            if condition():
                return
            moment.wait(0.02)
        raise AssertionError('it did not come to that')

    return wait


def _event(name: str, **headers: Any) -> Event:
    return Event('e', name, {'tenant_uuid': 't', **headers}, {}, '{}', 'bus', UTC_START)


def _fields(subscription: Subscription) -> dict[str, Any]:
    return {name: getattr(subscription, name) for name in Subscription.__dataclass_fields__}
