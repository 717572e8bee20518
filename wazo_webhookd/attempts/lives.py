"""The life of a worker: its row renewed, its clock set, and what takes longer marked as held by it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Final, Protocol

from sqlalchemy import Connection

from wazo_webhookd.database import processes, schema
from wazo_webhookd.database.attempts import Send
from wazo_webhookd.database.processes import RENEW_SECONDS, LifeForgotten
from wazo_webhookd.database.session import Database
from wazo_webhookd.domain.delivery import Word
from wazo_webhookd.exceptions import DatabaseUnavailable, SchemaBehind

from .claims import Rows as ClaimRows
from .clock import Clock
from .inhand import InHand

logger = logging.getLogger(__name__)

TICK_SECONDS: Final = 0.2
HOLD_SECONDS: Final = 1.0
AGAIN_SECONDS: Final = 0.5


class Contact:
    """Whether everybody in this process reaches the database; ``on_change(away)`` is called when that changes."""

    def __init__(self, on_change: Callable[[bool], None]) -> None:
        self._on_change = on_change
        self._complaints: set[str] = set()
        self._lock = threading.Lock()

    @property
    def away(self) -> bool:
        return bool(self._complaints)

    def lost_by(self, who: str) -> None:
        self._change(self._complaints.add, who)

    def found_by(self, who: str) -> None:
        if who in self._complaints:
            self._change(self._complaints.discard, who)

    def of(self, who: str) -> Party:
        return Party(self, who)

    def _change(self, change: Callable[[str], None], who: str) -> None:
        with self._lock:
            before = self.away
            change(who)
            if before != self.away:
                self._on_change(self.away)


class Party:
    """One that uses the database and says whether it got through."""

    def __init__(self, contact: Contact, who: str) -> None:
        self._contact = contact
        self._who = who

    def lost(self) -> None:
        self._contact.lost_by(self._who)

    def found(self) -> None:
        self._contact.found_by(self._who)


class LifeRows(ClaimRows, Protocol):
    def release(self, life: str) -> None: ...


class Register(Protocol):
    """This life's row. All raise DatabaseUnavailable."""

    def check(self) -> None: ...
    def begin(self, hands: int) -> datetime: ...
    def renew(self, hands: int, written_off: int) -> datetime: ...
    def end(self) -> None: ...


class Watched(Protocol):
    """What has attempts in hand: a desk.Desk or a solo.Solo."""

    in_hand: InHand

    def overdue(self) -> None: ...
    def serve_claims(self) -> None: ...


class Life(threading.Thread):
    """One thread per process: everything that needs the database now and then, in short statements.

    ``capacity()``: hands that can take work now, and those written off. ``on_misfit``: the schema does not fit.
    """

    def __init__(
        self,
        id: str,
        register: Register,
        rows: LifeRows,
        clock: Clock,
        contact: Party,
        *,
        capacity: Callable[[], tuple[int, int]],
        on_misfit: Callable[[SchemaBehind], None],
        tell: Callable[[Sequence[Word]], None] = lambda words: None,
    ) -> None:
        super().__init__(name='life', daemon=True)
        self.id = id
        self._register = register
        self._rows = rows
        self._clock = clock
        self._contact = contact
        self._capacity = capacity
        self._on_misfit = on_misfit
        self._tell = tell
        self._desk: Watched | None = None
        self._stopping = False
        self._look = threading.Event()
        self._begun = False
        self._told: tuple[int, int] | None = None
        self._next = 0.0
        self._hold_all = False
        self._told_away = False
        self.beat = time.monotonic()
        """When its loop last came round."""
        contact.lost()  # until the first registration

    def watch(self, desk: Watched) -> None:
        self._desk = desk

    def hold_all_soon(self) -> None:
        """The broker's connection was lost: what runs comes again elsewhere, so say at once that it is ours."""
        self._hold_all = True
        self.look()

    def look(self) -> None:
        """Something may have changed (the capacity): do not sleep until the next round. From any thread."""
        self._look.set()

    def stop(self, timeout: float = 3.0) -> None:
        """The life ends; its row says so when the database can be reached within the time."""
        self._stopping = True
        self._look.set()
        if self.is_alive():
            self.join(timeout)

    def run(self) -> None:
        while not self._stopping:
            self._look.clear()
            self.beat = time.monotonic()
            self.tick()
            self._look.wait(TICK_SECONDS)
        if self._begun:
            try:
                self._rows.release(self.id)
                self._register.end()
            except DatabaseUnavailable:
                logger.info('the database is away: this life ends there by its silence')

    def tick(self) -> None:
        """One round; everything is tried again in the next one when the database is away."""
        try:
            if self._desk is not None:
                self._desk.overdue()
            renewed = self._clock.monotonic() >= self._next or (self._begun and self._capacity() != self._told)
            if renewed:
                self._renew()
            if self._begun and self._desk is not None:
                self._hold(self._desk)
                self._desk.serve_claims()
            if renewed and self._told_away:
                self._told_away = False
                logger.info('the database is back')
        except SchemaBehind as misfit:
            self._next = self._clock.monotonic() + AGAIN_SECONDS
            self._on_misfit(misfit)
        except DatabaseUnavailable as error:
            if not self._told_away:
                self._told_away = True
                logger.warning('%s: %s', 'the database is away' if self._begun else 'waiting for the database', error)
            self._next = self._clock.monotonic() + AGAIN_SECONDS
            self._contact.lost()
        except Exception:  # a thread that ends here would end this life, with everything in hand
            logger.exception('in the life of this worker')

    def _renew(self) -> None:
        capacity = self._capacity()
        asked = self._clock.monotonic()
        if self._begun:
            try:
                now = self._register.renew(*capacity)
            except LifeForgotten:
                now = self._register.begin(capacity[0])
        else:
            self._register.check()
            asked = self._clock.monotonic()
            now = self._register.begin(capacity[0])
        answered = self._clock.monotonic()
        self._clock.set(now, asked, answered)
        self._begun, self._told = True, capacity
        self._next = answered + RENEW_SECONDS
        self._contact.found()

    def _hold(self, desk: Watched) -> None:
        now = self._clock.monotonic()
        age = 0.0 if self._hold_all else HOLD_SECONDS
        late = [
            attempt
            for attempt in desk.in_hand.open()
            if not (attempt.held or attempt.asks) and now - attempt.received >= age
        ]
        if not late:
            self._hold_all = False
            return
        words = [
            Word(*attempt.send, 'running', round(now - attempt.started, 3))
            for attempt in late
            if attempt.started is not None
        ]
        sends: set[Send] = {attempt.send for attempt in late}
        self._rows.hold(sends, self.id, words)
        self._hold_all = False
        for attempt in late:
            attempt.held = True
        self._tell(words)


class ProcessRegister:
    """The row in the table of processes. ``kind``: worker or suspects.

    When its hands change, the admitter is told: by a notification of PostgreSQL, and with ``on_hands()``, called after
    the commit, in standalone.
    """

    def __init__(
        self,
        database: Database,
        id: str,
        kind: str,
        host: str,
        pid: int,
        *,
        on_hands: Callable[[], None] = lambda: None,
    ) -> None:
        self._database = database
        self._id = id
        self._kind = kind
        self._host = host
        self._pid = pid
        self._on_hands = on_hands
        self._told: tuple[int, int] | None = None

    def check(self) -> None:
        schema.check(self._database)

    def begin(self, hands: int) -> datetime:
        with self._saying((hands, 0)) as connection:
            return processes.register(connection, self._id, self._kind, self._host, self._pid, hands)

    def renew(self, hands: int, written_off: int) -> datetime:
        with self._saying((hands, written_off)) as connection:
            return processes.renew(connection, self._id, hands, written_off)

    def end(self) -> None:
        with self._saying(None) as connection:
            processes.end(connection, self._id)

    @contextmanager
    def _saying(self, hands: tuple[int, int] | None) -> Iterator[Connection]:
        """A transaction; who waits for hands hears of it when these are others than last time."""
        changed = hands != self._told
        with self._database.transaction() as connection:
            yield connection
            if changed:
                processes.tell_hands(connection)
        self._told = hands
        if changed:
            self._on_hands()
