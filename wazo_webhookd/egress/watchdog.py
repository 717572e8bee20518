"""Ends connections whose total deadline has passed, whatever they are waiting for.

A socket's own timeout counts from byte to byte, so a receiver that drips is never late. One thread per
process shuts such sockets down underneath their users: a thread stuck in a read, in a write or inside a TLS
handshake wakes up with an error or an end of data, and learns from ``release`` that its time was up.
"""

from __future__ import annotations

import contextlib
import itertools
import socket
import threading
import time
from collections.abc import Callable
from typing import Final

TICK: Final = 0.05
"""Seconds between two looks: how late a deadline may strike."""

REST: Final = 5.0
"""Seconds between two calls of ``on_rest`` while nothing is watched."""


class Watchdog:
    """Shared by all threads. ``on_rest`` is called every few seconds on the watchdog's thread."""

    def __init__(self, on_rest: Callable[[], None] = lambda: None) -> None:
        self._watched: dict[int, tuple[float, socket.socket]] = {}
        self._tokens = itertools.count()
        self._on_rest = on_rest
        self._wanted = threading.Event()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._stopped = False

    def watch(self, sock: socket.socket, deadline: float) -> int:
        """Shut the socket down at ``deadline`` (monotonic seconds) unless the returned token is released before."""
        token = next(self._tokens)
        self._watched[token] = (deadline, sock)
        if not self._wanted.is_set():
            self._wanted.set()
            self._start()
        return token

    def release(self, token: int) -> bool:
        """Stop watching. False when the deadline has struck: the connection is dead."""
        return self._watched.pop(token, None) is not None

    def __contains__(self, token: int) -> bool:
        return token in self._watched

    def stop(self) -> None:
        self._stopped = True
        self._wanted.set()

    def _start(self) -> None:
        with self._lock:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name='egress-watchdog', daemon=True)
                self._thread.start()

    def _run(self) -> None:
        rested = time.monotonic()
        while not self._stopped:
            if self._watched:
                time.sleep(TICK)
                self._strike(time.monotonic())
            else:
                self._wanted.clear()
                if not self._watched:
                    self._wanted.wait(REST)
            if time.monotonic() - rested >= REST:
                rested = time.monotonic()
                self._on_rest()

    def _strike(self, now: float) -> None:
        for token, (deadline, sock) in list(self._watched.items()):
            if deadline <= now and self._watched.pop(token, None) is not None:  # whoever pops it decides
                with contextlib.suppress(OSError):
                    # Not SSLSocket.shutdown, which would take the TLS layer away under its user.
                    socket.socket.shutdown(sock, socket.SHUT_RDWR)
