"""Receives the events of the bus: one thread, one connection, acknowledgement only when somebody else says so."""

from __future__ import annotations

import logging
import select
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import suppress
from typing import Any, Final, Protocol

from ..domain.event import Event
from ..exceptions import DatabaseUnavailable, SchemaBehind, WebhookdError
from . import broker
from .bell import Bell
from .callbacks import Handler
from .guests import BusForGuests, Flag
from .house import HouseHandlers
from .link import Link, LinkSettings
from .reception import Reception

logger = logging.getLogger(__name__)

RECONNECT_SECONDS: Final = (0.2, 0.2, 0.5, 1.0)
"""Short to the end: events published to a broker that lost our queue are lost until we declare it again."""

LASTED_SECONDS: Final = 2.0
COMPLAIN_EVERY: Final = 60
TICK_SECONDS: Final = 1.0
PROBE_SECONDS: Final = 0.5
ANSWER_SECONDS: Final = 2.0
ASLEEP_SECONDS: Final = 10.0
"""Less than the broker waits for our heartbeats before it gives what we have to others."""

Done = Callable[[int | Exception], None]
OnEvent = Callable[[Event, Done], None]


class NotConnected(WebhookdError):
    """There is no connection to the bus now."""


class Reader(Protocol):
    """What the consumer asks of the database: whether it is back."""

    def reading(self) -> Any: ...


class BusConsumer(BusForGuests):
    """Hands each event of the bus to ``on_event(event, done)`` and acknowledges it after ``done(number)``.

    ``done`` may be called on any thread. Called with DatabaseUnavailable (or anything unexpected) it hands the message
    back to the broker, and nothing more is received until the database answers again; another WebhookdError
    says that this one event can never be stored: it is acknowledged, and counted as malformed.

    ``names_wanted`` gives the event names of the subscriptions that this process knows of; what else must be bound
    are the names of handlers. ``on_connected`` is called on the consumer's thread each time a connection is ready.
    """

    def __init__(
        self, bus: Any, on_event: OnEvent, names_wanted: Callable[[], Iterable[str]], database: Reader | None = None
    ) -> None:
        """``bus``: the configuration section of that name."""
        self.settings = LinkSettings.from_config(bus)
        super().__init__(check_headers=self.settings.exchange_type == 'headers')
        self._on_event = on_event
        self._names_wanted = names_wanted
        self._database = database
        self._house = HouseHandlers()
        self._reception = Reception(self.settings.max_event_bytes)
        self.on_connected: Callable[[], None] = lambda: None
        self.on_names_added: Callable[[set[str]], None] = lambda names: None
        self.on_names_left: Callable[[set[str]], None] = lambda names: None

        self._bell = Bell()
        self._thread: threading.Thread | None = None
        self.beat = time.monotonic()
        """When its loop last came round."""
        self._link: Link | None = None
        self._stopping = threading.Event()
        self._deadline = float('inf')
        self._asked_to_pause = False
        self._waiting_for_database = False
        self._probe_lock = threading.Lock()
        self._warned = False
        self._finished: deque[tuple[Link, int, bool]] = deque()
        self._commands: deque[tuple[Callable[[Link], Any], Future[Any]]] = deque()

    # -- life ---------------------------------------------------------------------------------

    def start(self) -> None:
        """Return at once; connecting goes on in the background for ever."""
        self._thread = threading.Thread(target=self._run, name='bus-consumer', daemon=True)
        self._thread.start()

    def stop(self, grace: float = 5.0) -> None:
        """Receive no more; wait at most ``grace`` seconds for what was received to be stored and acknowledged."""
        self._deadline = time.monotonic() + grace
        self._stopping.set()
        self._bell.ring()
        if self._thread is not None:
            self._thread.join(grace + broker.SILENCE_SECONDS)
        if self._thread is None or not self._thread.is_alive():
            self._bell.close()
        self._house.stop(grace)
        self._desk.stop()

    def pause(self) -> None:
        """Receive no more; what is not stored by those who have it already (``done`` tells) is handed back."""
        self._asked_to_pause = True
        self._bell.ring()

    def resume(self) -> None:
        """Receive again, whatever the reason for not receiving was."""
        self._asked_to_pause = False
        self._waiting_for_database = False
        self._bell.ring()

    # -- what others ask ----------------------------------------------------------------------

    @property
    def counters(self) -> dict[str, int]:
        """Since start: ``malformed``, and ``dropped`` (too large for us, or by the queue's limits)."""
        return {'malformed': self._reception.malformed, 'dropped': self._reception.dropped}

    @property
    def is_running(self) -> Flag:
        return Flag(self._thread is not None and self._thread.is_alive() and not self._stopping.is_set())

    @property
    def paused(self) -> bool:
        return self._asked_to_pause or self._waiting_for_database

    @property
    def receives(self) -> bool:
        link = self._link
        return link is not None and link.consumes

    def consumer_connected(self) -> bool:
        return self._link is not None

    def answers(self) -> bool:
        """Does the broker answer now? (One that stands still is connected.) Known within 2 × ANSWER_SECONDS."""
        try:
            self.ask_broker(Link.ask, ANSWER_SECONDS, begun_timeout=ANSWER_SECONDS)
        except (NotConnected, TimeoutError, FutureTimeout, *broker.TROUBLE):
            return False
        return True

    def subscribe_internal(self, event_name: str, handler: Handler) -> None:
        """A handler of ours: called as guests' are (without header check), finished before the acknowledgement."""
        self._house.add(event_name, handler)
        self._names_added({event_name})

    def handler_names(self) -> set[str]:
        """Event names that have to be bound although perhaps no subscription wants them."""
        return self._desk.names() | self._house.names()

    def ask_broker(self, command: Callable[[Link], Any], timeout: float, *, begun_timeout: float | None = None) -> Any:
        """Run ``command(link)`` on the consumer's thread. Raises NotConnected, TimeoutError, or what it raised.

        After TimeoutError the command has not run and will not run any more; unless ``begun_timeout`` limits
        how long one that has begun is waited for: then it may still go on.
        """
        future: Future[Any] = Future()
        if self._link is None or self._stopping.is_set():
            raise NotConnected
        self._commands.append((command, future))
        self._bell.ring()
        try:
            return future.result(timeout)
        except FutureTimeout:
            if future.done() or not future.cancel():
                return future.result(2 * broker.SILENCE_SECONDS if begun_timeout is None else begun_timeout)
            raise TimeoutError('the bus did not answer in time') from None

    def _names_added(self, names: set[str]) -> None:
        self.on_names_added(names)

    def _names_left(self, names: set[str]) -> None:
        self.on_names_left(names)

    # -- the thread -----------------------------------------------------------------------------

    def _run(self) -> None:
        failures = 0
        while not self._stopping.is_set():
            self.beat = since = time.monotonic()
            link = None
            try:
                link = self._connect()
                self._serve(link)
            except Exception as error:
                failures = 0 if link is not None and time.monotonic() - since > LASTED_SECONDS else failures
                level = logging.WARNING if failures % COMPLAIN_EVERY == 0 else logging.DEBUG
                known = isinstance(error, broker.TROUBLE)
                where = self.settings.address
                logger.log(level, 'no bus at %s, trying again until there is: %s', where, error, exc_info=not known)
                self._forget(link)
                self._stopping.wait(RECONNECT_SECONDS[min(failures, len(RECONNECT_SECONDS) - 1)])
                failures += 1
            finally:
                self._forget(link)

    def _connect(self) -> Link:
        link = Link.open(self.settings, self._warn_of_other_limits)
        try:
            link.bind(self.handler_names() | set(self._names_wanted()))
            link.count_dropped(lambda message: self._reception.dropped_by_limits(self.settings.queue.name))
        except BaseException:
            link.close()
            raise
        logger.info('connected to the bus at %s', self.settings.address)
        self._link = link
        self.on_connected()
        return link

    def _forget(self, link: Link | None) -> None:
        self._link = None
        if link is not None:
            with suppress(Exception):
                link.close()
        while self._commands:
            _, future = self._commands.popleft()
            if future.set_running_or_notify_cancel():
                future.set_exception(NotConnected())

    def _serve(self, link: Link) -> None:
        poll = select.poll()
        poll.register(link.connection.sock, select.POLLIN)
        poll.register(self._bell.ear, select.POLLIN)
        next_tick = 0.0
        self.beat = time.monotonic()
        while True:
            self._check_awake()
            self._settle(link)
            self._run_commands(link)
            if self._stopping.is_set():
                link.stop_consuming()
                if not len(link.ledger) or time.monotonic() > self._deadline:
                    return
            elif self.paused:
                link.stop_consuming()
            elif not link.consumes:
                link.consume(lambda message: self._on_message(link, message))
            now = time.monotonic()
            if now >= next_tick:
                link.connection.heartbeat_tick()
                next_tick = now + TICK_SECONDS
            ready = {
                descriptor for descriptor, _ in poll.poll(1000 * min(TICK_SECONDS, max(0.05, self._deadline - now)))
            }
            if self._bell.ear in ready:
                self._bell.hear()
            if ready - {self._bell.ear}:
                self._drain(link)

    def _check_awake(self) -> None:
        """Raises ConnectionError when this process stood still for so long that the broker may have handed what it had
        sent to others: it must not be taken in here as well. Asked before anything is read or handled."""
        now = time.monotonic()
        asleep, self.beat = now - self.beat, now
        if asleep > ASLEEP_SECONDS:
            raise ConnectionError(f'this process stood still for {asleep:.0f} s')

    def _drain(self, link: Link) -> None:
        """Read all that is there; the prefetch bounds it, since acknowledgements have to wait."""
        with suppress(TimeoutError):
            while True:
                link.connection.blocking_read(0)  # a frame; drain_events would wait for more after a heartbeat

    def _settle(self, link: Link) -> None:
        while self._finished:
            whose, tag, stored = self._finished.popleft()
            if whose is link:
                (link.ledger.done if stored else link.ledger.failed)(tag)
        link.settle(hand_back=not (self.paused and link.consumes))  # not while it would come straight back

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

    def _warn_of_other_limits(self) -> None:
        if not self._warned:
            self._warned = True
            logger.warning(
                'queue %s exists with other limits than configured and is used as it is; '
                'wazo-webhookd-init-amqp --recreate-queue gives it the configured ones and keeps what waits in it',
                self.settings.queue.name,
            )

    # -- messages -------------------------------------------------------------------------------

    def _on_message(self, link: Link, message: Any) -> None:
        """Raises nothing else: an exception here closes the connection, and the message comes again."""
        if link is not self._link:
            return  # a frame that was read while the connection closes
        self._check_awake()
        tag: int = message.delivery_tag
        link.ledger.add(tag)
        event = self._reception.event_of(message)
        if event is None:
            link.ledger.done(tag)
            return
        try:
            self._on_event(event, lambda result: self._answered(link, tag, event, result))
        except Exception as error:
            logger.exception('event %s cannot be taken in now', event.name)
            self._answered(link, tag, event, error)

    def _answered(self, link: Link, tag: int, event: Event, result: int | Exception) -> None:
        """On whatever thread: intake is through with an event."""
        if isinstance(result, WebhookdError) and not isinstance(result, (DatabaseUnavailable, SchemaBehind)):
            self._reception.refused(event, result)
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
        self._bell.ring()

    def _wait_for_database(self, reason: Exception) -> None:
        with self._probe_lock:
            if self._waiting_for_database:
                return
            self._waiting_for_database = True
        logger.warning('events are left with the bus for now: %s', reason)
        self._bell.ring()
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
        self._bell.ring()
