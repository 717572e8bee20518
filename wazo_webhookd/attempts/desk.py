"""The desk: every message of a delivery is received here, handed to a hand, and cleared away when it is recorded."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from threading import Lock
from typing import Any, Protocol

from wazo_webhookd.database.attempts import Ended
from wazo_webhookd.domain.delivery import Ticket, Word
from wazo_webhookd.domain.detail import reason_of, remembered

from .claims import STALE_SECONDS, Claims, Rows, fresh
from .clock import Clock
from .hands import Hands
from .inhand import Attempt, InHand, Message
from .parcel import BadParcel, open_parcel
from .recorder import Record
from .runner import Outcome, Runner

logger = logging.getLogger(__name__)


class Records(Protocol):
    def add(self, record: Record) -> None: ...


class Desk:
    """For one process with hands. ``receive`` is called by the broker's thread; nothing here waits."""

    def __init__(
        self,
        clock: Clock,
        hands: Hands,
        runner: Runner,
        recorder: Records,
        rows: Rows,
        life: str,
        *,
        limit_of: Callable[[str], float],
        tell: Callable[[Sequence[Word]], None],
    ) -> None:
        """``limit_of(service)``: seconds that an attempt may take. ``tell``: words that nothing else carries."""
        self.clock = clock
        self.hands = hands
        self.in_hand = InHand()
        self.claims = Claims(rows, life, clock, self._start, self._drop, tell)
        self._runner = runner
        self._recorder = recorder
        self._limit_of = limit_of
        self._parked: list[Attempt] = []
        self._gate = Lock()
        self.paused = False
        self.leaving = False

    def receive(
        self, ticket: Ticket, headers: Mapping[str, Any], body: Any, message: Message, redelivered: bool
    ) -> None:
        """A message came. It is started, asked about, parked while the database is away, or given back."""
        received = self.clock.monotonic()
        limit = self._limit_of(ticket.service)
        attempt = Attempt(ticket, headers.get('task', ''), body, message, redelivered, received, limit)
        if not self.in_hand.take(attempt):
            logger.info('delivery %s is in hand already', ticket.delivery)
            return
        self._admit(attempt)

    def pause(self) -> None:
        """The database is away: start nothing, since nothing could be recorded."""
        self.paused = True

    def resume(self) -> None:
        with self._gate:
            self.paused = False
            parked, self._parked = self._parked, []
        for attempt in parked:
            self._consider(attempt)

    def leave(self) -> None:
        """Take nothing more; what was not started goes back to the broker."""
        with self._gate:
            self.leaving = True
            parked, self._parked = self._parked, []
        for attempt in [*parked, *self.claims.take_all()]:
            self._give_back(attempt)

    def overdue(self) -> None:
        """Give up the attempts whose service took too long; their hands are written off."""
        now = self.clock.monotonic()
        for attempt in self.in_hand.open():
            if attempt.started is not None and now - attempt.started > attempt.limit:
                outcome = self._runner.overdue(attempt.ticket, attempt.limit)
                if self._conclude(attempt, outcome) and self.hands.write_off(attempt):
                    logger.error(
                        'service %s did not return within %g s (delivery %s): a hand is written off',
                        attempt.ticket.service, attempt.limit, attempt.ticket.delivery,
                    )  # fmt: skip

    def serve_claims(self) -> None:
        """Called now and then by another thread. Raises DatabaseUnavailable."""
        self.claims.serve()

    def _admit(self, attempt: Attempt) -> None:
        with self._gate:
            if self.paused and not self.leaving:
                attempt.asks = True
                self._parked.append(attempt)
                return
        if self.leaving:
            self._give_back(attempt)
        else:
            self._consider(attempt)

    def _consider(self, attempt: Attempt) -> None:
        if fresh(attempt.ticket, attempt.redelivered, self.clock.now()):
            attempt.asks = False
            self._start(attempt)
        else:
            self.claims.ask(attempt)

    def _start(self, attempt: Attempt) -> None:
        self.hands.submit(attempt, lambda: self._work(attempt))

    def _work(self, attempt: Attempt) -> None:
        if self.leaving:
            self._give_back(attempt)
            return
        started = self.clock.monotonic()
        if not attempt.claimed and (self.paused or started - attempt.received > STALE_SECONDS):
            self.claims.ask(attempt, 0.0)
            return
        attempt.started_at = self.clock.now()
        attempt.started = started
        try:
            parcel = open_parcel(attempt.body)
            attempt.event_text = parcel.event_text
        except BadParcel as error:
            outcome = self._runner.unreadable(attempt.ticket, error)
        else:
            attempt.body = None
            outcome = self._runner.run(attempt.ticket, attempt.task_name, parcel)
        if not self._conclude(attempt, outcome):
            logger.info('service %s returned too late; its result is ignored', attempt.ticket.service)

    def _conclude(self, attempt: Attempt, outcome: Outcome) -> bool:
        if not attempt.settle():
            return False
        record = record_of(
            attempt.ticket,
            outcome,
            attempt.event_text,
            attempt.started_at,
            self.clock.now(),
            lambda: self._clear(attempt),
        )
        self._recorder.add(record)
        return True

    def _clear(self, attempt: Attempt) -> None:
        """It is in the database: the broker may forget it."""
        for message in self.in_hand.let_go(attempt):
            message.acknowledge()
        successor, attempt.successor = attempt.successor, None
        if successor is not None and self.in_hand.take(successor):
            self._admit(successor)

    _drop = _clear

    def _give_back(self, attempt: Attempt) -> None:
        for message in self.in_hand.let_go(attempt):
            message.give_back()


def record_of(
    ticket: Ticket, outcome: Outcome, event_text: str | None, started: float, ended: float, done: Callable[[], None]
) -> Record:
    """The row and the word of an attempt; times by the database's clock."""
    due = ended + outcome.wait if outcome.wait is not None else None
    row = Ended(
        ticket.delivery,
        ticket.subscription,
        ticket.attempt,
        ticket.send,
        ticket.max_attempts,
        outcome.status,
        started,
        ended,
        event_text,
        _text_of(outcome),
        due,
        reason_of(outcome.detail) if outcome.status == 'error' else None,
    )
    word = Word(
        ticket.delivery, ticket.attempt, ticket.send, outcome.verdict, round(ended - started, 4), due, outcome.rest
    )
    return Record(row, word, done, ticket.service)


def _text_of(outcome: Outcome) -> str:
    try:
        return remembered(outcome.detail)
    except Exception:  # an odd object of a guest must not cost the attempt
        logger.exception('a detail cannot be kept')
        return remembered({'error': 'What this attempt left could not be stored.'})
