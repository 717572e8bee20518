"""Wakes a thread that waits for a socket."""

from __future__ import annotations

import os
import threading
from contextlib import suppress


class Bell:
    """A pipe that becomes readable. ``ring`` may be called on any thread, also after ``close``."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rung = False
        self.ear, self._button = os.pipe()
        os.set_blocking(self.ear, False)
        os.set_blocking(self._button, False)

    def ring(self) -> None:
        if self._rung:
            return
        with self._lock:
            self._rung = True
            if self._button >= 0:
                with suppress(BlockingIOError):
                    os.write(self._button, b'!')

    def hear(self) -> None:
        """Look at everything that could have been rung for after this, not before."""
        with suppress(BlockingIOError):
            os.read(self.ear, 4096)
        self._rung = False

    def close(self) -> None:
        with self._lock:
            if self._button >= 0:
                os.close(self._button)
                os.close(self.ear)
                self._button = -1
