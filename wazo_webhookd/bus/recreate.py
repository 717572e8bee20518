"""Gives the bus queue the configured limits and keeps what waits in it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import amqp

from ..exceptions import WebhookdError
from . import broker
from .broker import QueueSettings
from .confirmations import Confirmations

BATCH: Final = 200


class CannotRecreate(WebhookdError):
    """The queue stays as it is."""


def recreate(connection: Any, queue: QueueSettings, exchange: str, names: Iterable[str]) -> int:
    """Declare the queue anew, bound to these event names. Returns how many events were moved into it, in order.

    The way there is two queues: ``<name>.moving`` takes what waits, ``<name>.meanwhile`` what comes in. Nothing
    is removed before RabbitMQ confirmed its copy, so stopping at any moment loses nothing and the next run goes on. An
    event that arrives in the very moment of a switch may be there twice. Raises CannotRecreate before anything
    is changed.
    """
    wanted = sorted(set(names))
    moving, meanwhile = f'{queue.name}.moving', f'{queue.name}.meanwhile'
    _check(connection, queue)
    for name in (moving, meanwhile):
        _durable(connection, name, {})
    _bind(connection, meanwhile, exchange, wanted)
    if broker.queue_depth(connection, queue.name) is not None:
        _unbind(connection, queue.name, exchange, wanted)
        _move(connection, queue.name, moving)
        _delete(connection, queue.name)
    broker.declare_queue(connection, queue)
    moved = _move(connection, moving, queue.name) + _move(connection, meanwhile, queue.name)
    _bind(connection, queue.name, exchange, wanted)
    _unbind(connection, meanwhile, exchange, wanted)
    moved += _move(connection, meanwhile, queue.name)
    _delete(connection, moving)
    _delete(connection, meanwhile)
    return moved


def _check(connection: Any, queue: QueueSettings) -> None:
    channel = broker.open_channel(connection)
    try:
        there = channel.queue_declare(queue.name, passive=True)
    except amqp.NotFound:
        return
    finally:
        channel.close()
    if there.consumer_count:
        raise CannotRecreate(f'a daemon receives from {queue.name}: stop it first; events wait in the queue meanwhile')
    if there.message_count > queue.max_length:
        raise CannotRecreate(
            f'{there.message_count} events wait in {queue.name}, more than the new limit of {queue.max_length}'
        )


def _durable(connection: Any, name: str, arguments: dict[str, Any]) -> None:
    channel = broker.open_channel(connection)
    channel.queue_declare(name, durable=True, exclusive=False, auto_delete=False, arguments=arguments)
    channel.close()


def _bind(connection: Any, queue: str, exchange: str, names: list[str]) -> None:
    channel = broker.open_channel(connection)
    for name in names:
        channel.queue_bind(queue, exchange, '', arguments=broker.binding_arguments(name))
    channel.close()


def _unbind(connection: Any, queue: str, exchange: str, names: list[str]) -> None:
    channel = broker.open_channel(connection)
    for name in names:
        channel.queue_unbind(queue, exchange, '', arguments=broker.binding_arguments(name))
    channel.close()


def _move(connection: Any, source: str, target: str) -> int:
    """Until nothing is left in ``source``; its messages are acknowledged once their copies are confirmed."""
    reading = broker.open_channel(connection)
    writing = Confirmations(broker.open_channel(connection))
    moved = 0
    while True:
        last = None
        for _ in range(BATCH):
            message = reading.basic_get(source)
            if message is None:
                break
            copy = broker.message(message.body or b'', **message.properties)
            writing.publish(copy, '', target)
            last = message.delivery_tag
            moved += 1
        if last is None:
            break
        writing.wait()
        reading.basic_ack(last, multiple=True)
    reading.close()
    writing.close()
    return moved


def _delete(connection: Any, name: str) -> None:
    channel = broker.open_channel(connection)
    try:
        channel.queue_delete(name, if_empty=True)
    finally:
        channel.close()
