"""Log lines about single messages, without a flood of them when every message is bad."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Final

LINES_PER_MINUTE: Final = 100


class Rarely:
    """Passes on at most LINES_PER_MINUTE warnings a minute, then says once how many were left out."""

    def __init__(self, logger: logging.Logger, clock: Callable[[], float] = time.monotonic) -> None:
        self._logger = logger
        self._clock = clock
        self._minute = -1
        self._lines = 0

    def warning(self, text: str, *arguments: object) -> None:
        minute = int(self._clock() // 60)
        if minute != self._minute:
            left_out = self._lines - LINES_PER_MINUTE
            if left_out > 0:
                self._logger.warning('%d more lines like the last ones were left out', left_out)
            self._minute, self._lines = minute, 0
        self._lines += 1
        if self._lines <= LINES_PER_MINUTE:
            self._logger.warning(text, *arguments)
