"""The hands of a process: threads that run jobs, and can be written off when a job does not return."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

logger = logging.getLogger(__name__)


class Hands:
    """At most ``count`` threads, started when needed; daemons, so that one that hangs never keeps the process.

    ``on_change`` is called, on any thread, when a hand was lost or came back.
    """

    def __init__(self, count: int, on_change: Callable[[], None] = lambda: None) -> None:
        self.count = count
        self._on_change = on_change
        self._jobs: SimpleQueue[tuple[Any, Callable[[], None]] | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._idle = threading.Condition(self._lock)
        self._unfinished = 0  # waiting or running, written off ones apart
        self._threads = 0  # likewise
        self._running: set[Any] = set()
        self._lost: set[Any] = set()
        self._closed = False

    @property
    def busy(self) -> int:
        """Jobs waiting or running, those written off apart."""
        return self._unfinished

    @property
    def lost(self) -> int:
        """Hands written off."""
        return len(self._lost)

    def submit(self, key: Any, job: Callable[[], None]) -> None:
        """Run the job on a hand; ``key`` names it for ``write_off``."""
        with self._lock:
            self._unfinished += 1
            more = self._unfinished > self._threads and self._threads < self.count - len(self._lost)
            if more:
                self._threads += 1
                number = self._threads
        self._jobs.put((key, job))
        if more:
            threading.Thread(target=self._work, name=f'hand-{number}', daemon=True).start()

    def write_off(self, key: Any) -> bool:
        """Count on the hand that runs this job no more; False if none does."""
        with self._lock:
            if key not in self._running or key in self._lost:
                return False
            self._lost.add(key)
            self._threads -= 1
            self._unfinished -= 1
            self._idle.notify_all()
        self._on_change()
        return True

    def wait_idle(self, timeout: float | None) -> bool:
        """Until no job waits or runs (written off ones apart); False after ``timeout`` seconds."""
        with self._idle:
            return self._idle.wait_for(lambda: self._unfinished == 0, timeout)

    def close(self) -> None:
        """Idle threads end; those that run a job end after it."""
        self._closed = True
        for _ in range(self._threads + len(self._lost)):
            self._jobs.put(None)

    def _work(self) -> None:
        while (item := self._jobs.get()) is not None and not self._closed:
            key, job = item
            with self._lock:
                self._running.add(key)
            try:
                job()
            except BaseException:  # SystemExit of a guest, too: it ends neither thread nor process
                logger.exception('a hand failed')
            with self._lock:
                self._running.discard(key)
                came_back = key in self._lost
                if came_back:
                    self._lost.discard(key)
                    self._threads += 1
                else:
                    self._unfinished -= 1
                if not self._unfinished:
                    self._idle.notify_all()
            if came_back:
                self._on_change()
