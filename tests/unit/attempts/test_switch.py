from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import amqp
import pytest

from wazo_webhookd.attempts.loop import Loop
from wazo_webhookd.attempts.messages import BrokerMessage, acknowledge_all
from wazo_webhookd.attempts.switch import Switch


class TaskConsumer:
    def __init__(self) -> None:
        self.calls: list[str] = []

    def consume(self) -> None:
        self.calls.append('consume')

    def cancel(self) -> None:
        self.calls.append('cancel')


class Qos:
    def __init__(self, value: int) -> None:
        self.value = self.prev = value
        self.calls: list[int] = []

    def set(self, value: int) -> None:
        self.calls.append(value)


@pytest.fixture
def loop() -> Any:
    loop = Loop(acknowledge_all)
    yield loop
    loop.close()


def test_worker_that_should_not_take_messages_cancels_its_consumer(loop: Loop) -> None:
    switch, consumer = Switch(loop, 8), TaskConsumer()
    switch.connected(consumer, Qos(8))  # Celery consumes at once
    loop.run()
    off = (list(consumer.calls), switch.consuming)
    switch.set_on(True)
    loop.run()
    switch.set_on(True)
    loop.run()

    assert off == (['cancel'], False)
    assert consumer.calls == ['cancel', 'consume']
    assert switch.consuming


def test_worker_that_is_on_stays_on_after_a_reconnection(loop: Loop) -> None:
    switch = Switch(loop, 8)
    switch.set_on(True)
    switch.connected(TaskConsumer(), Qos(8))
    loop.run()
    switch.disconnected()
    between = switch.consuming
    second = TaskConsumer()
    switch.connected(second, Qos(8))
    loop.run()

    assert not between
    assert second.calls == []
    assert switch.consuming


def test_prefetch_follows_the_hands(loop: Loop) -> None:
    switch, qos = Switch(loop, 8), Qos(8)
    switch.set_on(True)
    switch.connected(TaskConsumer(), qos)
    loop.run()
    switch.set_hands(7)
    loop.run()
    switch.set_hands(0)  # would mean: as many as there are
    loop.run()

    assert qos.calls == [7]
    assert (qos.value, qos.prev) == (7, 7)


def test_calls_run_on_the_loops_thread_in_order_and_survive_each_other(
    loop: Loop, caplog: pytest.LogCaptureFixture
) -> None:
    ran: list[int] = []
    loop.call(lambda: ran.append(1))
    loop.call(lambda: 1 // 0)  # type: ignore[arg-type, return-value]
    loop.call(lambda: ran.append(2))
    waiting = not loop.empty
    loop.run()
    loop.run()

    assert waiting
    assert ran == [1, 2]
    assert loop.empty
    assert 'on the thread of the broker' in caplog.text


class KombuMessage:
    def __init__(self, error: Exception | None = None) -> None:
        self.calls: list[str] = []
        self.error = error
        self.channel = None  # of no kind that is known

    def _say(self, word: str) -> None:
        if self.error is not None:
            raise self.error
        self.calls.append(word)

    def ack(self) -> None:
        self._say('ack')

    def requeue(self) -> None:
        self._say('requeue')


def test_message_is_settled_on_the_loops_thread(loop: Loop) -> None:
    message = KombuMessage()
    BrokerMessage(message, loop).acknowledge()
    BrokerMessage(message, loop).give_back()
    before = list(message.calls)
    loop.run()

    assert (before, message.calls) == ([], ['ack', 'requeue'])


class RabbitChannel(amqp.Channel):  # type: ignore[misc]  # the library has no types
    def __init__(self, number: int, write: Callable[[bytes], None]) -> None:
        self.channel_id = number
        self.connection = SimpleNamespace(transport=SimpleNamespace(write=write))


def rabbit_message(channel: RabbitChannel, tag: int, acknowledged: bool = False) -> Any:
    return SimpleNamespace(channel=channel, delivery_tag=tag, acknowledged=acknowledged, _state='RECEIVED')


def test_messages_of_a_rabbitmq_channel_are_acknowledged_with_one_write() -> None:
    written: list[bytes] = []
    one, two = RabbitChannel(1, written.append), RabbitChannel(2, written.append)
    messages = [
        rabbit_message(one, 7),
        rabbit_message(two, 7),
        rabbit_message(one, 2**40),
        rabbit_message(one, 9, True),
    ]
    acknowledge_all(messages)

    assert [len(frames) for frames in written] == [42, 21]
    assert written[0][:21] == bytes.fromhex('01 0001 0000000d 003c 0050 0000000000000007 00 ce')
    assert written[0][21:] == bytes.fromhex('01 0001 0000000d 003c 0050 0000010000000000 00 ce')
    assert written[1] == bytes.fromhex('01 0002 0000000d 003c 0050 0000000000000007 00 ce')
    assert [message._state for message in messages] == ['ACK', 'ACK', 'ACK', 'RECEIVED']


def test_acknowledging_on_a_lost_connection_raises_nothing() -> None:
    def write(_: bytes) -> None:
        raise OSError('gone')

    acknowledge_all([rabbit_message(RabbitChannel(1, write), 1)])


def test_message_of_a_lost_connection_raises_nothing() -> None:
    BrokerMessage(KombuMessage(OSError('gone')), None).acknowledge()
    BrokerMessage(KombuMessage(OSError('gone')), None).give_back()


def test_whatever_may_change_what_it_takes_is_told(loop: Loop) -> None:
    seen: list[bool] = []
    switch = Switch(loop, 8)
    switch.on_change = lambda: seen.append(switch.consuming)
    switch.connected(TaskConsumer(), Qos(8))
    loop.run()
    switch.set_on(True)
    loop.run()
    switch.disconnected()

    assert seen == [False, False, False, True, False]
