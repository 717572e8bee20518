"""When periodic work is due."""

from __future__ import annotations

import time
from typing import Final

NEVER: Final = float('inf')


class Timetable:
    """What is not in it is due now. Thread-safe for what the admitter does with it: single assignments."""

    def __init__(self) -> None:
        self._due: dict[str, float] = {}

    def soon(self, *names: str) -> None:
        """Due at once."""
        for name in names:
            self._due[name] = 0.0

    def later(self, name: str, seconds: float) -> None:
        """Not due before so many seconds have passed."""
        self._due[name] = time.monotonic() + seconds

    def is_due(self, name: str, every: float) -> bool:
        """Is it time? If so it is not before ``every`` seconds have passed."""
        if self._due.get(name, 0.0) > time.monotonic():
            return False
        self.later(name, every)
        return True

    def seconds_until(self, *names: str) -> float:
        """Until the first of these is due; 0 if one is."""
        return max(0.0, min(self._due.get(name, 0.0) for name in names) - time.monotonic())
