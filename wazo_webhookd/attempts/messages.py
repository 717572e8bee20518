"""A message of kombu as the desk sees it: acknowledged or given back on the right thread, without a fuss."""

from __future__ import annotations

import logging
import struct
from collections.abc import Iterable
from typing import Any, Final

import amqp

from .loop import Loop

logger = logging.getLogger(__name__)


_ACK: Final = struct.Struct('>BHIHHQBB')
"""A method frame: type 1, channel, size 13, class 60, method 80 (basic.ack), delivery tag, not multiple, frame end."""


class BrokerMessage:
    """``loop`` None: the transport lets any thread acknowledge (kombu's in-memory one)."""

    __slots__ = ('_loop', '_message')

    def __init__(self, message: Any, loop: Loop | None) -> None:
        self._message = message
        self._loop = loop

    def acknowledge(self) -> None:
        if self._loop is None:
            _acknowledge(self._message)
        else:
            self._loop.acknowledge(self._message)

    def give_back(self) -> None:
        self._call(self._give_back)

    def _call(self, what: Any) -> None:
        if self._loop is None:
            what()
        else:
            self._loop.call(what)

    def _give_back(self) -> None:
        try:
            self._message.requeue()
        except Exception as error:  # likewise
            logger.debug('cannot give back: %s', error)


def acknowledge_all(messages: Iterable[Any]) -> None:
    """Acknowledge messages of kombu, those of one RabbitMQ channel with one write. On the broker's thread."""
    frames: dict[Any, list[bytes]] = {}
    for message in messages:
        channel = message.channel
        if not isinstance(channel, amqp.Channel):
            _acknowledge(message)
        elif not message.acknowledged:
            message._state = 'ACK'
            frame = _ACK.pack(1, channel.channel_id or 0, 13, 60, 80, message.delivery_tag, 0, 0xCE)
            frames.setdefault(channel, []).append(frame)
    for channel, its_frames in frames.items():
        try:
            channel.connection.transport.write(b''.join(its_frames))
        except Exception as error:  # it is gone: the broker hands them out again, and they will be dropped then
            logger.debug('cannot acknowledge %d messages: %s', len(its_frames), error)


def _acknowledge(message: Any) -> None:
    try:
        message.ack()
    except Exception as error:  # likewise
        logger.debug('cannot acknowledge: %s', error)
