"""Receives the events of the bus: one thread, one connection, acknowledgement only when somebody else says so."""

from __future__ import annotations

import logging
import os
import select
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Final, Protocol
from uuid import uuid4

from ..domain.event import Event
from ..exceptions import DatabaseUnavailable, SchemaBehind, WebhookdError
from . import broker
from .broker import BrokerAddress, QueueSettings
from .callbacks import Handler
from .guests import BusForGuests, Flag
from .house import HouseHandlers
from .ledger import Ledger
from .message import Limits, Malformed, Properties, decode
from .rarely import Rarely

logger = logging.getLogger(__name__)

RECONNECT_SECONDS: Final = (0.2, 0.5, 1.0, 2.0, 5.0)
TICK_SECONDS: Final = 1.0
FRAMES_PER_TURN: Final = 300
PROBE_SECONDS: Final = 0.5

Done = Callable[[int | Exception], None]
OnEvent = Callable[[Event, Done], None]


class NotConnected(WebhookdError):
    """There is no connection to the bus now."""


class Reader(Protocol):
    """What the consumer asks of the database: whether it is back."""

    def reading(self) -> Any: ...


class Link:
    """One connection that works: its channels, and what was received over it."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self.consuming = broker.open_channel(connection)
        self.control = broker.open_channel(connection)
        self.ledger = Ledger()
        self.tag: str | None = None  # of the consumer, while there is one

    def close(self) -> None:
        broker.close(self.connection)


class BusConsumer(BusForGuests):
    """Hands each event of the bus to ``on_event(event, done)`` and acknowledges it after ``done(number)``.

    ``done`` may be called on any thread. Called with DatabaseUnavailable (or anything unexpected) it hands the message
    back to the broker, and nothing more is received until the database answers again; another WebhookdError
    says that this one event can never be stored: it is acknowledged, and counted as malformed.

    ``names_wanted`` gives the event names of the subscriptions that this process knows of; what else must be bound
    are the names of handlers. ``on_connected`` is called on the consumer's thread each time a connection is ready.
    """

    def __init__(
        self,
        bus: Any,
        on_event: OnEvent,
        names_wanted: Callable[[], Iterable[str]],
        database: Reader | None = None,
        *,
        on_connected: Callable[[], None] | None = None,
    ) -> None:
        """``bus``: the configuration section of that name."""
        self.exchange_name = str(broker.setting(bus, 'exchange_name', 'wazo-headers'))
        self.exchange_type = str(broker.setting(bus, 'exchange_type', 'headers'))
        super().__init__(check_headers=self.exchange_type == 'headers')
        queue = bus.queue
        self.queue = QueueSettings(queue.name, int(queue.max_age), int(queue.max_length))
        self._prefetch = int(queue.prefetch)
        self._limits = Limits(body_bytes=int(bus.max_event_bytes))
        self._address = BrokerAddress.from_config(bus)
        self._on_event = on_event
        self._names_wanted = names_wanted
        self._database = database
        self._house = HouseHandlers()
        self.on_connected = on_connected or (lambda: None)
        self.on_names_added: Callable[[set[str]], None] = lambda names: None
        self.on_names_left: Callable[[set[str]], None] = lambda names: None

        self.malformed = 0
        self.dropped = 0
        self.received = 0
        self._complaints = Rarely(logger)

        self._thread: threading.Thread | None = None
        self._link: Link | None = None
        self._stopping = threading.Event()
        self._deadline = float('inf')
        self._asked_to_pause = False
        self._waiting_for_database = False
        self._finished: deque[tuple[Link, int, bool]] = deque()
        self._commands: deque[tuple[Callable[[Link], Any], Future[Any]]] = deque()
        self._wake_lock = threading.Lock()
        self._woken = False
        self._ear, self._bell = -1, -1
        self._warned_of_arguments = False

    # -- life ---------------------------------------------------------------------------------

    def start(self) -> None:
        """Return at once; connecting goes on in the background for ever."""
        self._ear, self._bell = os.pipe()
        os.set_blocking(self._ear, False)
        os.set_blocking(self._bell, False)
        self._thread = threading.Thread(target=self._run, name='bus-consumer', daemon=True)
        self._thread.start()

    def stop(self, grace: float = 5.0) -> None:
        """Receive no more; wait at most ``grace`` seconds for what was received to be stored and acknowledged."""
        self._deadline = time.monotonic() + grace
        self._stopping.set()
        self._wake()
        if self._thread is not None:
            self._thread.join(grace + 2 * broker.SILENCE_SECONDS)
            if not self._thread.is_alive() and self._ear >= 0:
                with self._wake_lock:
                    ear, bell, self._ear, self._bell = self._ear, self._bell, -1, -1
                    os.close(ear)
                    os.close(bell)
        self._house.stop(grace)
        self._desk.stop()

    def pause(self) -> None:
        """Receive no more; what is not stored by those who have it already (``done`` tells) is handed back."""
        self._asked_to_pause = True
        self._wake()

    def resume(self) -> None:
        """Receive again, whatever the reason for not receiving was."""
        self._asked_to_pause = False
        self._waiting_for_database = False
        self._wake()

    # -- what others ask ----------------------------------------------------------------------

    @property
    def counters(self) -> dict[str, int]:
        """Since start: ``malformed``, and ``dropped`` (too large for us, or by the queue's caps)."""
        return {'malformed': self.malformed, 'dropped': self.dropped}

    @property
    def is_running(self) -> Flag:
        return Flag(self._thread is not None and self._thread.is_alive() and not self._stopping.is_set())

    @property
    def paused(self) -> bool:
        return self._asked_to_pause or self._waiting_for_database

    def consumer_connected(self) -> bool:
        return self._link is not None

    def subscribe_internal(self, event_name: str, handler: Handler) -> None:
        """A handler of ours: called as guests' are (without header check), finished before the acknowledgement."""
        self._house.add(event_name, handler)
        self._names_added({event_name})

    def handler_names(self) -> set[str]:
        """Event names that have to be bound although perhaps no subscription wants them."""
        return self._desk.names() | self._house.names()

    def names_to_bind(self) -> set[str]:
        return self.handler_names() | set(self._names_wanted())

    def ask_broker(self, command: Callable[[Link], Any], timeout: float) -> Any:
        """Run ``command(link)`` on the consumer's thread. Raises NotConnected, TimeoutError, or what it raised.

        After TimeoutError the command has not run and will not run any more.
        """
        future: Future[Any] = Future()
        if self._link is None or self._stopping.is_set():
            raise NotConnected
        self._commands.append((command, future))
        self._wake()
        try:
            return future.result(timeout)
        except FutureTimeout:
            if future.done() or not future.cancel():
                return future.result(2 * broker.SILENCE_SECONDS)
            raise TimeoutError('the bus did not answer in time') from None

    def _names_added(self, names: set[str]) -> None:
        self.on_names_added(names)

    def _names_left(self, names: set[str]) -> None:
        self.on_names_left(names)

    # -- the thread -----------------------------------------------------------------------------

    def _run(self) -> None:
        failures = 0
        while not self._stopping.is_set():
            link = None
            since = time.monotonic()
            try:
                link = self._connect()
                logger.info('connected to the bus at %s', self._address)
                self._link = link
                self._tell_connected()
                self._serve(link)
            except Exception as error:
                if time.monotonic() - since > 10:
                    failures = 0
                wait = RECONNECT_SECONDS[min(failures, len(RECONNECT_SECONDS) - 1)]
                failures += 1
                known = isinstance(error, broker.TROUBLE)
                logger.warning('no bus at %s, trying again in %s s: %s', self._address, wait, error, exc_info=not known)
                self._forget(link)
                self._stopping.wait(wait)
            finally:
                self._forget(link)
        logger.debug('bus consumer ended')

    def _forget(self, link: Link | None) -> None:
        self._link = None
        if link is not None:
            with suppress(Exception):
                link.close()
        while self._commands:
            _, future = self._commands.popleft()
            if future.set_running_or_notify_cancel():
                future.set_exception(NotConnected())

    def _connect(self) -> Link:
        connection = broker.connect(self._address, 'wazo-webhookd consumer')
        try:
            broker.declare_exchange(connection, self.exchange_name, self.exchange_type)
            if not broker.declare_queue(connection, self.queue) and not self._warned_of_arguments:
                self._warned_of_arguments = True
                logger.warning(
                    'queue %s exists with other limits than configured and is used as it is; '
                    'wazo-webhookd-init-amqp --recreate-queue gives it the configured ones and keeps what waits in it',
                    self.queue.name,
                )
            link = Link(connection)
            link.consuming.basic_qos(0, self._prefetch, False)
            self.bind(link, self.names_to_bind())
            link.control.basic_consume(self.queue.dropped_name, no_ack=True, callback=self._on_dropped)
            return link
        except BaseException:
            broker.close(connection)
            raise

    def _tell_connected(self) -> None:
        try:
            self.on_connected()
        except Exception:
            logger.exception('cannot go on after connecting to the bus')

    def bind(self, link: Link, names: Iterable[str]) -> None:
        """Bind event names to the queue; binding what is bound changes nothing. On the consumer's thread."""
        self._each_name(link.control, link.control.queue_bind, names)

    def unbind(self, link: Link, names: Iterable[str]) -> None:
        """On the consumer's thread. Exchanges of other types than headers do not tell names apart: nothing is done."""
        if self.exchange_type == 'headers':
            for name in names:
                link.control.queue_unbind(
                    self.queue.name, self.exchange_name, '', arguments=broker.binding_arguments(name)
                )

    def _each_name(self, channel: Any, bind: Callable[..., Any], names: Iterable[str]) -> None:
        if self.exchange_type in ('topic', 'fanout'):
            bind(self.queue.name, self.exchange_name, '#' if self.exchange_type == 'topic' else '')
            return
        bindings = sorted(name for name in names if len(name.encode('utf-8', 'replace')) < 32_000)
        for position, name in enumerate(bindings, 1):
            last = position == len(bindings) or position % 100 == 0  # wait for the broker now and then
            if self.exchange_type == 'direct':
                bind(self.queue.name, self.exchange_name, name, nowait=not last)
            else:
                bind(self.queue.name, self.exchange_name, '', nowait=not last, arguments=broker.binding_arguments(name))

    def _serve(self, link: Link) -> None:
        sock = link.connection.sock
        poll = select.poll()
        poll.register(sock, select.POLLIN)
        poll.register(self._ear, select.POLLIN)
        next_tick = 0.0
        while True:
            self._acknowledge(link)
            self._run_commands(link)
            if self._stopping.is_set():
                self._stop_consuming(link)
                if not len(link.ledger) or time.monotonic() > self._deadline:
                    return
            else:
                self._keep_consuming(link)
            now = time.monotonic()
            if now >= next_tick:
                link.connection.heartbeat_tick()
                next_tick = now + TICK_SECONDS
            ready = poll.poll(min(TICK_SECONDS, max(0.05, self._deadline - now)) * 1000)
            if any(descriptor == self._ear for descriptor, _ in ready):
                self._hear()
            if any(descriptor != self._ear for descriptor, _ in ready):
                self._drain(link, poll)

    def _drain(self, link: Link, poll: Any) -> None:
        for _ in range(FRAMES_PER_TURN):
            link.connection.blocking_read()  # one frame; drain_events would wait for more after a heartbeat
            if not any(descriptor != self._ear for descriptor, _ in poll.poll(0)):
                return

    def _keep_consuming(self, link: Link) -> None:
        if self.paused:
            if link.tag is not None:
                self._stop_consuming(link)
                logger.info('receiving no events until further notice')
        elif link.tag is None:
            link.tag = f'wazo-webhookd-{uuid4()}'
            link.consuming.basic_consume(
                self.queue.name,
                consumer_tag=link.tag,
                callback=lambda message: self._on_message(link, message),
                on_cancel=_cancelled,
            )

    def _stop_consuming(self, link: Link) -> None:
        if link.tag is not None:
            tag, link.tag = link.tag, None
            link.consuming.basic_cancel(tag)

    def _acknowledge(self, link: Link) -> None:
        while self._finished:
            whose, tag, stored = self._finished.popleft()
            if whose is link:
                link.ledger.done(tag) if stored else link.ledger.failed(tag)
        for ack in link.ledger.acks():
            link.consuming.basic_ack(ack.tag, ack.multiple)
        if link.tag is None or not self.paused:  # never while they would come straight back
            for tag in link.ledger.returns():
                link.consuming.basic_reject(tag, requeue=True)

    def _run_commands(self, link: Link) -> None:
        while self._commands:
            command, future = self._commands.popleft()
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(command(link))
            except BaseException as error:
                future.set_exception(error)
                raise

    # -- messages -------------------------------------------------------------------------------

    def _on_message(self, link: Link, message: Any) -> None:
        """Never raises: an exception here would close the connection, and the message would come again."""
        tag: int = message.delivery_tag
        link.ledger.add(tag)
        self.received += 1
        try:
            event = self._decode(message)
        except Malformed as malformed:
            self.malformed += 1
            self._complaints.warning('malformed message acknowledged and ignored: %s', malformed.reason)
            link.ledger.done(tag)
            return
        except Exception:
            self.malformed += 1
            logger.exception('message that cannot be read acknowledged and ignored')
            link.ledger.done(tag)
            return
        if event is None:
            link.ledger.done(tag)
            return
        try:
            self._on_event(event, lambda result: self._stored(link, tag, event, result))
        except Exception as error:
            logger.exception('event %s cannot be taken in now', event.name)
            self._stored(link, tag, event, error)

    def _decode(self, message: Any) -> Event | None:
        body = message.body if isinstance(message.body, bytes) else b''  # the library's word for no body is ''
        if len(body) > self._limits.body_bytes:
            self.dropped += 1
            self._complaints.warning(
                'event dropped: %d bytes, more than bus.max_event_bytes (%d)', len(body), self._limits.body_bytes
            )
            return None
        properties = message.properties
        return decode(
            body,
            headers=properties.get('application_headers'),
            properties=Properties(
                properties.get('content_type'), properties.get('content_encoding'), properties.get('message_id')
            ),
            redelivered=bool(message.delivery_info['redelivered']),
            limits=self._limits,
            uuid=str(uuid4()),
            received_at=datetime.now(UTC),
        )

    def _on_dropped(self, message: Any) -> None:
        self.dropped += 1
        self._complaints.warning('an event was dropped by the limits of queue %s', self.queue.name)

    def _stored(self, link: Link, tag: int, event: Event, result: int | Exception) -> None:
        """On whatever thread: intake is through with an event."""
        if isinstance(result, WebhookdError) and not isinstance(result, (DatabaseUnavailable, SchemaBehind)):
            self.malformed += 1
            self._complaints.warning('event %s acknowledged and ignored: %s', event.name, result)
            self._finish(link, tag, True)
            return
        if isinstance(result, BaseException):
            self._wait_for_database(result)
            self._finish(link, tag, False)
            return
        self._desk.tell(event)
        if self._house.handles(event.name):
            self._house.submit(event, lambda: self._is_ours(link), lambda stored: self._finish(link, tag, stored))
        else:
            self._finish(link, tag, True)

    def _is_ours(self, link: Link) -> bool:
        return self._link is link and not self.paused

    def _finish(self, link: Link, tag: int, stored: bool) -> None:
        self._finished.append((link, tag, stored))
        self._wake()

    def _wait_for_database(self, reason: Exception) -> None:
        with self._wake_lock:
            if self._waiting_for_database:
                return
            self._waiting_for_database = True
        logger.warning('events are left with the bus for now: %s', reason)
        self._wake()
        threading.Thread(target=self._probe, name='bus-probe', daemon=True).start()

    def _probe(self) -> None:
        while self._waiting_for_database and not self._stopping.wait(PROBE_SECONDS):
            if self._database is not None:
                try:
                    with self._database.reading() as connection:
                        connection.exec_driver_sql('SELECT 1')
                except Exception as error:
                    logger.debug('the database is not back: %s', error)
                    continue
            self._waiting_for_database = False
            logger.info('receiving events again')
        self._wake()

    # -- waking the thread ----------------------------------------------------------------------

    def _wake(self) -> None:
        if self._woken:
            return
        with self._wake_lock:
            self._woken = True
            if self._bell >= 0:
                with suppress(BlockingIOError):
                    os.write(self._bell, b'!')

    def _hear(self) -> None:
        with suppress(BlockingIOError):
            os.read(self._ear, 4096)
        self._woken = False


def _cancelled(tag: str) -> None:
    """The broker ended the consumer: its queue was deleted. Connect again, which declares everything."""
    raise OSError(f'the queue of consumer {tag} is gone')
