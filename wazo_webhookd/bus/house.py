"""Our own handlers of bus events (clean-up, mobile, ended sessions): they finish before the event is acknowledged."""

from __future__ import annotations

import json
import logging
import threading
from collections import deque
from collections.abc import Callable
from typing import Final

from ..domain.event import Event
from ..exceptions import DatabaseUnavailable
from .callbacks import Handler, takes_two

logger = logging.getLogger(__name__)

RETRY_SECONDS: Final = 1.0


class HouseHandlers:
    """Runs our handlers in order on one thread, so that the consumer's thread keeps listening meanwhile.

    A handler that raises DatabaseUnavailable is tried again, until ``still_ours`` says that events are being
    handed back to the broker; any other exception is logged and counts as done. Handlers are idempotent.
    """

    def __init__(self) -> None:
        self._handlers: dict[str, tuple[Handler, ...]] = {}
        self._waiting: deque[tuple[Event, Callable[[], bool], Callable[[bool], None]]] = deque()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()

    def add(self, event_name: str, handler: Handler) -> None:
        self._handlers[event_name] = (*self._handlers.get(event_name, ()), handler)

    def names(self) -> set[str]:
        return set(self._handlers)

    def handles(self, event_name: str) -> bool:
        return event_name in self._handlers

    def submit(self, event: Event, still_ours: Callable[[], bool], done: Callable[[bool], None]) -> None:
        """Call the handlers of this event's name, then, on their thread, ``done``: with False to hand it back."""
        with self._changed:
            self._waiting.append((event, still_ours, done))
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name='bus-house', daemon=True)
                self._thread.start()
            self._changed.notify()

    def stop(self, timeout: float) -> None:
        """End after the handler that is running; what waits stays unacknowledged and comes again."""
        self._stopping.set()
        with self._changed:
            self._changed.notify()
        if self._thread is not None:
            self._thread.join(timeout)

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._waiting and not self._stopping.is_set():
                    self._changed.wait()
                if self._stopping.is_set():
                    return
                event, still_ours, done = self._waiting.popleft()
            done(all(self._finish(handler, event, still_ours) for handler in self._handlers[event.name]))

    def _finish(self, handler: Handler, event: Event, still_ours: Callable[[], bool]) -> bool:
        """True once the handler is through with the event; False when the event is not ours any more."""
        while still_ours() and not self._stopping.is_set():
            try:
                body = json.loads(event.text)
                if takes_two(handler):
                    handler(body, dict(event.headers))
                else:
                    handler(body)
                return True
            except DatabaseUnavailable as error:
                logger.warning('event %s has to wait: %s', event.name, error)
                self._stopping.wait(RETRY_SECONDS)
            except Exception:
                logger.exception('our handler of event %s failed', event.name)
                return True
        return False
