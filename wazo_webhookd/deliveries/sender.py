"""Makes Celery messages of deliveries that are out, on a kept channel, on a thread of its own."""

from __future__ import annotations

import logging
import select
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import amqp
from amqp.method_framing import frame_writer

from ..domain.delivery import MESSAGE_SECONDS
from .clock import DatabaseClock
from .message import Parcel, Route, Writer

logger = logging.getLogger(__name__)

Unsent = Callable[[Sequence[Parcel]], None]

TICK_SECONDS: Final = 1.0
DECLARE_SECONDS: Final = 10.0
CONNECT_SECONDS: Final = 4
WRITE_SECONDS: Final = 10
"""A broker that takes nothing for so long counts as lost."""

WRITE_BYTES: Final = 256 * 1024
WAITS: Final = (0.2, 0.5, 1.0, 2.0, 5.0)


class Sender:
    """``send`` returns at once; messages leave in the order of its calls, without confirmation: a row whose message
    got lost becomes an orphan. Parcels that certainly were not sent are given to ``on_unsent``.

    ``ready`` tells whether there is a connection; ``on_change()`` is called when that changes. The callbacks run on the
    sender's thread or, when there is no connection, on that of ``send``.
    """

    def __init__(self, app: Any, route: Callable[[str], Route], clock: DatabaseClock, suspects_queue: str) -> None:
        self._app = app
        self._writer = Writer(route)
        self._clock = clock
        self._queue_name: str = ''
        self._suspects_queue = suspects_queue
        self.on_unsent: Unsent = lambda parcels: None
        self.on_change: Callable[[], None] = lambda: None
        self.ready = False
        self.sent = 0
        self._parcels: deque[Parcel] = deque()
        self._condition = threading.Condition()
        self._stopping = False
        self._thread: threading.Thread | None = None
        self._connection: Any = None
        self._channel: Any = None
        self._poll: Any = None
        self._declared = 0.0
        self._place = ''

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name='sender', daemon=True)
        self._thread.start()

    def stop(self, grace: float = 2.0) -> None:
        """Send what there is, within ``grace`` seconds, and disconnect."""
        with self._condition:
            self._stopping = True
            self._condition.notify()
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.join(grace)

    def send(self, parcels: Sequence[Parcel]) -> None:
        if not parcels:
            return
        with self._condition:
            ready = self.ready and not self._stopping
            if ready:
                self._parcels.extend(parcels)
                self._condition.notify()
        if not ready:
            self.on_unsent(parcels)

    # -- the thread ------------------------------------------------------------------------------

    def _run(self) -> None:
        failures = 0
        while not self._stopping or (self._parcels and self.ready):
            try:
                if self._channel is None:
                    self._connect()
                    failures = 0
                    self._set_ready(True)
                self._serve()
            except Exception as error:
                wait = WAITS[min(failures, len(WAITS) - 1)]
                failures += 1
                self._set_ready(False)
                self._hand_back()
                self._disconnect()
                log = logger.warning if failures == 1 else logger.debug
                log('no task broker at %s, trying again in %s s: %s', self._place, wait, error)
                with self._condition:
                    if not self._stopping:
                        self._condition.wait(wait)
        self._set_ready(False)
        self._hand_back()
        self._disconnect()

    def _set_ready(self, ready: bool) -> None:
        if self.ready != ready:
            with self._condition:
                self.ready = ready
            if ready:
                logger.info('connected to the task broker')
            self.on_change()

    def _connect(self) -> None:
        connection = self._app.connection_for_write(
            connect_timeout=CONNECT_SECONDS, transport_options={'write_timeout': WRITE_SECONDS}
        )
        self._place = connection.host if connection.hostname else 'memory'
        try:
            connection.connect()
            channel = connection.default_channel
            self._connection = connection
            self._channel = channel
            self._queue_name = self._app.conf.task_default_queue
            self._poll = _poll_of(connection)
            self._declare()
        except BaseException:
            self._connection = connection
            self._disconnect()
            raise

    def _declare(self) -> None:
        """Somebody may have deleted the queues; messages to none of them would vanish without a sound."""
        for queue in self._app.conf.task_queues or ():
            queue(self._channel).declare()
        self._declared = time.monotonic()

    def _disconnect(self) -> None:
        connection, self._connection, self._channel, self._poll = self._connection, None, None, None
        if connection is not None:
            try:
                connection.collect(socket_timeout=1)
            except Exception as error:
                logger.debug('closing the connection to the task broker: %s', error)

    def _hand_back(self) -> None:
        with self._condition:
            unsent = list(self._parcels)
            self._parcels.clear()
        if unsent:
            self.on_unsent(unsent)

    def _serve(self) -> None:
        """Send until there is nothing more to do; raises when the connection is lost."""
        last_heartbeat = time.monotonic()
        while True:
            with self._condition:
                if not self._parcels:
                    if self._stopping:
                        return
                    self._condition.wait(TICK_SECONDS)
                batch = list(self._parcels)
                self._parcels.clear()
            try:
                self._look()
                now = time.monotonic()
                if batch and now - self._declared > DECLARE_SECONDS:
                    self._declare()
                if now - last_heartbeat >= TICK_SECONDS:
                    last_heartbeat = now
                    if self._poll is not None:
                        self._connection.heartbeat_check()
            except BaseException:
                with self._condition:
                    self._parcels.extendleft(reversed(batch))
                raise
            self._publish(batch)

    def _publish(self, batch: list[Parcel]) -> None:
        """Everything in one write to the socket where that is possible."""
        with _together(self._connection.connection):
            self._publish_each(batch)

    def _publish_each(self, batch: list[Parcel]) -> None:
        channel = self._channel
        now = self._clock.now()
        late: list[Parcel] = []
        for number, parcel in enumerate(batch):
            age = now - parcel.sent_at
            if age >= MESSAGE_SECONDS:
                late.append(parcel)
                continue
            try:
                message = self._writer.write(parcel, age)
            except Exception:
                logger.exception('no message could be made of delivery %s', parcel.uuid)
                continue
            try:
                prepared = channel.prepare_message(
                    message.body, None, 'application/json', 'utf-8', message.headers, message.properties
                )
                queue = self._suspects_queue if parcel.suspect and self._suspects_queue else self._queue_name
                channel.basic_publish(prepared, exchange='', routing_key=queue)
            except BaseException:
                # Nobody knows about this one and those before it; those after it were certainly not sent.
                with self._condition:
                    self._parcels.extendleft(reversed([*late, *batch[number + 1 :]]))
                raise
            self.sent += 1
        if late:
            self.on_unsent(late)

    def _look(self) -> None:
        """Read what the broker says (heartbeats, a closed connection), without waiting."""
        while self._poll is not None and self._poll.poll(0):
            try:
                self._connection.drain_events(timeout=0)
            except TimeoutError:
                return


class _Collector:
    """Takes the place of a connection's transport: writes are collected and made in large pieces."""

    def __init__(self, transport: Any) -> None:
        self._transport = transport
        self._pieces: list[bytes] = []
        self._size = 0

    def write(self, data: bytes | memoryview) -> None:
        self._pieces.append(bytes(data))  # the view is of a buffer that is used again
        self._size += len(data)
        if self._size > WRITE_BYTES:
            self.flush()

    def flush(self) -> None:
        data, self._pieces, self._size = b''.join(self._pieces), [], 0
        if data:
            self._transport.write(data)


@contextmanager
def _together(connection: Any) -> Iterator[None]:
    """AMQP: what is written inside goes out in one piece (half of what sending cost were single writes)."""
    if not isinstance(connection, amqp.Connection):
        yield
        return
    collector = _Collector(connection.transport)
    writer = connection.frame_writer
    connection.frame_writer = frame_writer(connection, collector)
    try:
        yield
    finally:
        connection.frame_writer = writer
        collector.flush()


def _poll_of(connection: Any) -> Any:
    """Watches the socket; None for transports in memory, which have none."""
    sock = getattr(getattr(connection.connection, 'transport', None), 'sock', None)
    if sock is None:
        return None
    poll = select.poll()
    poll.register(sock, select.POLLIN | select.POLLHUP | select.POLLERR)
    return poll
