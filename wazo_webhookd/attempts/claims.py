"""May I start this attempt?"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from typing import Final, Protocol

from wazo_webhookd.database.attempts import Send
from wazo_webhookd.domain.delivery import MESSAGE_SECONDS, Ticket, Word

from .clock import Clock
from .inhand import Attempt

logger = logging.getLogger(__name__)

WAIT_SECONDS: Final = 2.0
"""Before a claim: an attempt that runs elsewhere is marked as held after one second."""

STALE_SECONDS: Final = 1.0
"""A message that waited longer for a hand is not fresh any more: another may have been given it."""


def fresh(ticket: Ticket, redelivered: bool, now: float) -> bool:
    """The usual case, in which nobody needs to be asked (architecture, 7). ``now``: the database's clock.

    Every attempt so far was sent once, the broker hands this message out for the first time, and it is too young
    to have been replaced by another.
    """
    return ticket.send == ticket.attempt and not redelivered and now - ticket.sent_at < MESSAGE_SECONDS


class Rows(Protocol):
    def hold(self, items: Collection[Send], life: str, words: list[Word] = ...) -> set[Send]: ...


class Claims:
    """The attempts that have to ask: after a wait, the row is marked as held by this life, or the message dropped.

    ``ask`` may be called from any thread, ``serve`` from one.
    """

    def __init__(
        self,
        rows: Rows,
        life: str,
        clock: Clock,
        start: Callable[[Attempt], None],
        drop: Callable[[Attempt], None],
        tell: Callable[[list[Word]], None],
    ) -> None:
        self._rows = rows
        self._life = life
        self._clock = clock
        self._start = start
        self._drop = drop
        self._tell = tell
        self._waiting: dict[tuple[str, int], tuple[float, Attempt]] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def ask(self, attempt: Attempt, wait: float = WAIT_SECONDS) -> None:
        attempt.asks = True
        self._waiting[attempt.key] = (self._clock.monotonic() + wait, attempt)

    def take_all(self) -> list[Attempt]:
        """Those that still wait; they are forgotten here."""
        taken = []
        while self._waiting:
            try:
                taken.append(self._waiting.popitem()[1][1])
            except KeyError:  # another thread was faster
                break
        return taken

    def serve(self) -> None:
        """Claim what has waited long enough. Raises DatabaseUnavailable; then everything waits on."""
        now = self._clock.monotonic()
        due = [attempt for at, attempt in list(self._waiting.values()) if at <= now]
        if not due:
            return
        granted = self._rows.hold({attempt.send for attempt in due}, self._life)
        refused = []
        for attempt in due:
            if self._waiting.pop(attempt.key, None) is None:
                continue  # given back meanwhile
            if attempt.send in granted:
                attempt.claimed = attempt.held = True
                attempt.asks = False
                self._start(attempt)
            else:
                refused.append(Word(*attempt.send, 'dropped', 0.0))
                self._drop(attempt)
        if refused:
            logger.info('dropped %d messages of deliveries that went on without them', len(refused))
            self._tell(refused)
