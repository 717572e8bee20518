"""The way into the thread that owns the broker's connection: acknowledgements and switches are made there."""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections import deque
from collections.abc import Callable
from typing import Any

logger = logging.getLogger(__name__)


class Loop:
    """Calls made on the broker's thread: at once where its event loop polls a descriptor, else in its next round."""

    def __init__(self, acknowledge_all: Callable[[list[Any]], None] = lambda messages: None) -> None:
        """``acknowledge_all``: what to do with the messages given to ``acknowledge``, in groups."""
        self._acknowledge_all = acknowledge_all
        self._acknowledged: deque[Any] = deque()
        self._calls: deque[Callable[[], None]] = deque()
        self._descriptor = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._woken = False
        self.beat = time.monotonic()
        """When the broker's thread last came here, or tried to reach the broker; ``call`` brings it here."""

    def call(self, function: Callable[[], None]) -> None:
        """From any thread; returns at once."""
        self._calls.append(function)
        self._wake()

    def acknowledge(self, message: Any) -> None:
        """From any thread; returns at once."""
        self._acknowledged.append(message)
        self._wake()

    def _wake(self) -> None:
        if not self._woken:
            self._woken = True
            os.eventfd_write(self._descriptor, 1)

    def register(self, hub: Any) -> None:
        """Let this event loop (of kombu) make the calls; again after each reconnection, which forgets everything."""
        hub.add_reader(self._descriptor, self.run)

    def run(self) -> None:
        """Make the calls; in the broker's thread."""
        self.beat = time.monotonic()
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self._descriptor)
        self._woken = False
        if self._acknowledged:
            messages = []
            while self._acknowledged:
                messages.append(self._acknowledged.popleft())
            self._acknowledge_all(messages)
        while self._calls:
            function = self._calls.popleft()
            try:
                function()
            except Exception:
                logger.exception('on the thread of the broker')

    @property
    def empty(self) -> bool:
        return not self._calls and not self._acknowledged

    def close(self) -> None:
        with contextlib.suppress(OSError):
            os.close(self._descriptor)
