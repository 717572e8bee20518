"""Publishes the bus events that were written together with a change, once that change is committed."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

from ..database import outbox
from ..database.outbox import OutboxRow
from ..database.session import Database
from ..exceptions import DatabaseUnavailable
from . import broker
from .broker import BrokerAddress
from .confirmations import Confirmations
from .publisher import message_of

logger = logging.getLogger(__name__)

BATCH: Final = 100
LOOK_SECONDS: Final = 3.0
OTHERS_SECONDS: Final = 10.0
IDLE_CLOSE_SECONDS: Final = 60.0


class Sends(Protocol):
    """Publishes rows and returns when the broker has them all; raises one of broker.TROUBLE otherwise."""

    def send(self, rows: Sequence[OutboxRow]) -> None: ...

    def close(self) -> None: ...


class ConfirmedChannel:
    """Publishes batches of rows on a connection that is opened when it is needed."""

    def __init__(self, bus: Any) -> None:
        """``bus``: the configuration section of that name."""
        self._address = BrokerAddress.from_config(bus)
        self._exchange = str(broker.setting(bus, 'exchange_name', 'wazo-headers'))
        self._exchange_type = str(broker.setting(bus, 'exchange_type', 'headers'))
        self._connection: Any = None
        self._channel: Confirmations | None = None

    def send(self, rows: Sequence[OutboxRow]) -> None:
        try:
            channel = self._channel or self._open()
            for row in rows:
                channel.publish(message_of(row.headers, row.body), self._exchange, row.routing_key)
            channel.wait()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        connection, self._connection, self._channel = self._connection, None, None
        broker.close(connection)

    def _open(self) -> Confirmations:
        self._connection = broker.connect(self._address, 'wazo-webhookd outbox')
        broker.declare_exchange(self._connection, self._exchange, self._exchange_type)
        self._channel = Confirmations(broker.open_channel(self._connection))
        return self._channel


class OutboxSender:
    """A thread that publishes what waits in the outbox: after a commit (``wake``), and again every few seconds.

    It publishes what this life wrote; while ``admits()`` also what ended lives left behind. A row is deleted
    once RabbitMQ confirmed it, so an event may be published twice, and never not at all.
    """

    def __init__(
        self, database: Database, life: str, channel: Sends, admits: Callable[[], bool] = lambda: False
    ) -> None:
        self._database = database
        self._life = life
        self._channel = channel
        self._admits = admits
        self._awake = threading.Event()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name='bus-outbox', daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Something was committed."""
        self._awake.set()

    def stop(self, grace: float = 5.0) -> None:
        """Publish what is there, if that works at once."""
        self._stopping.set()
        self._awake.set()
        if self._thread is not None:
            self._thread.join(grace)

    def publish_waiting(self, life: str | None) -> int:
        """Publish all rows of a life (None: of ended ones); returns how many. Raises DatabaseUnavailable or TROUBLE."""
        total = 0
        while True:
            with self._database.reading() as connection:
                rows = outbox.take(connection, life, BATCH)
            if not rows:
                return total
            self._channel.send(rows)
            with self._database.transaction() as connection:
                outbox.done(connection, [row.id for row in rows])
            total += len(rows)

    def _run(self) -> None:
        next_others = 0.0
        last_used = time.monotonic()
        failing = False
        while True:
            self._awake.clear()
            stopping = self._stopping.is_set()
            try:
                published = self.publish_waiting(self._life)
                now = time.monotonic()
                if now >= next_others and not stopping and self._admits():
                    next_others = now + OTHERS_SECONDS
                    published += self.publish_waiting(None)
                if published:
                    last_used = now
                elif now - last_used > IDLE_CLOSE_SECONDS:
                    self._channel.close()  # rather than keeping up its heartbeat
                failing = False
            except (DatabaseUnavailable, *broker.TROUBLE) as error:
                if not failing:
                    logger.warning('bus events wait in the outbox: %s', error)
                failing = True
            except Exception:
                logger.exception('the outbox could not be published')
            if stopping:
                self._channel.close()
                return
            self._awake.wait(LOOK_SECONDS)
