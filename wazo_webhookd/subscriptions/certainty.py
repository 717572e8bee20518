"""Whether the catalog says what the database says, asked once a second instead of for each subscription."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

from wazo_webhookd.database import position
from wazo_webhookd.database.session import Database
from wazo_webhookd.subscriptions.catalog import Card, Catalog

SECONDS: Final = 1.0


class Certainty:
    """Lets single subscriptions be read from the catalog while that is certain to be in step with the table.

    It is certain when the table's version is the catalog's and no other daemon lives, and stays so until this daemon
    writes a change or hears of one, at most SECONDS. So what a daemon answered to a writer is never older in what it
    answers next; what something else wrote may be missing while the word of it travels, never longer than SECONDS.
    """

    def __init__(
        self, catalog: Catalog, database: Database, life: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._catalog = catalog
        self._database = database
        self._life = life
        self._clock = clock
        self._certain_until = 0.0
        self._doubts = 0
        self._lock = threading.Lock()
        self._asking = threading.Lock()

    def card(self, uuid: str) -> Card | None:
        """None: ask the database. Raises DatabaseUnavailable."""
        if self._clock() < self._certain_until or self._make_certain():
            return self._catalog.card(uuid)
        return None

    def doubt(self, _: object = None) -> None:
        """Something changed, or may have."""
        with self._lock:
            self._doubts += 1
            self._certain_until = 0.0

    def _make_certain(self) -> bool:
        """By one thread at a time; the others need not wait for what it hears."""
        if not self._asking.acquire(blocking=False):
            return False
        try:
            doubts, now = self._doubts, self._clock()
            found = position.read(self._database, self._life)
            if found is None or found.others or found.version != self._catalog.version:
                return False
            with self._lock:
                if doubts != self._doubts:
                    return False
                self._certain_until = now + SECONDS
            return True
        finally:
            self._asking.release()
