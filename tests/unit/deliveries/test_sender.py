"""Messages leave in order; what certainly did not leave is handed back."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from celery import Celery

from wazo_webhookd.deliveries.clock import DatabaseClock
from wazo_webhookd.deliveries.message import Parcel
from wazo_webhookd.deliveries.sender import Sender

CARD = SimpleNamespace(service='http', endpoint='t|https://host:443', document=b'{}')
ROUTE = SimpleNamespace(task_name='tasks.deliver', ep_name='module:Service', contract='run')


def parcel(number: int, clock: DatabaseClock, age: float = 0.0, **more: Any) -> Parcel:
    return Parcel(f'd{number}', 'sub', 'event', CARD, '{}', 1, 1, 3, clock.now() - age, **more)


class Channel:
    def __init__(self, broker: Broker) -> None:
        self.broker = broker

    def prepare_message(self, body: bytes, *more: Any) -> Any:
        return json.loads(body)[0][0]

    def basic_publish(self, message: str, exchange: str, routing_key: str) -> None:
        if self.broker.breaks_at == message:
            self.broker.breaks_at = None
            raise ConnectionResetError('gone')
        self.broker.messages.append((routing_key, message))


class Broker:
    """Stands for the Celery application and its connections."""

    def __init__(self) -> None:
        self.messages: list[tuple[str, str]] = []
        self.up = True
        self.breaks_at: str | None = None
        self.connections = 0
        self.conf = SimpleNamespace(task_default_queue='queue', task_queues=())

    def connection_for_write(self, **options: Any) -> Any:
        return SimpleNamespace(
            hostname='mq.example.com',
            host='mq.example.com:5672',
            connect=self._connect,
            default_channel=Channel(self),
            connection=None,
            heartbeat_check=lambda: None,
            collect=lambda **options: None,
        )

    def _connect(self) -> None:
        if not self.up:
            raise ConnectionRefusedError('down')
        self.connections += 1

    @property
    def uuids(self) -> list[str]:
        return [uuid for _, uuid in self.messages]


def until(true: Callable[[], Any], seconds: float = 5.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, 'it did not happen in time'
        threading.Event().wait(0.005)


@pytest.fixture
def broker() -> Broker:
    return Broker()


@pytest.fixture
def clock() -> DatabaseClock:
    return DatabaseClock()


@pytest.fixture
def unsent() -> list[str]:
    return []


@pytest.fixture
def sender(
    broker: Broker, clock: DatabaseClock, unsent: list[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Sender]:
    monkeypatch.setattr('wazo_webhookd.deliveries.sender.WAITS', (0.02,))
    sender = Sender(broker, lambda name: ROUTE, clock, 'queue.suspects')
    sender.on_unsent = lambda parcels: unsent.extend(parcel.uuid for parcel in parcels)
    yield sender
    sender.stop()


def test_messages_leave_in_order(sender: Sender, broker: Broker, clock: DatabaseClock) -> None:
    sender.start()
    until(lambda: sender.ready)
    for number in range(0, 100, 10):
        sender.send([parcel(n, clock) for n in range(number, number + 10)])
    until(lambda: len(broker.messages) == 100)

    assert broker.messages == [('queue', f'd{number}') for number in range(100)]


def test_suspects_have_a_queue_of_their_own(sender: Sender, broker: Broker, clock: DatabaseClock) -> None:
    sender.start()
    until(lambda: sender.ready)
    sender.send([parcel(1, clock, suspect=True)])
    until(lambda: broker.messages)

    assert broker.messages == [('queue.suspects', 'd1')]


def test_without_a_broker_everything_is_handed_back_at_once(
    sender: Sender, broker: Broker, clock: DatabaseClock, unsent: list[str]
) -> None:
    broker.up = False
    sender.send([parcel(0, clock)])
    sender.start()
    sender.send([parcel(1, clock)])

    assert unsent == ['d0', 'd1']
    assert not sender.ready


def test_it_heals(sender: Sender, broker: Broker, clock: DatabaseClock) -> None:
    broker.up = False
    changes: list[bool] = []
    sender.on_change = lambda: changes.append(sender.ready)
    sender.start()
    time.sleep(0.05)
    broker.up = True
    until(lambda: sender.ready)
    sender.send([parcel(1, clock)])
    until(lambda: broker.messages)

    assert changes == [True]


def test_a_connection_lost_in_the_middle_hands_back_what_followed(
    sender: Sender, broker: Broker, clock: DatabaseClock, unsent: list[str]
) -> None:
    """The one that was being written is in doubt: its row stays out and becomes an orphan if it is lost."""
    sender.start()
    until(lambda: sender.ready)
    broker.breaks_at = 'd2'
    sender.send([parcel(number, clock) for number in range(5)])
    until(lambda: unsent)

    assert broker.uuids == ['d0', 'd1']
    assert unsent == ['d3', 'd4']
    until(lambda: sender.ready and broker.connections == 2)


def test_what_lay_for_too_long_is_not_sent_any_more(
    sender: Sender, broker: Broker, clock: DatabaseClock, unsent: list[str]
) -> None:
    sender.start()
    until(lambda: sender.ready)
    sender.send([parcel(1, clock, age=31.0), parcel(2, clock)])
    until(lambda: broker.messages)

    assert broker.uuids == ['d2']
    assert unsent == ['d1']


def test_stopping_sends_what_there_is(sender: Sender, broker: Broker, clock: DatabaseClock, unsent: list[str]) -> None:
    sender.start()
    until(lambda: sender.ready)
    sender.send([parcel(number, clock) for number in range(50)])
    sender.stop()
    sender.send([parcel(50, clock)])

    assert len(broker.messages) == 50
    assert unsent == ['d50']


def test_it_speaks_to_celery_s_transport_in_memory(clock: DatabaseClock) -> None:
    app = Celery(broker='memory://', set_as_current=False)
    app.conf.task_default_queue = 'sender-test'
    sender = Sender(app, lambda name: ROUTE, clock, '')
    sender.start()
    until(lambda: sender.ready)
    sender.send([parcel(1, clock), parcel(2, clock, suspect=True)])
    until(lambda: sender.sent == 2)
    sender.stop()

    with app.connection_for_read() as connection:
        queue = connection.SimpleQueue('sender-test')
        first, second = queue.get(timeout=2), queue.get(timeout=2)
        assert [first.headers['id'], second.headers['id']] == ['d1', 'd2']
        assert first.payload[0] == ['d1', 'module:Service', None, {}, {}]
        queue.close()
