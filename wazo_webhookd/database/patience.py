"""Cuts connections on which a statement waits for too long: a frozen server would keep their threads for ever."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from sqlalchemy import Engine

LOOK_SECONDS: Final = 1.0
DOUBT_SECONDS: Final = 2.0
"""How long a statement waits before the server is asked whether it is there at all."""

_WAITS: Final = ('do_execute', 'do_execute_no_params', 'do_executemany', 'do_commit', 'do_rollback')


class Patience:
    """Watches the statements of an engine of psycopg2; the library itself waits without end.

    A statement is cut after ``seconds``, and long before when ``says_nothing()``: the server answers nobody. It raises
    what a lost connection raises. ``close`` ends the thread, the next statement starts another.
    """

    def __init__(self, seconds: float, says_nothing: Callable[[], bool]) -> None:
        self._seconds = seconds
        self._says_nothing = says_nothing
        self._waiting: dict[int, tuple[float, Any]] = {}
        self._closed = threading.Event()
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None

    def watch(self, engine: Engine) -> None:
        for name in _WAITS:
            setattr(engine.dialect, name, self.limited(getattr(engine.dialect, name)))

    def limited(self, wait: Callable[..., Any]) -> Callable[..., Any]:
        """``wait``, whose first argument is a connection of the driver or a cursor of one."""

        def limited(asked: Any, *more: Any, **named: Any) -> Any:
            if self._thread is None:
                self._start()
            key = id(asked)
            self._waiting[key] = (time.monotonic(), asked)
            try:
                return wait(asked, *more, **named)
            finally:
                del self._waiting[key]

        return limited

    def close(self) -> None:
        self._closed.set()

    def _start(self) -> None:
        with self._starting:
            if self._thread is None:
                self._closed = threading.Event()
                self._thread = threading.Thread(target=self._look, args=(self._closed,), daemon=True, name='patience')
                self._thread.start()

    def _look(self, closed: threading.Event) -> None:
        asked_at = 0.0
        while not closed.wait(LOOK_SECONDS):
            for asked in self._waiting_for(self._seconds):
                _cut(asked)
            if time.monotonic() - asked_at > DOUBT_SECONDS and self._waiting_for(DOUBT_SECONDS):
                asked_at = time.monotonic()
                if self._says_nothing():
                    for asked in self._waiting_for(DOUBT_SECONDS):
                        _cut(asked)
        self._thread = None

    def _waiting_for(self, seconds: float) -> list[Any]:
        limit = time.monotonic() - seconds
        return [asked for since, asked in list(self._waiting.values()) if since < limit]


def _cut(asked: Any) -> None:
    """Whoever waits on the connection, or on that of this cursor, hears that it is lost."""
    with suppress(Exception):
        connection = asked if hasattr(asked, 'fileno') else asked.connection
        with socket.socket(fileno=os.dup(connection.fileno())) as copy:
            copy.shutdown(socket.SHUT_RDWR)
