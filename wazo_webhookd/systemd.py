"""Tells systemd how the process is (sd_notify): ready, busy reloading, alive, about to end.

Nothing is said where nobody listens. The environment's variables are taken away, so that child processes,
for whom systemd has no ear, do not find them. Protocol: sd_notify(3), sd_watchdog_enabled(3).
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Mapping, MutableMapping
from typing import Final

logger = logging.getLogger(__name__)

STATUS_SECONDS: Final = 5.0
SILENT_SHARE: Final = 2 / 3
"""A loop is taken for hung after this share of the watchdog's time, so that systemd hears of it in time."""


class Manager:
    """The service manager that started this process, if there is one; all methods may be called from any thread."""

    def __init__(self, address: str | None = None, watchdog_seconds: float | None = None) -> None:
        self._address = '\0' + address[1:] if address and address[0] == '@' else address
        self.watchdog_seconds = watchdog_seconds
        self._status: str | None = None

    @classmethod
    def from_environment(cls, environ: MutableMapping[str, str] = os.environ) -> Manager:
        address = environ.pop('NOTIFY_SOCKET', None)
        microseconds = environ.pop('WATCHDOG_USEC', '')
        whom = environ.pop('WATCHDOG_PID', '')
        watched = address and microseconds.isdigit() and int(microseconds) > 0 and whom in ('', str(os.getpid()))
        return cls(address, int(microseconds) / 1e6 if watched else None)

    def ready(self, status: str) -> None:
        """Started, or done with reloading; ``status`` is a line for people (``systemctl status``)."""
        self._status = status
        self._tell('READY=1', f'STATUS={status}')

    def status(self, status: str) -> None:
        """Change that line; the same one again is not sent."""
        if status != self._status:
            self._status = status
            self._tell(f'STATUS={status}')

    def reloading(self) -> None:
        """``ready`` has to follow."""
        self._tell('RELOADING=1', f'MONOTONIC_USEC={time.monotonic_ns() // 1000}')

    def stopping(self, seconds: float) -> None:
        """It may take this many seconds, whatever the unit says."""
        self._tell('STOPPING=1', f'EXTEND_TIMEOUT_USEC={int(seconds * 1e6)}', 'STATUS=finishing what is under way')

    def alive(self) -> None:
        self._tell('WATCHDOG=1')

    def _tell(self, *words: str) -> None:
        if self._address is None:
            return
        text = '\n'.join(' '.join(word.splitlines()) for word in words)
        with (
            contextlib.suppress(OSError),
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as line,
        ):
            line.settimeout(1)
            line.connect(self._address)
            line.send(text.encode())


class Watchdog:
    """Says ``alive`` as long as every loop comes round, and keeps the status line fresh.

    ``beats``: for each loop, by its name, when it last came round (``time.monotonic()``). Once one is silent for
    too long nothing is said any more: systemd ends the process and starts another.
    """

    def __init__(
        self,
        manager: Manager,
        beats: Mapping[str, Callable[[], float]],
        status: Callable[[], str],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._manager = manager
        self._beats = beats
        self._status = status
        self._monotonic = monotonic
        watched = manager.watchdog_seconds
        self._patience = None if watched is None else watched * SILENT_SHARE
        self._every = STATUS_SECONDS if watched is None else min(STATUS_SECONDS, watched / 6)
        self._told: set[str] = set()
        self._thread = threading.Thread(target=self._run, name='watchdog', daemon=True)

    def start(self) -> None:
        self._thread.start()

    def let_end(self) -> None:
        """The loops end now, in their time: none of them has to come round any more."""
        self._beats = {}

    def look(self) -> None:
        """One round."""
        if self._patience is None:
            return
        oldest = self._monotonic() - self._patience
        hung = {name for name, beat in self._beats.items() if beat() < oldest}
        for name in hung - self._told:
            logger.critical(
                '%s has not come round for %.0f s: systemd will start the program again', name, self._patience
            )
        for name in self._told - hung:
            logger.error('%s comes round again', name)
        self._told = hung
        if not hung:
            self._manager.alive()

    def _run(self) -> None:
        while True:
            time.sleep(self._every)
            try:
                self.look()
                if self._beats:
                    self._manager.status(self._status())
            except Exception:
                logger.exception('in the watchdog')
