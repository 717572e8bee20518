"""How a process with hands ends: it finishes what it has for a while, records it, gives back the rest, and says so."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from typing import Final

from .runtime import Runtime

logger = logging.getLogger(__name__)

FLUSH_SECONDS: Final = 5.0
ACKNOWLEDGE_SECONDS: Final = 2.0


class Departure:
    """``stop`` is called at the end: it makes the broker's loop return."""

    def __init__(self, runtime: Runtime, stop: Callable[[], None], grace: float) -> None:
        assert runtime.front is not None, 'for processes with hands'
        self._runtime = runtime
        self._front = runtime.front
        self._stop = stop
        self.grace = grace
        self._lock = threading.Lock()
        self._begun = False
        self._signals = 0
        self._deadline = 0.0
        self._hurry = threading.Event()
        self._done = threading.Event()
        self.code = 0

    def begin(self, code: int, *, grace: float | None = None, signal: bool = False) -> None:
        """Start to leave, in a thread of its own; returns at once. The first code counts.

        A later call can only make the time shorter; a second ``signal`` ends it.
        """
        deadline = time.monotonic() + (self.grace if grace is None else grace)
        with self._lock:
            self._signals += signal
            if self._signals > 1:
                self._hurry.set()
            if self._begun:
                self._deadline = min(self._deadline, deadline)
                return
            self._begun = True
            self._deadline = deadline
            self.code = code
        threading.Thread(target=self._leave, name='departure', daemon=True).start()

    @property
    def begun(self) -> bool:
        return self._begun

    def wait(self, timeout: float) -> int:
        """The exit code, once everything is done (or the time is over)."""
        self.begin(0)
        self._done.wait(timeout)
        return self.code

    def leave_hard(self) -> None:
        """End the process now."""
        logging.shutdown()
        os._exit(self.code)

    def _leave(self) -> None:
        try:
            self._finish()
        except Exception:
            logger.exception('while leaving')
        self._done.set()
        self._stop()

    def _finish(self) -> None:
        runtime, front = self._runtime, self._front
        desk, loop = front.desk, front.loop
        front.switch.set_on(False)
        desk.leave()
        while not self._hurry.is_set() and time.monotonic() < self._deadline and not desk.hands.wait_idle(0.1):
            pass
        left = desk.hands.busy
        if not runtime.recorder.flush(FLUSH_SECONDS):
            logger.warning('the database is away: what was not recorded will be done again')
        if left:
            logger.warning('%d attempts did not end in time; they will be made again', left)
        deadline = time.monotonic() + ACKNOWLEDGE_SECONDS
        while not loop.empty and time.monotonic() < deadline:
            time.sleep(0.01)
        runtime.keeper.stop()
        runtime.recorder.stop(0.5)
