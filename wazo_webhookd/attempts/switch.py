"""Whether this process takes messages: the consumer is cancelled while it should not, and its prefetch is its hands."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from .loop import Loop

logger = logging.getLogger(__name__)


class Switch:
    """``set_on`` and ``set_hands`` may be called from any thread; the broker's thread carries them out.

    ``on_change()`` is called when ``consuming`` may have changed.
    """

    def __init__(self, loop: Loop, hands: int) -> None:
        self._loop = loop
        self._hands = hands
        self.on_change: Callable[[], None] = lambda: None
        self._wanted = False
        self._task_consumer: Any = None
        self._qos: Any = None
        self._consuming = False
        self.ended = False

    @property
    def consuming(self) -> bool:
        return self._consuming and self._wanted

    def set_on(self, on: bool) -> None:
        self._wanted = on
        self._loop.call(self._apply)
        self.on_change()

    def set_hands(self, hands: int) -> None:
        self._hands = hands
        self._loop.call(self._apply)

    def connected(self, task_consumer: Any, qos: Any) -> None:
        """The broker's thread is connected, and consumes (Celery does that in any case)."""
        self._task_consumer, self._qos = task_consumer, qos
        self._consuming = True
        self._loop.call(self._apply)
        self.on_change()

    def disconnected(self) -> None:
        self._task_consumer = self._qos = None
        self._consuming = False
        self.on_change()

    def _apply(self) -> None:
        consumer, qos = self._task_consumer, self._qos
        if consumer is None:
            return
        if qos is not None and 0 < self._hands != qos.value:
            qos.set(self._hands)
            qos.value = qos.prev = self._hands
        if self._wanted != self._consuming:
            self._consuming = self._wanted
            if self._wanted:
                consumer.consume()
            else:
                consumer.cancel()
            self.on_change()
