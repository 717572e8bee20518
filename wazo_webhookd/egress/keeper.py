"""Connections kept for another request."""

from __future__ import annotations

import contextlib
import time
from typing import Final

from wazo_webhookd.egress.connection import Connection, Key

KEEP_IDLE_SECONDS: Final = 30.0
KEEP_SECONDS: Final = 600.0
"""A kept connection is given up at this age, so that a name that moved is noticed."""
MAX_KEPT_PER_ENDPOINT: Final = 64
MAX_KEPT: Final = 256


class Keeper:
    """Connections kept for another request, newest first; safe to share between threads."""

    def __init__(self) -> None:
        self._kept: dict[Key, list[Connection]] = {}
        self._count = 0

    def __len__(self) -> int:
        return sum(len(kept) for kept in list(self._kept.values()))

    def take(self, key: Key) -> Connection | None:
        """A connection that looks alive and unused, or None."""
        kept = self._kept.get(key)
        while kept:
            try:
                connection = kept.pop()
            except IndexError:
                break
            self._count -= 1
            if self._is_fresh(connection, time.monotonic()) and connection.is_quiet():
                return connection
            connection.close()
        return None

    def put(self, connection: Connection) -> None:
        connection.used_at = time.monotonic()
        kept = self._kept.get(connection.key)
        if kept is None:
            kept = self._kept.setdefault(connection.key, [])
        if len(kept) >= MAX_KEPT_PER_ENDPOINT:
            connection.close()
            return
        if self._count >= MAX_KEPT:
            self._drop_oldest()
        kept.append(connection)
        self._count += 1

    def _drop_oldest(self) -> None:
        """Make room: many endpoints that are called once shall not push out those in use."""
        with contextlib.suppress(IndexError, ValueError):  # others take connections meanwhile
            oldest = min((kept for kept in list(self._kept.values()) if kept), key=lambda kept: kept[0].used_at)
            oldest.pop(0).close()
            self._count -= 1

    def sweep(self) -> None:
        """Close what has been idle for too long, forget endpoints without connections, count anew."""
        now = time.monotonic()
        for key, kept in list(self._kept.items()):
            for connection in list(kept):
                if not self._is_fresh(connection, now):
                    try:
                        kept.remove(connection)
                    except ValueError:  # taken meanwhile
                        continue
                    connection.close()
            if not kept and self._kept.get(key) is kept:
                self._kept.pop(key, None)
        self._count = len(self)

    def close(self) -> None:
        for kept in list(self._kept.values()):
            while kept:
                with contextlib.suppress(IndexError):
                    kept.pop().close()
        self._kept.clear()
        self._count = 0

    @staticmethod
    def _is_fresh(connection: Connection, now: float) -> bool:
        return now - connection.used_at < KEEP_IDLE_SECONDS and now - connection.opened_at < KEEP_SECONDS
