"""One working connection of the consumer: its queue, bindings, received messages and their acknowledgements."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final
from uuid import uuid4

from . import broker
from .broker import BrokerAddress, QueueSettings
from .ledger import Ledger

logger = logging.getLogger(__name__)

BINDINGS_AT_A_TIME: Final = 100
NAME_BYTES: Final = 32_000


@dataclass(frozen=True, slots=True)
class LinkSettings:
    """Where the bus is and what we have there."""

    address: BrokerAddress
    exchange_name: str
    exchange_type: str
    queue: QueueSettings
    prefetch: int
    max_event_bytes: int

    @classmethod
    def from_config(cls, bus: Any) -> LinkSettings:
        """``bus``: the configuration section of that name."""
        return cls(
            address=BrokerAddress.from_config(bus),
            exchange_name=str(broker.setting(bus, 'exchange_name', 'wazo-headers')),
            exchange_type=str(broker.setting(bus, 'exchange_type', 'headers')),
            queue=QueueSettings(str(bus.queue.name), int(bus.queue.max_age), int(bus.queue.max_length)),
            prefetch=int(bus.queue.prefetch),
            max_event_bytes=int(bus.max_event_bytes),
        )


class Link:
    """All methods belong to the consumer's thread, and raise one of broker.TROUBLE when the connection breaks."""

    def __init__(self, settings: LinkSettings, connection: Any) -> None:
        self._settings = settings
        self.connection = connection
        self._consuming = broker.open_channel(connection)
        self._control = broker.open_channel(connection)
        self._tag: str | None = None
        self.ledger = Ledger()

    @classmethod
    def open(cls, settings: LinkSettings, on_other_limits: Callable[[], None]) -> Link:
        """Connect and declare what is needed. ``on_other_limits``: the queue exists otherwise, and is used so."""
        connection = broker.connect(settings.address, 'wazo-webhookd consumer')
        try:
            broker.declare_exchange(connection, settings.exchange_name, settings.exchange_type)
            if not broker.declare_queue(connection, settings.queue):
                on_other_limits()
            link = cls(settings, connection)
            link._consuming.basic_qos(0, settings.prefetch, False)
        except BaseException:
            broker.close(connection)
            raise
        return link

    @property
    def consumes(self) -> bool:
        return self._tag is not None

    def consume(self, on_message: Callable[[Any], None]) -> None:
        self._tag = f'wazo-webhookd-{uuid4()}'
        self._consuming.basic_consume(
            self._settings.queue.name, consumer_tag=self._tag, callback=on_message, on_cancel=_cancelled
        )

    def stop_consuming(self) -> None:
        if self._tag is not None:
            tag, self._tag = self._tag, None
            self._consuming.basic_cancel(tag)

    def count_dropped(self, on_message: Callable[[Any], None]) -> None:
        """Hear of each event that the limits of the queue dropped."""
        self._control.basic_consume(self._settings.queue.dropped_name, no_ack=True, callback=on_message)

    def settle(self, *, hand_back: bool) -> None:
        """Acknowledge what is stored; ``hand_back``: return to the broker what is not."""
        for ack in self.ledger.acks():
            self._consuming.basic_ack(ack.tag, ack.multiple)
        if hand_back:
            for tag in self.ledger.returns():
                self._consuming.basic_reject(tag, requeue=True)

    def bind(self, names: Iterable[str]) -> None:
        """Bind event names to the queue; binding what is bound changes nothing."""
        queue, exchange, kind = self._settings.queue.name, self._settings.exchange_name, self._settings.exchange_type
        if kind in ('topic', 'fanout'):
            self._control.queue_bind(queue, exchange, '#' if kind == 'topic' else '')
            return
        bindable = sorted(name for name in names if len(name.encode('utf-8', 'replace')) < NAME_BYTES)
        for position, name in enumerate(bindable, 1):
            goes_on = position < len(bindable) and position % BINDINGS_AT_A_TIME != 0  # else wait for the broker
            if kind == 'direct':
                self._control.queue_bind(queue, exchange, name, nowait=goes_on)
            else:
                arguments = broker.binding_arguments(name)
                self._control.queue_bind(queue, exchange, '', nowait=goes_on, arguments=arguments)

    def unbind(self, names: Iterable[str]) -> None:
        """Exchanges of other types than headers do not tell names apart: nothing is done."""
        if self._settings.exchange_type == 'headers':
            for name in names:
                self._control.queue_unbind(
                    self._settings.queue.name,
                    self._settings.exchange_name,
                    '',
                    arguments=broker.binding_arguments(name),
                )

    def ask(self) -> None:
        """Have the broker answer something."""
        self._control.basic_qos(0, 0, False)

    def close(self) -> None:
        broker.close(self.connection)


def _cancelled(tag: str) -> None:
    """The broker ended the consumer: its queue was deleted. Connect again, which declares everything."""
    raise OSError(f'the queue of consumer {tag} is gone')
