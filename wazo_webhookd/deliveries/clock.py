"""The database's clock as this process knows it: all daemons and workers go by it."""

from __future__ import annotations

import time


class DatabaseClock:
    """Told the time with each transaction, it goes on by itself; never set back by changes of the machine's clock."""

    def __init__(self) -> None:
        self._ahead = time.time() - time.monotonic()

    def set(self, now: float) -> None:
        """``now``: Unix seconds, just read from the database."""
        self._ahead = now - time.monotonic()

    def now(self) -> float:
        """Unix seconds."""
        return time.monotonic() + self._ahead


class Outage:
    """Whether the database is away, and whether enough time has passed since for judging who is dead."""

    def __init__(self, quiet_seconds: float) -> None:
        self._quiet_seconds = quiet_seconds
        self._quiet_until = 0.0
        self.away = False

    def began(self) -> None:
        self.away = True
        self._quiet_until = time.monotonic() + self._quiet_seconds

    def ended(self, seconds_ago: float = 0.0) -> None:
        """The database answers, and has for so long."""
        self.away = False
        self._quiet_until = time.monotonic() + self._quiet_seconds - seconds_ago

    def answered(self) -> None:
        """A transaction went through."""
        if self.away:
            self.ended()

    @property
    def over(self) -> bool:
        """Lives had time to renew themselves, finished attempts to be recorded."""
        return not self.away and time.monotonic() >= self._quiet_until
