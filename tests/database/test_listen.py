"""Notifications: heard, and heard again after the connection was lost."""

from __future__ import annotations

import queue
import threading
import time

import pytest
from sqlalchemy import text

from wazo_webhookd.database.listen import Listener
from wazo_webhookd.database.session import Database
from wazo_webhookd.exceptions import DatabaseUnavailable


class Ear:
    def __init__(self, database, *channels: str, fails: int = 0) -> None:
        self.heard: queue.Queue = queue.Queue()
        self.connected = threading.Semaphore(0)
        self.fails = fails
        self.listener = Listener(database, channels or ('one',), self.on_notify, self.on_reconnect)

    def on_notify(self, channel: str, payload: str) -> None:
        self.heard.put((channel, payload))
        if payload == 'bad':
            raise KeyError

    def on_reconnect(self) -> None:
        if self.fails:
            self.fails -= 1
            raise DatabaseUnavailable
        self.connected.release()


@pytest.fixture
def ear(postgresql):
    ears = []

    def listen(*channels: str, **options) -> Ear:
        ears.append(Ear(postgresql, *channels, **options))
        ears[-1].listener.start()
        assert ears[-1].connected.acquire(timeout=10)
        return ears[-1]

    yield listen
    for one in ears:
        one.listener.stop()


def notify(database, channel: str, payload: str) -> None:
    with database.transaction() as connection:
        connection.execute(text('SELECT pg_notify(:channel, :payload)'), {'channel': channel, 'payload': payload})


def test_notifications_are_heard_in_order(postgresql, ear):
    one = ear('one', 'two')
    for number in range(3):
        notify(postgresql, 'one', f'{number}')
    notify(postgresql, 'two', 'ä')

    assert [one.heard.get(timeout=5) for _ in range(4)] == [('one', '0'), ('one', '1'), ('one', '2'), ('two', 'ä')]


def test_other_channels_are_not_heard(postgresql, ear):
    one = ear('one')
    notify(postgresql, 'two', 'x')
    notify(postgresql, 'one', 'y')

    assert one.heard.get(timeout=5) == ('one', 'y')


def test_notification_of_a_transaction_rolled_back_is_not_heard(postgresql, ear):
    one = ear()
    with pytest.raises(KeyError), postgresql.transaction() as connection:
        connection.execute(text("SELECT pg_notify('one', 'never')"))
        raise KeyError
    notify(postgresql, 'one', 'y')

    assert one.heard.get(timeout=5) == ('one', 'y')


def test_lost_connection_is_opened_again_and_told(postgresql, ear, caplog):
    one = ear()
    for number in range(2):
        with postgresql.own_connection(autocommit=True) as connection:
            connection.exec_driver_sql(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%%'"
                ' AND datname = current_database()'
            )
        assert one.connected.acquire(timeout=10)
        notify(postgresql, 'one', f'{number}')
        assert one.heard.get(timeout=5) == ('one', f'{number}')
    assert [line.getMessage() for line in caplog.records if line.levelname == 'ERROR'] == []  # nobody has to act


def test_handler_that_fails_does_not_end_the_listening(postgresql, ear):
    one = ear()
    notify(postgresql, 'one', 'bad')
    notify(postgresql, 'one', 'good')

    assert [one.heard.get(timeout=5)[1] for _ in range(2)] == ['bad', 'good']


def test_database_away_while_reading_again_is_another_reconnect(ear):
    assert ear(fails=2).fails == 0


def test_stops_promptly(ear):
    one = ear()
    assert one.listener.listening
    start = time.monotonic()
    one.listener.stop()
    one.listener.stop()

    assert time.monotonic() - start < 1
    assert not one.listener.listening


def test_stops_promptly_while_the_database_is_away():
    one = Ear(Database.from_uri('postgresql://nobody@127.0.0.1:1/none'))
    one.listener.start()
    time.sleep(0.3)
    assert not one.listener.listening
    start = time.monotonic()
    one.listener.stop()

    assert time.monotonic() - start < 1


def test_without_notifications_there_is_only_the_first_reading(tmp_path):
    one = Ear(Database.from_uri(f'sqlite:///{tmp_path / "x.sqlite"}'))
    one.listener.start()

    assert one.connected.acquire(blocking=False)
    assert one.listener.listening
    one.listener.stop()
