"""The database's clock, as this process knows it."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime


class Clock:
    """Unix seconds by the database's clock: measured now and then, counted on by the monotonic clock in between.

    Before the first measurement it is the machine's own.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic, wall: Callable[[], float] = time.time) -> None:
        self._monotonic = monotonic
        self._offset = wall() - monotonic()

    def now(self) -> float:
        return self._monotonic() + self._offset

    def monotonic(self) -> float:
        return self._monotonic()

    def set(self, database_now: datetime, asked_at: float, answered_at: float) -> None:
        """``database_now`` was read between two readings of the monotonic clock; half of the way is assumed."""
        self._offset = database_now.timestamp() - (asked_at + answered_at) / 2
