"""Turns signals, and other parts' wish that the daemon end, into something its main thread can wait for."""

from __future__ import annotations

import os
import select
import signal
import threading
from collections.abc import Callable
from types import FrameType


class Stop:
    """``wait()`` returns the exit code once a signal came or ``ask(code)`` was called.

    A signal handler may interrupt anything, so it only writes a byte to a pipe. ``on_hurry`` is called in the
    handler when a second signal says that it takes too long.
    """

    def __init__(self, on_hurry: Callable[[], None]) -> None:
        self._on_hurry = on_hurry
        self._ear, self._bell = os.pipe()
        self._lock = threading.Lock()
        self._code: int | None = None
        self._signals = 0

    def listen(self) -> None:
        """Take over SIGTERM and SIGINT; only the main thread can."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)

    def ask(self, code: int) -> None:
        """End with this exit code; the first one asked for counts. From any thread."""
        with self._lock:
            if self._code is None:
                self._code = code
        os.write(self._bell, b'.')

    def wait(self) -> int:
        select.select([self._ear], [], [])
        return self._code or 0

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._signals += 1
        if self._signals > 1:
            self._on_hurry()
        os.write(self._bell, b'.')
