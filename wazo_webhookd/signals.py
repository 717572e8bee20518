"""Turns signals, and other parts' wish that the daemon end, into something its main thread can wait for."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Final

END: Final = b'.'
HANGUP: Final = b'h'


class Stop:
    """``wait()`` returns the exit code once a signal came or ``ask(code)`` was called.

    A signal handler may interrupt anything, so it only writes a byte to a pipe. ``on_hurry`` is called in the
    handler when a second signal says that it takes too long, ``on_hangup`` within ``wait`` for each SIGHUP; without it
    SIGHUP (the terminal was closed) ends the program like the others.
    """

    def __init__(self, on_hurry: Callable[[], None], on_hangup: Callable[[], None] | None = None) -> None:
        self._on_hurry = on_hurry
        self._on_hangup = on_hangup
        self._ear, self._bell = os.pipe()
        self._lock = threading.Lock()
        self._code: int | None = None
        self._signals = 0

    def listen(self) -> None:
        """Take over SIGTERM, SIGINT and SIGHUP; only the main thread can."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._on_signal)

    def ask(self, code: int) -> None:
        """End with this exit code; the first one asked for counts. From any thread."""
        with self._lock:
            if self._code is None:
                self._code = code
        os.write(self._bell, END)

    def wait(self) -> int:
        while True:
            said = os.read(self._ear, 64)
            if HANGUP in said and self._on_hangup is not None:
                self._on_hangup()
            if END in said:
                return self._code or 0

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGHUP and self._on_hangup is not None:
            os.write(self._bell, HANGUP)
            return
        self._signals += 1
        if self._signals > 1:
            self._on_hurry()
        os.write(self._bell, END)
