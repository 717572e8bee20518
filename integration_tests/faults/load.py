"""Numbered events, sent one after the other on a thread while things break."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from integration_tests.support.until import until

Send = Callable[[int], bool]
"""Sends the event with this number, whatever it takes; True when it may have been sent twice."""


class Load:
    """``pace``: events a second at most. ``sent`` says when each was accepted (Unix seconds)."""

    def __init__(self, send: Send, events: int, pace: float) -> None:
        self.events = events
        self.pace = pace
        self.sent: dict[int, float] = {}
        self.repeated: set[int] = set()
        """Those that the sender itself may have sent twice: nobody confirmed the first time."""

        self._send = send
        self._goes = threading.Event()
        self._goes.set()
        self._between = threading.Event()
        self._stopping = False
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name='load', daemon=True)

    def start(self) -> Load:
        self._thread.start()
        return self

    def at(self, number: int, seconds: float = 240) -> None:
        """Wait until so many events were accepted."""
        until(lambda: self._sound() and len(self.sent) >= number, seconds, every=0.002, what=f'{number} events sent')

    def done(self, seconds: float = 240) -> None:
        self.at(self.events, seconds)

    def pause(self) -> None:
        """Send nothing more for now; returns when the one under way was accepted."""
        self._between.clear()
        self._goes.clear()
        until(lambda: self._between.is_set() or not self._thread.is_alive(), 120, what='the load pauses')

    def go_on(self) -> None:
        self._goes.set()

    def stop(self) -> None:
        self._stopping = True
        self._goes.set()
        self._thread.join(150)

    def _sound(self) -> bool:
        if self._failure is not None:
            raise RuntimeError('the load ended early') from self._failure
        return True

    def _run(self) -> None:
        next_at = time.monotonic()
        try:
            for number in range(self.events):
                if not self._goes.is_set():
                    self._between.set()
                    self._goes.wait()
                if self._stopping:
                    return
                if self._send(number):
                    self.repeated.add(number)
                self.sent[number] = time.time()
                next_at = max(next_at + 1 / self.pace, time.monotonic() - 0.5)
                time.sleep(max(0.0, next_at - time.monotonic()))
        except BaseException as error:
            self._failure = error
