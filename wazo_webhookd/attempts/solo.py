"""The desk of a process of the prefork pool: one attempt at a time, which waits for its commit."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from threading import Event

from wazo_webhookd.domain.delivery import Ticket, Word
from wazo_webhookd.exceptions import DatabaseUnavailable

from .claims import WAIT_SECONDS, Rows, fresh
from .clock import Clock
from .desk import Records, record_of
from .inhand import Attempt, InHand
from .parcel import Parcel
from .recorder import AGAIN_SECONDS
from .runner import Outcome, Runner

logger = logging.getLogger(__name__)


class NoMessage:
    """Celery acknowledges when the task returns."""

    def acknowledge(self) -> None: ...

    def give_back(self) -> None: ...


class Solo:
    """``on_overdue`` is called when a service took too long and that is recorded: it ends the process."""

    def __init__(
        self,
        clock: Clock,
        runner: Runner,
        recorder: Records,
        rows: Rows,
        life: str,
        *,
        limit_of: Callable[[str], float],
        tell: Callable[[Sequence[Word]], None],
        on_overdue: Callable[[], None],
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.clock = clock
        self.in_hand = InHand()
        self._runner = runner
        self._recorder = recorder
        self._rows = rows
        self._life = life
        self._limit_of = limit_of
        self._tell = tell
        self._on_overdue = on_overdue
        self._sleep = sleep

    def deliver(self, ticket: Ticket, task_name: str, parcel: Parcel, redelivered: bool) -> None:
        """Returns when the attempt is in the database, or when it is not ours to make."""
        limit = self._limit_of(ticket.service)
        attempt = Attempt(ticket, task_name, None, NoMessage(), redelivered, self.clock.monotonic(), limit)
        attempt.event_text = parcel.event_text
        if not fresh(ticket, redelivered, self.clock.now()) and not self._claimed(attempt):
            return
        self.in_hand.take(attempt)
        attempt.started_at, attempt.started = self.clock.now(), self.clock.monotonic()
        committed = self._conclude(attempt, self._runner.run(ticket, task_name, parcel))
        if committed is not None:
            committed.wait()

    def overdue(self) -> None:
        """Called now and then by another thread."""
        now = self.clock.monotonic()
        for attempt in self.in_hand.open():
            if attempt.started is not None and now - attempt.started > attempt.limit:
                committed = self._conclude(attempt, self._runner.overdue(attempt.ticket, attempt.limit))
                if committed is not None:
                    committed.wait()
                    self._on_overdue()

    def serve_claims(self) -> None:
        """Nothing: each attempt claims for itself."""

    def _claimed(self, attempt: Attempt) -> bool:
        self._sleep(WAIT_SECONDS)
        times = 0
        while True:
            try:
                granted = self._rows.hold({attempt.send}, self._life)
                break
            except DatabaseUnavailable:
                self._sleep(AGAIN_SECONDS[min(times, len(AGAIN_SECONDS) - 1)])
                times += 1
        attempt.claimed = attempt.held = bool(granted)
        if not granted:
            logger.info('dropped a message of delivery %s, which went on without it', attempt.ticket.delivery)
            self._tell([Word(*attempt.send, 'dropped', 0.0)])
        return attempt.claimed

    def _conclude(self, attempt: Attempt, outcome: Outcome) -> Event | None:
        """The event that is set after the commit; None when another outcome of this attempt counts."""
        if not attempt.settle():
            return None
        committed = Event()

        def done() -> None:
            self.in_hand.let_go(attempt)
            committed.set()

        now = self.clock.now()
        self._recorder.add(record_of(attempt.ticket, outcome, attempt.event_text, attempt.started_at, now, done))
        return committed
