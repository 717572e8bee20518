"""The parts of the bus against a real RabbitMQ: queue, bindings, acknowledgements, outbox."""

from __future__ import annotations

import json
import logging
import subprocess
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import amqp
import pytest
from sqlalchemy import insert

from integration_tests.support.bus import Bus
from integration_tests.support.servers import Postgres, Rabbit
from integration_tests.support.site import COMMANDS
from integration_tests.support.until import for_a_while, until
from wazo_webhookd.bus import BusConsumer, BusPublisher, broker
from wazo_webhookd.bus.bindings import LOCK, Bindings
from wazo_webhookd.bus.outbox import ConfirmedChannel, OutboxSender
from wazo_webhookd.database import bindings as binding_rows
from wazo_webhookd.database import outbox
from wazo_webhookd.database.models import Subscription, SubscriptionEvent
from wazo_webhookd.database.session import Database
from wazo_webhookd.domain.event import Event
from wazo_webhookd.exceptions import DatabaseUnavailable, WebhookdError


class Intake:
    """Takes events in as the daemon's intake does: at once, later, or not at all."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.answer: Callable[[Event], int | Exception | None] = lambda event: 1
        self.open: list[Callable[[int | Exception], None]] = []

    def __call__(self, event: Event, done: Callable[[int | Exception], None]) -> None:
        answer = self.answer(event)
        if answer is None:
            self.open.append(done)
        self.events.append(event)
        if answer is not None:
            done(answer)

    @property
    def numbers(self) -> list[int]:
        return [event.body['data']['number'] for event in self.events]


class Site:
    """One queue, its consumer, and a client that publishes."""

    def __init__(self, rabbit: Rabbit, vhost: str) -> None:
        self.rabbit, self.vhost = rabbit, vhost
        unique = uuid.uuid4().hex[:8]
        self.config = SimpleNamespace(
            host=rabbit.host,
            port=rabbit.port,
            username='guest',
            password='guest',
            vhost=vhost,
            exchange_name=f'wazo-headers-{unique}',
            exchange_type='headers',
            queue=SimpleNamespace(name=f'wazo_webhookd.{unique}', max_age=600, max_length=1000, prefetch=50),
            max_event_bytes=100_000,
        )
        self.client = Bus(rabbit.host, rabbit.port, vhost, exchange=self.config.exchange_name)
        self.client.declare_exchange()
        self.intake = Intake()
        self.names: set[str] = {'wanted'}
        self.consumers: list[BusConsumer] = []

    def consumer(self, database: Any = None, *, start: bool = True) -> BusConsumer:
        consumer = BusConsumer(self.config, self.intake, lambda: self.names, database)
        self.consumers.append(consumer)
        if start:
            consumer.start()
            until(lambda: consumer.receives, what='connected')
        return consumer

    def publish(self, numbers: Any, name: str = 'wanted', **more: Any) -> None:
        for number in numbers:
            self.client.publish(name, {'number': number}, **more)

    def bound(self) -> set[str]:
        """The event names bound to the queue."""
        text = self.rabbit.ctl(
            'list_bindings', '-p', self.vhost, '--formatter', 'json', 'source_name', 'destination_name', 'arguments'
        )
        names = set()
        for binding in json.loads(text):
            if binding['source_name'] == self.config.exchange_name:
                arguments = binding['arguments']
                pairs = arguments.items() if isinstance(arguments, dict) else ((a[0], a[-1]) for a in arguments)
                found = dict(pairs)
                assert found['x-match'] == 'all'
                assert set(found) == {'x-match', 'name'}
                if binding['destination_name'] == self.config.queue.name:
                    names.add(found['name'])
        return names

    def depth(self) -> int | None:
        return self.client.depth(self.config.queue.name)

    def cut_connections(self) -> None:
        """All connections to this virtual host, our client's too."""
        self.rabbit.close_connections(self.vhost)
        self.client.close()

    def connection(self) -> Any:
        return broker.connect(broker.BrokerAddress.from_config(self.config), 'test')

    def clean_up(self) -> None:
        for consumer in self.consumers:
            consumer.stop(0)
        queue = self.config.queue.name
        for name in (queue, f'{queue}.dropped', f'{queue}.moving', f'{queue}.meanwhile'):
            self.client.delete_queue(name)
        self.client._open().exchange_delete(self.config.exchange_name)
        self.client.close()


@pytest.fixture
def site(rabbit: Rabbit, vhost: str) -> Iterator[Site]:
    site = Site(rabbit, vhost)
    yield site
    site.clean_up()


@pytest.fixture
def database(postgres: Postgres, template: str) -> Iterator[Database]:
    name = postgres.create_database(template=template)
    database = Database.from_uri(postgres.uri(name), pool_size=5)
    yield database
    database.dispose()
    postgres.drop_database(name)


# -- receiving


def test_events_come_in_order_and_are_acknowledged_when_stored(site: Site) -> None:
    consumer = site.consumer()
    site.publish(range(300), tenant='t')
    until(lambda: len(site.intake.events) == 300)

    assert site.intake.numbers == list(range(300))
    assert site.intake.events[0].headers['tenant_uuid'] == 't'
    assert site.intake.events[0].fingerprint
    assert not any(event.redelivered for event in site.intake.events)
    assert consumer.consumer_connected()
    assert consumer.is_running
    consumer.stop()
    assert site.depth() == 0


def test_no_more_than_the_prefetch_is_in_our_hands(site: Site) -> None:
    site.intake.answer = lambda event: None
    site.consumer()
    site.publish(range(120))
    until(lambda: len(site.intake.events) == 50)
    for_a_while(lambda: len(site.intake.events) == 50, 0.3)

    for done in site.intake.open:
        done(1)
    until(lambda: len(site.intake.events) == 100)


def test_one_that_takes_long_holds_up_no_others(site: Site) -> None:
    site.intake.answer = lambda event: None if event.body['data']['number'] == 0 else 1
    consumer = site.consumer()
    site.publish(range(200))
    until(lambda: len(site.intake.events) == 200)
    consumer.stop(0.2)

    until(lambda: site.depth() == 1)


def test_what_was_not_acknowledged_comes_again_marked(site: Site) -> None:
    site.intake.answer = lambda event: None
    site.consumer()
    site.publish(range(10))
    until(lambda: len(site.intake.events) == 10)
    first = site.intake.events[:]
    site.cut_connections()
    site.intake.answer = lambda event: 1
    until(lambda: len(site.intake.events) == 20)

    again = site.intake.events[10:]
    assert [event.fingerprint for event in again] == [event.fingerprint for event in first]
    assert all(event.redelivered for event in again)
    assert len({event.uuid for event in site.intake.events}) == 20
    for done in site.intake.open:
        done(1)  # too late, for a connection that is gone
    until(lambda: site.depth() == 0)


def test_who_stood_still_takes_in_nothing_that_may_be_in_other_hands(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr('wazo_webhookd.bus.consumer.ASLEEP_SECONDS', 0.5)
    asleep = threading.Event()

    def sleep_at_the_first(event: Event) -> int:
        if not site.intake.events:
            asleep.set()
            time.sleep(1)  # on the consumer's thread: meanwhile the others come into its socket
        return 1

    site.intake.answer = sleep_at_the_first
    consumer = site.consumer()
    site.publish([0])
    assert asleep.wait(5)
    site.publish(range(1, 5))
    until(lambda: site.intake.numbers == [0, 0, 1, 2, 3, 4])

    assert [event.redelivered for event in site.intake.events] == [False] + 5 * [True]
    until(lambda: site.depth() == 0)
    assert consumer.is_running


def test_stopping_waits_for_what_is_being_stored(site: Site) -> None:
    site.intake.answer = lambda event: None
    consumer = site.consumer()
    site.publish(range(10))
    until(lambda: len(site.intake.open) == 10)
    threading.Timer(0.3, lambda: [done(1) for done in site.intake.open]).start()
    consumer.stop(5)

    assert site.depth() == 0
    assert not consumer.is_running


def test_events_wait_while_nobody_is_there(site: Site) -> None:
    site.consumer().stop()
    site.publish(range(20))

    assert site.depth() == 20

    site.consumer()
    until(lambda: site.intake.numbers == list(range(20)))


def test_two_consumers_share_the_queue(site: Site) -> None:
    site.consumer()
    site.consumer()
    site.publish(range(200))
    until(lambda: len(site.intake.events) == 200)

    assert sorted(site.intake.numbers) == list(range(200))


@pytest.mark.parametrize(
    ('body', 'headers', 'properties'),
    [
        (b'hello', {}, {}),
        (b'', {}, {}),
        (b'{"a": ', {}, {}),
        (b'[1]', {}, {}),
        (b'"text"', {}, {'content_type': 'text/plain'}),
        (b'\xff\xfe', {}, {}),
        (b'{"data": NaN}', {}, {}),
        (b'{"data": ' + b'[' * 5000 + b']' * 5000 + b'}', {}, {}),
        (b'{"name": 7}', {'name': None}, {}),
        (b'{}', {}, {'content_encoding': 'rot13'}),
        (b'{}', {'name': 12}, {}),
        (b'{}', {'list': [[[[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]]]]}, {}),
        (b'{}', {'when': 'far future'}, {}),
        (b'5' * 200_000, {}, {}),
    ],
)
def test_a_bad_message_costs_only_itself(
    site: Site, caplog: pytest.LogCaptureFixture, body: bytes, headers: dict[str, Any], properties: dict[str, Any]
) -> None:
    consumer = site.consumer()
    caplog.set_level(logging.WARNING)
    if headers.get('when') == 'far future':
        _publish_impossible_date(site)
    else:
        site.client.publish_raw(body, {'name': 'wanted', **headers}, queue=site.config.queue.name, **properties)
    site.publish([1])
    until(lambda: site.intake.numbers == [1])

    said = [line for line in caplog.messages if 'malformed' in line or 'dropped' in line or 'cannot be read' in line]
    assert len(said) == 1
    assert sum(consumer.counters.values()) == 1
    assert consumer.counters['dropped'] == (1 if len(body) > 100_000 else 0)
    consumer.stop()
    assert site.depth() == 0


def _publish_impossible_date(site: Site) -> None:
    """A header that the AMQP library cannot turn into a date: a timestamp of the year 30000."""
    import struct

    class Far(amqp.Message):  # type: ignore[misc]
        def _serialize_properties(self) -> bytes:
            entry = b'\x04when' + b'T' + struct.pack('>Q', 10**15) + b'\x04nameS' + struct.pack('>I', 6) + b'wanted'
            return struct.pack('>H', 1 << 13) + struct.pack('>I', len(entry)) + entry

    site.client._open().basic_publish_confirm(Far(b'{}'), '', site.config.queue.name)


def test_an_event_that_can_never_be_stored_costs_only_itself(site: Site) -> None:
    site.intake.answer = lambda event: WebhookdError('refused') if event.body['data']['number'] == 1 else 1
    consumer = site.consumer()
    site.publish(range(3))
    until(lambda: len(site.intake.events) == 3)
    consumer.stop()

    assert consumer.counters == {'malformed': 1, 'dropped': 0}
    assert site.depth() == 0


class AbsentDatabase:
    def __init__(self) -> None:
        self.there = True

    def reading(self) -> AbsentDatabase:
        if not self.there:
            raise DatabaseUnavailable
        return self

    def __enter__(self) -> AbsentDatabase:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def exec_driver_sql(self, statement: str) -> None:
        assert self.there


def test_while_the_database_is_away_events_stay_with_the_broker(site: Site) -> None:
    database = AbsentDatabase()
    consumer = site.consumer(database)
    database.there = False
    site.intake.answer = lambda event: 1 if database.there else DatabaseUnavailable()
    site.publish(range(30))
    until(lambda: site.depth() == 30)
    for_a_while(lambda: site.depth() == 30, 0.5)
    calls = len(site.intake.events)

    assert consumer.paused
    assert consumer.consumer_connected()
    assert 1 <= calls <= 30

    database.there = True
    until(lambda: len(site.intake.events) == calls + 30)
    again = site.intake.numbers[calls:]
    assert again == list(range(30))
    assert [event.redelivered for event in site.intake.events[calls:]] == [True] * calls + [False] * (30 - calls)
    until(lambda: site.depth() == 0)


def test_pausing_and_resuming(site: Site) -> None:
    consumer = site.consumer()
    consumer.pause()
    until(lambda: not consumer.receives)
    site.publish(range(5))

    assert site.depth() == 5

    consumer.resume()
    until(lambda: site.intake.numbers == list(range(5)))


def test_unwanted_names_are_acknowledged_quickly(site: Site) -> None:
    site.config.queue.max_length = 100_000
    site.config.queue.prefetch = 500
    site.consumer().stop()
    connection = site.connection()
    channel = connection.channel()
    body = json.dumps({'name': 'nobody_wants_it', 'timestamp': '2026-01-01', 'data': {'number': 1}})
    for _ in range(10_000):
        message = amqp.Message(body, application_headers={'name': 'nobody_wants_it'}, delivery_mode=1)
        channel.basic_publish(message, '', site.config.queue.name)
    until(lambda: site.depth() == 10_000)
    started = time.monotonic()
    consumer = site.consumer()
    until(lambda: len(site.intake.events) == 10_000, 30)
    took = time.monotonic() - started
    connection.close()
    consumer.stop()

    assert site.depth() == 0
    assert took < 5  # 2,000/s on a machine that does other things too; alone it makes more than 10,000/s


# -- handlers


def test_our_handlers_finish_before_the_acknowledgement(site: Site) -> None:
    go_on, seen = threading.Event(), []

    def handler(body: dict[str, Any], headers: dict[str, Any]) -> None:
        seen.append((body['data'], headers['tenant_uuid']))
        assert go_on.wait(10)

    consumer = site.consumer(start=False)
    consumer.subscribe_internal('user_deleted', handler)
    consumer.start()
    until(lambda: site.bound() == {'wanted', 'user_deleted'})
    site.publish([1], name='user_deleted', tenant='t')
    site.publish([2])
    until(lambda: seen == [({'number': 1}, 't')])
    until(lambda: site.intake.numbers == [1, 2])
    consumer.stop(0.2)
    go_on.set()

    until(lambda: site.depth() == 1)


def test_a_handler_that_needs_the_database_gets_its_event_until_it_is_handled(site: Site) -> None:
    database, handled = AbsentDatabase(), []

    def handler(body: dict[str, Any]) -> None:
        if not database.there:
            raise DatabaseUnavailable
        handled.append(body['data']['number'])

    consumer = site.consumer(database, start=False)
    consumer.subscribe_internal('wanted', handler)
    consumer.start()
    until(consumer.consumer_connected)
    database.there = False
    site.publish([1, 2])
    time.sleep(0.3)
    database.there = True
    until(lambda: handled == [1, 2])
    consumer.stop()

    assert site.depth() == 0


def test_guests_hear_of_events_with_the_right_headers(site: Site) -> None:
    heard: list[Any] = []
    consumer = site.consumer(start=False)
    consumer.subscribe('ping', lambda body: heard.append(body['data']['number']), headers={'tenant_uuid': 't'})
    consumer.subscribe_to_event_names(
        uuid=uuid.uuid4(), event_names=['ping'], callback=lambda body, event: heard.append(event.headers['tenant_uuid'])
    )
    consumer.start()
    until(lambda: 'ping' in site.bound())
    site.publish([1], name='ping', tenant='t')
    site.publish([2], name='ping', tenant='other')
    until(lambda: len(heard) == 3)

    assert sorted(map(str, heard)) == ['1', 'other', 't']


# -- the queue


def test_what_the_limits_drop_is_counted(site: Site) -> None:
    site.config.queue.max_length = 10
    consumer = site.consumer()
    consumer.pause()
    until(lambda: not consumer.receives)
    site.publish(range(25))
    until(lambda: consumer.counters['dropped'] == 15)
    consumer.resume()
    until(lambda: site.intake.numbers == list(range(15, 25)))


def test_a_queue_with_other_limits_is_used_with_a_warning(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    site.client._open().queue_declare(site.config.queue.name, durable=True, auto_delete=False)
    site.consumer()
    site.publish([1])
    until(lambda: site.intake.numbers == [1])

    warnings = [line for line in caplog.messages if 'wazo-webhookd-init-amqp --recreate-queue' in line]
    assert len(warnings) == 1


def test_an_exchange_declared_otherwise_is_used(site: Site) -> None:
    channel = site.client._open()
    channel.exchange_delete(site.config.exchange_name)
    channel.exchange_declare(site.config.exchange_name, 'headers', durable=False, auto_delete=False)
    site.consumer()
    site.publish([1])
    until(lambda: site.intake.numbers == [1])


def test_a_deleted_queue_is_declared_again(site: Site) -> None:
    site.consumer()
    site.client.delete_queue(site.config.queue.name)
    until(lambda: site.depth() is not None and site.bound() == {'wanted'})
    site.publish([1])
    until(lambda: site.intake.numbers == [1])


def test_a_broker_that_comes_later_is_waited_for(site: Site) -> None:
    port, site.config.port = site.config.port, 1
    consumer = site.consumer(start=False)
    consumer.start()
    time.sleep(0.3)
    status: Any = {'bus_consumer': {}}
    consumer.provide_status(status)

    assert not consumer.consumer_connected()
    assert status['bus_consumer']['status'] == 'fail'

    consumer.settings = replace(consumer.settings, address=replace(consumer.settings.address, port=port))
    until(consumer.consumer_connected)
    consumer.provide_status(status)
    assert status['bus_consumer']['status'] == 'ok'


# -- bindings


def add_subscription(database: Database, *names: str) -> str:
    """Rows of a subscription, and nothing else."""
    subscription = str(uuid.uuid4())
    with database.transaction() as connection:
        connection.execute(
            insert(Subscription.__table__).values(
                uuid=subscription, name='n', service='http', owner_tenant_uuid='t', created_at=database.now(connection)
            )
        )
        for position, name in enumerate(names):
            connection.execute(
                insert(SubscriptionEvent.__table__).values(
                    uuid=str(uuid.uuid4()), subscription_uuid=subscription, event_name=name, position=position
                )
            )
    return subscription


def remove_subscription(database: Database, subscription: str) -> None:
    with database.transaction() as connection:
        connection.execute(
            SubscriptionEvent.__table__.delete().where(SubscriptionEvent.__table__.c.subscription_uuid == subscription)
        )
        connection.execute(Subscription.__table__.delete().where(Subscription.__table__.c.uuid == subscription))


def created(*names: str) -> Any:
    return SimpleNamespace(kind='created', names=names, remote=False)


DELETED = SimpleNamespace(kind='deleted', names=(), remote=False)


@pytest.fixture
def bindings(site: Site, database: Database) -> Iterator[Bindings]:
    site.names = set()
    consumer = site.consumer(database, start=False)
    bindings = Bindings(database, consumer)
    consumer.start()
    bindings.start()
    until(lambda: consumer.receives)
    yield bindings
    bindings.stop()


def test_a_new_name_is_bound_when_the_writer_is_answered(site: Site, database: Database, bindings: Bindings) -> None:
    for number in range(20):
        name = f'event_{number}'
        add_subscription(database, name)
        bindings.on_change(created(name))
        site.publish([number], name=name)
    until(lambda: site.intake.numbers == list(range(20)))


def test_a_name_that_nobody_wants_any_more_is_unbound(site: Site, database: Database, bindings: Bindings) -> None:
    first, second = add_subscription(database, 'one', 'both'), add_subscription(database, 'two', 'both')
    bindings.on_change(created('one', 'two', 'both'))
    until(lambda: site.bound() == {'one', 'two', 'both'})
    remove_subscription(database, first)
    bindings.on_change(DELETED)
    until(lambda: site.bound() == {'two', 'both'})
    remove_subscription(database, second)
    bindings.on_change(DELETED)
    until(lambda: site.bound() == set())

    with database.reading() as connection:
        assert binding_rows.names_to_bind(connection) == set()


def test_bindings_are_healed(site: Site, database: Database, bindings: Bindings) -> None:
    add_subscription(database, 'one')
    bindings.on_change(created('one'))
    until(lambda: site.bound() == {'one'})
    channel = site.client._open()
    channel.queue_unbind(
        site.config.queue.name, site.config.exchange_name, '', arguments={'name': 'one', 'x-match': 'all'}
    )

    assert site.bound() == set()

    bindings.bind_all()
    assert site.bound() == {'one'}


def test_a_deleted_queue_gets_all_bindings_back(site: Site, database: Database, bindings: Bindings) -> None:
    add_subscription(database, 'one', 'two')
    bindings.on_change(created('one', 'two'))
    site.client.delete_queue(site.config.queue.name)
    until(lambda: site.depth() is not None and site.bound() == {'one', 'two'})


def test_binding_waits_for_whoever_removes(site: Site, database: Database, bindings: Bindings) -> None:
    add_subscription(database, 'one')
    with database.own_connection(autocommit=True) as other:
        other.exec_driver_sql(f'SELECT pg_advisory_lock({LOCK})')
        started = time.monotonic()

        assert bindings.ensure(['one']) is True  # bound without the lock: a frozen daemon may hold it for long
        assert 0.4 < time.monotonic() - started < 2
        assert site.bound() == {'one'}


def test_nobody_waits_long_for_an_absent_broker(site: Site, database: Database, bindings: Bindings) -> None:
    consumer = site.consumers[0]
    consumer.stop()
    add_subscription(database, 'one')
    started = time.monotonic()

    assert bindings.ensure(['one']) is False
    assert time.monotonic() - started < 0.5


def test_handlers_of_another_daemon_keep_their_names(site: Site, database: Database, bindings: Bindings) -> None:
    other = site.consumer(database, start=False)
    its_bindings = Bindings(database, other)
    other.subscribe('ping', lambda body: None)
    other.start()
    its_bindings.start()
    until(lambda: site.bound() == {'ping'})

    assert bindings.sweep() == 0
    assert site.bound() == {'ping'}
    its_bindings.stop()


def test_a_handler_that_is_added_later_hears_events_at_once(site: Site, bindings: Bindings) -> None:
    heard: list[int] = []
    consumer = site.consumers[0]

    def handler(body: dict[str, Any]) -> None:
        heard.append(body['data']['number'])

    consumer.subscribe('ping', handler)
    site.publish([1], name='ping')
    until(lambda: heard == [1])

    assert consumer.unsubscribe('ping', handler)


def test_many_writers_at_once(site: Site, database: Database, bindings: Bindings) -> None:
    def write(number: int) -> None:
        for step in range(10):
            name = f'event_{number}_{step}'
            subscription = add_subscription(database, name)
            bindings.on_change(created(name))
            if step % 2:
                remove_subscription(database, subscription)
                bindings.on_change(DELETED)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    kept = {f'event_{number}_{step}' for number in range(4) for step in range(0, 10, 2)}
    until(lambda: site.bound() == kept)


# -- publishing


def test_a_publisher_connects_again_when_its_connection_was_cut(site: Site) -> None:
    site.consumer()
    event = SimpleNamespace(name='wanted', routing_key='a.b', content={'number': 1}, headers={'tenant_uuid': 't'})
    with BusPublisher('wazo', site.config) as publisher:
        publisher.publish(event)
        until(lambda: site.intake.numbers == [1])
        site.cut_connections()
        time.sleep(0.2)
        until(lambda: site.bound() == {'wanted'})
        publisher.publish(event, payload={'number': 2})
        until(lambda: site.intake.numbers[-1] == 2)

    received = site.intake.events[0]
    assert received.headers['origin_uuid'] == 'wazo'
    assert received.headers['required_access'] == 'event.wanted'
    assert received.body == {**received.headers, 'data': {'number': 1}}


def test_a_publisher_without_broker_says_so(site: Site) -> None:
    from kombu.exceptions import OperationalError

    site.config.port = 1
    publisher = BusPublisher('wazo', site.config)
    with pytest.raises(OperationalError):
        publisher.publish(SimpleNamespace(name='wanted', content={}))


def write_outbox(database: Database, life: str, numbers: Any) -> None:
    with database.transaction() as connection:
        for number in numbers:
            headers = {'name': 'wanted', 'tenant_uuid': 't', 'user_uuid:*': True}
            outbox.write(connection, life, 'wanted', 'a.b', headers, {**headers, 'data': {'number': number}})


def test_the_outbox_is_published_in_order_and_emptied(site: Site, database: Database) -> None:
    site.consumer()
    sender = OutboxSender(database, 'life', ConfirmedChannel(site.config))
    sender.start()
    write_outbox(database, 'life', range(250))
    sender.wake()
    until(lambda: len(site.intake.events) == 250)

    assert site.intake.numbers == list(range(250))
    assert site.intake.events[0].headers['user_uuid:*'] is True
    until(lambda: _left(database, 'life') == 0)
    sender.stop()


def test_the_outbox_of_an_ended_life_is_published_by_who_admits(site: Site, database: Database) -> None:
    site.consumer()
    write_outbox(database, 'an ended life', range(3))
    admits = threading.Event()
    sender = OutboxSender(database, 'life', ConfirmedChannel(site.config), admits.is_set)
    sender.start()
    sender.wake()
    time.sleep(0.3)

    assert site.intake.events == []

    admits.set()
    sender.wake()
    until(lambda: site.intake.numbers == [0, 1, 2])
    sender.stop()


def test_the_outbox_waits_for_an_absent_broker(site: Site, database: Database) -> None:
    site.consumer()
    port, site.config.port = site.config.port, 1
    channel = ConfirmedChannel(site.config)
    sender = OutboxSender(database, 'life', channel)
    sender.start()
    write_outbox(database, 'life', [1])
    sender.wake()
    time.sleep(0.3)

    assert _left(database, 'life') == 1

    channel._address = broker.BrokerAddress.from_config(SimpleNamespace(**{**vars(site.config), 'port': port}))
    sender.wake()
    until(lambda: site.intake.numbers == [1])
    sender.stop()


def _left(database: Database, life: str) -> int:
    with database.reading() as connection:
        return len(outbox.take(connection, life, 1000))


# -- the command


def init_amqp(site: Site, *options: str) -> subprocess.CompletedProcess[str]:
    command = [str(COMMANDS / 'wazo-webhookd-init-amqp'), '--host', site.rabbit.host, '--port', str(site.rabbit.port)]
    command += ['--vhost', site.vhost, *options]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_init_amqp_declares_both_exchanges_and_binds_them(site: Site) -> None:
    upstream = f'xivo-{uuid.uuid4().hex[:8]}'
    site.consumer()
    for _ in range(2):
        done = init_amqp(
            site, '--upstream_exchange_name', upstream, '--exchange_name', site.config.exchange_name,
            '--username', 'guest', '--password', 'guest',
        )  # fmt: skip
        assert (done.returncode, done.stdout, done.stderr) == (0, '', '')
    with_upstream = Bus(site.rabbit.host, site.rabbit.port, site.vhost, exchange=upstream)
    with_upstream.publish('wanted', {'number': 1})
    with_upstream.close()
    until(lambda: site.intake.numbers == [1])
    site.client._open().exchange_delete(upstream)


def test_init_amqp_says_what_is_wrong(site: Site) -> None:
    done = init_amqp(site, '--port', '1')

    assert done.returncode == 1
    assert 'RabbitMQ at' in done.stderr
    assert 'Traceback' not in done.stderr


def test_a_recreated_queue_keeps_what_waits(
    site: Site, database: Database, bindings: Bindings, postgres: Postgres, tmp_path: Any
) -> None:
    names = ['one', 'two']
    add_subscription(database, *names)
    bindings.on_change(created(*names))
    until(lambda: site.bound() == set(names))
    bindings.stop()
    site.publish(range(1000, 1003), name='one')
    until(lambda: len(site.intake.events) == 3)
    config = tmp_path / 'config.yml'
    config.write_text(
        json.dumps(
            {
                'extra_config_files': str(tmp_path / 'conf.d'),
                'db_uri': database.engine.url.render_as_string(hide_password=False),
                'bus': {
                    'host': site.rabbit.host,
                    'port': site.rabbit.port,
                    'vhost': site.vhost,
                    'exchange_name': site.config.exchange_name,
                    'queue': {'name': site.config.queue.name, 'max_age': 700, 'max_length': 2000},
                },
            }
        )
    )
    (tmp_path / 'conf.d').mkdir()

    refused = init_amqp(site, '-c', str(config), '--recreate-queue')
    assert refused.returncode == 1
    assert 'stop it first' in refused.stderr

    empty = postgres.create_database()
    no_tables = tmp_path / 'no-tables.yml'
    no_tables.write_text(json.dumps(json.loads(config.read_text()) | {'db_uri': postgres.uri(empty)}))
    refused = init_amqp(site, '-c', str(no_tables), '--recreate-queue')
    postgres.drop_database(empty)
    assert refused.returncode == 1
    assert 'wazo-webhookd-init-db' in refused.stderr
    assert 'Traceback' not in refused.stderr

    site.consumers[0].stop()
    for number in range(500):
        site.publish([number], name=names[number % 2])
    site.client.publish_raw('{"data": {"number": 500}}', {'name': 'one', 'deep': {'a': [1, True]}}, message_id='m')
    publishing = threading.Event()

    def go_on_publishing() -> None:
        other = Bus(site.rabbit.host, site.rabbit.port, site.vhost, exchange=site.config.exchange_name)
        for number in range(501, 1000):
            other.publish('two', {'number': number})
        other.close()
        publishing.set()

    threading.Thread(target=go_on_publishing).start()
    done = init_amqp(site, '-c', str(config), '--recreate-queue')
    assert done.returncode == 0, done.stderr
    assert publishing.wait(30)

    assert site.bound() == set(names)
    site.intake.events.clear()
    site.config.queue.max_age, site.config.queue.max_length = 700, 2000
    consumer = site.consumer()
    until(lambda: set(site.intake.numbers) == set(range(1000)))
    assert not consumer._warned
    assert site.intake.numbers[:501] == list(range(501))
    assert len(site.intake.numbers) < 1010  # the moment of a switch may double an event
    assert site.intake.events[500].headers['deep'] == {'a': [1, True]}
    for name in ('moving', 'meanwhile'):
        assert site.client.depth(f'{site.config.queue.name}.{name}') is None
