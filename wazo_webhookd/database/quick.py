"""Single reads on connections of their own, where SQLAlchemy's pool would take longer than PostgreSQL does."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, NamedTuple

from sqlalchemy import ClauseElement, Connection, Dialect
from sqlalchemy.dialects import postgresql

from ..exceptions import DatabaseUnavailable
from .trouble import first_line, is_unavailable, let_go, readable

_POSTGRESQL: Final[Dialect] = postgresql.dialect()  # type: ignore[no-untyped-call]


class Prepared(NamedTuple):
    """A statement that the server plans once for each connection. ``types`` of its parameters ``$1`` … as SQL has them,
    ``call``: ``EXECUTE name (%s, …)``."""

    name: str
    types: str
    text: str
    call: str


def prepared(name: str, types: str, statement: ClauseElement) -> Prepared:
    """From a statement in which parameters are ``literal_column('$1')`` …"""
    text = str(statement.compile(dialect=_POSTGRESQL, compile_kwargs={'literal_binds': True}))
    return Prepared(name, types, text, f'EXECUTE {name} ({", ".join(["%s"] * (types.count(",") + 1))})')


class _Kept:
    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.driver: Any = connection.connection.dbapi_connection
        self.prepared: set[str] = set()
        self.used = time.monotonic()

    def is_well(self, idle_seconds: float) -> bool:
        """Long idle ones are not asked but replaced."""
        return time.monotonic() - self.used < idle_seconds and not readable(self.driver.fileno())

    def close(self) -> None:
        let_go(self.connection)


class QuickReads:
    """``rows`` may be called on any thread; each has a connection for itself while it reads."""

    def __init__(
        self, connect: Callable[[], Connection], execute: Callable[..., Any], most_idle: int, idle_seconds: float
    ) -> None:
        """``connect`` opens a connection in autocommit, ``execute(cursor, statement, values)`` has the last word on it.
        Not more than ``most_idle`` are kept, none for longer than ``idle_seconds``."""
        self._connect = connect
        self._execute = execute
        self._most_idle = most_idle
        self._idle_seconds = idle_seconds
        self._idle: deque[_Kept] = deque()

    def rows(self, statement: Prepared, values: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        """Raises DatabaseUnavailable, and what the driver says about the statement."""
        kept = self._take()
        try:
            with kept.driver.cursor() as cursor:
                if statement.name not in kept.prepared:
                    self._execute(cursor, f'PREPARE {statement.name} ({statement.types}) AS {statement.text}', None)
                    kept.prepared.add(statement.name)
                self._execute(cursor, statement.call, values)
                found: list[tuple[Any, ...]] = cursor.fetchall()
        except Exception as error:
            kept.close()
            if not is_unavailable(error):
                raise
            self.close()  # the others lead to the same server: nobody shall wait for each of them
            raise DatabaseUnavailable(f'The database cannot be reached: {first_line(error)}') from error
        kept.used = time.monotonic()
        self._give_back(kept)
        return found

    def close(self) -> None:
        """Close those that nobody uses now."""
        while self._idle:
            with suppress(IndexError):
                self._idle.pop().close()

    def _take(self) -> _Kept:
        while self._idle:
            try:
                kept = self._idle.pop()
            except IndexError:
                break
            if kept.is_well(self._idle_seconds):
                return kept
            kept.close()
        return _Kept(self._connect())

    def _give_back(self, kept: _Kept) -> None:
        self._idle.append(kept)
        with suppress(IndexError):  # others may take it, and the oldest, meanwhile
            oldest = self._idle[0]
            if len(self._idle) > self._most_idle or time.monotonic() - oldest.used > self._idle_seconds:
                self._idle.popleft().close()
