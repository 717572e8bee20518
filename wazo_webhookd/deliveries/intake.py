"""Makes rows of events: one thread, one transaction for what has come in.

WebhookdError
└── EventRefused    this one event cannot be stored; the others of its batch were
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy.exc import SQLAlchemyError

from ..database import admission as admission_rows
from ..database.dialect import is_about_data, is_database_error
from ..domain.event import Event
from ..domain.retry import Schedule
from ..exceptions import DatabaseUnavailable, WebhookdError
from .batch import Batch, Item, Terms
from .desk import Desk
from .lease import NotHeld
from .sender import Sender

logger = logging.getLogger(__name__)

BATCH_EVENTS: Final = 200
BATCH_CHARACTERS: Final = 8 * 1024 * 1024
BATCH_DELIVERIES: Final = 2000
PROBE_SECONDS: Final = 0.5
IDLE_SECONDS: Final = 5.0
TELL_SECONDS: Final = 5.0
FLOOD_SECONDS: Final = 2.0


class EventRefused(WebhookdError):
    """The event cannot be stored."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """An event, and who wants to know what became of it.

    ``done`` is called once, on the intake's thread and after the commit: with the number of deliveries made (0 also
    for an event that nobody wants or that is in the journal already), with DatabaseUnavailable when it was not stored,
    or with EventRefused when this event can never be.
    """

    event: Event
    done: Callable[[int | Exception], None]


class Intake:
    """``submit`` may be called from any thread; callers bound what is under way (prefetch, waiting REST threads).

    ``on_trouble(True)`` is called when the database goes away, ``on_trouble(False)`` when it is back; meanwhile
    arrivals are answered with DatabaseUnavailable at once.
    """

    def __init__(
        self,
        desk: Desk,
        sender: Sender,
        schedule: Schedule,
        *,
        retention_days: float,
        on_trouble: Callable[[bool], None] = lambda away: None,
    ) -> None:
        self._desk = desk
        self._catalog = desk.catalog
        self._sender = sender
        self._terms = Terms(schedule.waits[0], schedule.max_attempts, retention_days)
        self._on_trouble = on_trouble
        self._arrivals: queue.SimpleQueue[Arrival | None] = queue.SimpleQueue()
        self._away = False
        self._flood_since: float | None = None
        self._next_probe = 0.0
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self.beat = time.monotonic()
        """When its loop last came round."""

    def submit(self, arrival: Arrival) -> None:
        self._arrivals.put(arrival)

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name='intake', daemon=True)
        self._thread.start()

    def stop(self, grace: float = 5.0) -> None:
        """Store what has come in, within ``grace`` seconds."""
        self._stopping.set()
        self._arrivals.put(None)
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.join(grace)

    # -- the thread ------------------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            self.beat = time.monotonic()
            batch = self._collect()
            self._see_flood(len(batch) >= BATCH_EVENTS)
            if batch:
                try:
                    self._take(batch)
                except Exception:
                    logger.exception('intake failed')
                    for item in batch:
                        item.answer(DatabaseUnavailable('The event could not be stored.'))
            elif self._stopping.is_set():
                return
            elif self._away:
                self._is_back()

    def _see_flood(self, full: bool) -> None:
        """While more comes in than one batch takes, the admitter leaves the processors to intake: what came last, and
        all that other tenants send meanwhile, waits behind it in the queue of the bus. Not for longer than a moment."""
        now = time.monotonic()
        if not full:
            self._flood_since = None
        elif self._flood_since is None:
            self._flood_since = now
        self._desk.flooded = self._flood_since is not None and now - self._flood_since < FLOOD_SECONDS

    def _collect(self) -> list[Item]:
        """Wait for an arrival, and take what else is there up to a batch. Empty: nothing came for a while."""
        batch: list[Item] = []
        characters = 0
        while len(batch) < BATCH_EVENTS and characters < BATCH_CHARACTERS:
            try:
                arrival = self._next(wait=not batch)
            except queue.Empty:
                break
            if arrival is None:
                break
            batch.append(Item(arrival.event, arrival.done))
            characters += len(arrival.event.text)
        return batch

    def _next(self, wait: bool) -> Arrival | None:
        if not wait or self._stopping.is_set():
            return self._arrivals.get_nowait()
        return self._arrivals.get(timeout=PROBE_SECONDS if self._away else IDLE_SECONDS)

    def _take(self, batch: list[Item]) -> None:
        if self._away and not self._is_back():
            self._send_back(batch)
            return
        self._store(batch)

    def _store(self, items: Sequence[Item]) -> None:
        """Store them; one event that the database refuses costs only itself."""
        left = list(items)
        while left:
            batch = Batch(self._desk, self._terms, left, most=BATCH_DELIVERIES)
            left = left[len(batch.items) + len(batch.refused) :]
            for item, error in batch.refused:
                self._refuse_one(item, error)
            try:
                self._write(batch)
            except DatabaseUnavailable as error:
                self._went_away(error)
                if batch.committing:
                    self._write_until_sure(batch.items)
                else:
                    self._send_back(batch.items)
            except Exception as error:
                if is_database_error(error) and not is_about_data(error):
                    self._went_away(error)  # rights, a missing table: not this event's fault
                    self._send_back(batch.items)
                elif len(batch.items) > 1:
                    middle = len(batch.items) // 2
                    self._store(batch.items[:middle])
                    self._store(batch.items[middle:])
                else:
                    self._refuse_one(batch.items[0], error)
            if self._away:
                self._send_back(left)
                return

    def _refuse_one(self, item: Item, error: Exception) -> None:
        event = item.event
        if not is_about_data(error):
            logger.error('event %s (%s) cannot be stored', event.uuid, event.name[:100], exc_info=error)
        reason = f'{type(error).__name__}: {error}'.splitlines()[0][:200]
        item.answer(EventRefused(f'The event cannot be stored: {reason}'))

    def _write(self, batch: Batch) -> None:
        """One transaction and what follows it. Raises DatabaseUnavailable, or what the data is guilty of."""
        lease = self._desk.lease
        if not batch.items:
            return
        if lease.held:
            try:
                with lease.turn():
                    self._write_admitted(batch)
            except NotHeld:
                self._write_unadmitted(batch)
        else:
            self._write_unadmitted(batch)
        self._desk.wake()
        self._came_back()
        for item in batch.items:
            item.answer(item.count)

    def _write_admitted(self, batch: Batch) -> None:
        try:
            with self._desk.lease.transaction(intake=batch.guard) as (connection, state):
                batch.fill(connection, state, admitting=True)
                batch.committing = True
        except BaseException:
            batch.undo()
            raise
        batch.settle()
        self._sender.send(batch.parcels)

    def _write_unadmitted(self, batch: Batch) -> None:
        with self._desk.database.transaction() as connection:
            batch.fill(connection, admission_rows.state(connection, intake=batch.guard), admitting=False)
            batch.committing = True
        batch.settle_unadmitted()

    # -- the database is away ----------------------------------------------------------------------

    def _write_until_sure(self, items: Sequence[Item]) -> None:
        """Repeat what may have been committed until it certainly is: uuids and rows stay the same."""
        began = time.monotonic()
        while not self._stopping.wait(PROBE_SECONDS):
            self.beat = time.monotonic()
            try:
                self._write(Batch(self._desk, self._terms, items, again=True))
                return
            except DatabaseUnavailable:
                pass
            except Exception:
                logger.exception('%d events that may be stored cannot be stored again', len(items))
                self._send_back(items)
                return
            if time.monotonic() - began > TELL_SECONDS:
                for item in items:
                    if item.event.source == 'rest':  # somebody waits for the answer
                        item.answer(DatabaseUnavailable())
            self._refuse_arrivals()
        self._send_back(items)

    def _refuse_arrivals(self) -> None:
        while True:
            try:
                arrival = self._arrivals.get_nowait()
            except queue.Empty:
                return
            if arrival is not None:
                Item(arrival.event, arrival.done).answer(DatabaseUnavailable())

    def _send_back(self, items: Sequence[Item]) -> None:
        for item in items:
            item.answer(DatabaseUnavailable())

    def _went_away(self, error: Exception) -> None:
        self._desk.outage.began()
        self._next_probe = time.monotonic() + PROBE_SECONDS
        if not self._away:
            self._away = True
            logger.warning('events are not accepted: %s', error)
            self._tell_trouble(True)

    def _came_back(self) -> None:
        if self._away:
            self._away = False
            self._desk.outage.answered()
            logger.info('events are accepted again')
            self._tell_trouble(False)

    def _tell_trouble(self, away: bool) -> None:
        try:
            self._on_trouble(away)
        except Exception:
            logger.exception('nobody could be told that the database is %s', 'away' if away else 'back')

    def _is_back(self) -> bool:
        now = time.monotonic()
        if now < self._next_probe:
            return False
        try:
            with self._desk.database.reading() as connection:
                admission_rows.state(connection)
        except (DatabaseUnavailable, SQLAlchemyError):
            self._next_probe = time.monotonic() + PROBE_SECONDS
            return False
        self._came_back()
        return True
