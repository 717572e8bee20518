"""One connection to RabbitMQ, and how our exchange and queue are declared on it."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import amqp
from amqp.method_framing import frame_handler as amqp_frame_handler
from amqp.serialization import dumps

from .ahead import ReadsAhead
from .message import UNREADABLE

HEARTBEAT_SECONDS: Final = 15
CONNECT_SECONDS: Final = 5
SILENCE_SECONDS: Final = 15
"""How long the broker may take over an answer, or over reading what we write."""

TROUBLE: Final = (OSError, amqp.exceptions.AMQPError, struct.error)
"""What using a connection raises when the broker is away or refuses something."""

_NOT_FOUND: Final = 404
_PRECONDITION_FAILED: Final = 406

# Class id, weight and body size of a content header; its properties follow (AMQP 0-9-1, 4.2.6.1).
_CONTENT_HEADER_BYTES: Final = 12
_HEADERS_FLAG: Final = 1 << 13


@dataclass(frozen=True, slots=True)
class BrokerAddress:
    """Where a RabbitMQ is, and who we are there."""

    host: str = 'localhost'
    port: int = 5672
    username: str = 'guest'
    password: str = field(default='guest', repr=False)
    virtual_host: str = '/'

    @classmethod
    def from_config(cls, bus: Any) -> BrokerAddress:
        """``bus``: the section of that name, as an object or (from guests) as a mapping."""
        return cls(
            host=str(setting(bus, 'host', 'localhost')),
            port=int(setting(bus, 'port', 5672)),
            username=str(setting(bus, 'username', 'guest')),
            password=str(setting(bus, 'password', 'guest')),
            virtual_host=str(setting(bus, 'vhost', '/')),
        )

    def __str__(self) -> str:
        return f'{self.host}:{self.port}'


def setting(section: Any, name: str, default: Any) -> Any:
    """One setting of a section that is an object or a mapping."""
    value = section.get(name) if isinstance(section, Mapping) else getattr(section, name, None)
    return default if value is None else value


def connect(address: BrokerAddress, name: str) -> Any:
    """An open ``amqp.Connection``, called ``name`` in RabbitMQ's lists. Raises one of TROUBLE."""
    host = f'[{address.host}]' if ':' in address.host else address.host
    connection = ReadsAhead(
        host=f'{host}:{address.port}',
        userid=address.username,
        password=address.password,
        virtual_host=address.virtual_host,
        heartbeat=HEARTBEAT_SECONDS,
        connect_timeout=CONNECT_SECONDS,
        read_timeout=SILENCE_SECONDS,
        write_timeout=SILENCE_SECONDS,
        frame_handler=_forgiving_frame_handler,
        client_properties={'product': 'wazo-webhookd', 'connection_name': f'{name} (pid {os.getpid()})'},
    )
    connection.connect()
    return connection


def open_channel(connection: Any) -> Any:
    channel = connection.channel()
    channel.auto_decode = False
    return channel


def close(connection: Any) -> None:
    """Close what may be broken already."""
    if connection is None:
        return
    try:
        connection.close()
    except (*TROUBLE, AttributeError):
        connection.collect()


def _forgiving_frame_handler(connection: Any, callback: Callable[..., Any]) -> Callable[[Any], Any]:
    """The library's reader of frames, except that unreadable properties cost one message and not the connection.

    Otherwise such a message (a date in the year 30000 suffices) would come back after every reconnection, for ever.
    """
    inner = amqp_frame_handler(connection, callback)

    def on_frame(frame: tuple[int, int, bytes]) -> Any:
        kind, channel, payload = frame
        if kind != 2:
            return inner(frame)
        try:
            return inner(frame)
        except (ValueError, OverflowError, struct.error, IndexError, RecursionError, TypeError, amqp.FrameSyntaxError):
            properties = struct.pack('>H', _HEADERS_FLAG) + dumps('F', [{UNREADABLE: True}])
            return inner((kind, channel, bytes(payload[:_CONTENT_HEADER_BYTES]) + properties))

    return on_frame


@dataclass(frozen=True, slots=True)
class QueueSettings:
    """The queue in which events wait for the daemon. Seconds, messages."""

    name: str
    max_age: int
    max_length: int

    @property
    def dropped_name(self) -> str:
        """The small queue that receives what the caps drop, so that it can be counted."""
        return f'{self.name}.dropped'

    def arguments(self) -> dict[str, Any]:
        return {
            'x-max-length': self.max_length,
            'x-message-ttl': self.max_age * 1000,
            'x-overflow': 'drop-head',
            'x-dead-letter-exchange': '',
            'x-dead-letter-routing-key': self.dropped_name,
        }

    @staticmethod
    def dropped_arguments() -> dict[str, Any]:
        return {'x-max-length': 100_000, 'x-max-length-bytes': 32 * 1024 * 1024, 'x-overflow': 'drop-head'}


def declare_exchange(connection: Any, name: str, kind: str) -> None:
    """Declare the exchange, or take it as it is when somebody declared it otherwise."""
    if not _declared(connection, lambda channel: channel.exchange_declare(name, kind, durable=True, auto_delete=False)):
        channel = open_channel(connection)
        channel.exchange_declare(name, kind, passive=True)
        channel.close()


def declare_queue(connection: Any, queue: QueueSettings) -> bool:
    """Declare the durable queue. False: it exists with other arguments, and is used as it is."""
    as_wanted = _declared(connection, lambda channel: _declare_durable(channel, queue.name, queue.arguments()))
    if not as_wanted:
        channel = open_channel(connection)
        channel.queue_declare(queue.name, passive=True)
        channel.close()
    _declared(connection, lambda channel: _declare_durable(channel, queue.dropped_name, queue.dropped_arguments()))
    return as_wanted


def queue_depth(connection: Any, name: str) -> int | None:
    """How many messages wait in a queue; None when it does not exist."""
    channel = open_channel(connection)
    try:
        depth: int = channel.queue_declare(name, passive=True).message_count
    except amqp.ChannelError as error:
        if error.code != _NOT_FOUND:
            raise
        return None
    finally:
        channel.close()
    return depth


def _declare_durable(channel: Any, name: str, arguments: dict[str, Any]) -> None:
    channel.queue_declare(name, durable=True, exclusive=False, auto_delete=False, arguments=arguments)


def _declared(connection: Any, declare: Callable[[Any], Any]) -> bool:
    """Run one declaration on a channel of its own (a refusal closes the channel). False: it exists otherwise."""
    channel = open_channel(connection)
    try:
        declare(channel)
    except amqp.ChannelError as error:
        if error.code != _PRECONDITION_FAILED:
            raise
        return False
    finally:
        channel.close()  # the library has opened it again after the refusal
    return True


def binding_arguments(name: str) -> dict[str, Any]:
    """How the queue is bound to the exchange for one event name."""
    return {'name': name, 'x-match': 'all'}


def message(body: str | bytes, **properties: Any) -> Any:
    """A message to publish; ``properties`` as AMQP names them."""
    return amqp.Message(body, **properties)


def bind_exchange(connection: Any, destination: str, source: str) -> None:
    """Everything published on ``source`` reaches ``destination`` too."""
    channel = open_channel(connection)
    channel.exchange_bind(destination, source, '#')
    channel.close()
