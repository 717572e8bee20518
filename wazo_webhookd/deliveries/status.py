"""The component ``deliveries`` of ``GET /status``."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

from ..database import counts, processes
from ..database.session import Database
from ..domain.delivery import OUT
from ..exceptions import DatabaseUnavailable
from .upkeep import WORKER

FRESH_SECONDS: Final = 1.0
NAMES: Final = ('waiting', 'out', 'window', 'oldest_waiting_seconds')


class DeliveriesStatus:
    """Counts the rows, so that every daemon says the same; at most once a second. ``has_broker()``: can this daemon
    send, as far as it has to?"""

    def __init__(self, database: Database, has_broker: Callable[[], bool]) -> None:
        self._database = database
        self._has_broker = has_broker
        self._last: tuple[float, dict[str, Any]] | None = None

    def __call__(self, *, away: bool = False) -> dict[str, Any]:
        """``status`` (ok, fail), ``waiting``, ``out``, ``window``, ``oldest_waiting_seconds``; counts are null when the
        database is away. ``away``: it is known to be, so that nobody need ask."""
        if away:
            return {'status': 'fail'} | dict.fromkeys(NAMES)
        now = time.monotonic()
        if self._last is not None and now - self._last[0] < FRESH_SECONDS:
            return dict(self._last[1])
        try:
            answer = self._count()
        except DatabaseUnavailable:
            return {'status': 'fail'} | dict.fromkeys(NAMES)
        self._last = (now, answer)
        return dict(answer)

    def _count(self) -> dict[str, Any]:
        with self._database.reading() as connection:
            waiting, oldest = counts.waiting(connection)
            out = counts.count(connection, OUT)
            living = processes.living(connection)
        window = sum(max(0, row.hands - row.written_off) for row in living if row.kind == WORKER)
        return {
            'status': 'ok' if window and self._has_broker() else 'fail',
            'waiting': waiting,
            'out': out,
            'window': window,
            'oldest_waiting_seconds': None if oldest is None else round(oldest, 3),
        }
