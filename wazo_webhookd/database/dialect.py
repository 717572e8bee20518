"""The few words in which PostgreSQL and SQLite differ, for statements written by hand on hot paths."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from ..exceptions import DatabaseUnavailable
from .trouble import is_unavailable

_POSTGRESQL = {
    'NOW': 'clock_timestamp()',
    'BEGUN': 'now()',
    'EPOCH': 'CAST(extract(epoch FROM {0}) AS float8)',
    'IN': '= ANY(:{0})',
    'AGO': '(now() - make_interval(secs => :{0}))',
    'JSON': 'CAST({0} AS json)',
}
_SQLITE = {
    'NOW': "strftime('%Y-%m-%d %H:%M:%f000', 'now')",
    'BEGUN': "strftime('%Y-%m-%d %H:%M:%f000', 'now')",
    'EPOCH': '((julianday({0}) - 2440587.5) * 86400.0)',
    'IN': 'IN (SELECT value FROM json_each(:{0}))',
    'AGO': "strftime('%Y-%m-%d %H:%M:%f000', 'now', printf('%+.3f seconds', -(:{0})))",
    'JSON': '{0}',
}


_WORD: Final = re.compile(r'\{(\w+)(?::([^{}]*))?\}')
_PARAMETER: Final = re.compile(r'(?<![:\w]):(\w+)')


def is_sqlite(connection: Connection) -> bool:
    return connection.dialect.name == 'sqlite'


class Statement:
    """One statement for both databases, handed to the driver as it is (SQLAlchemy would cost as much as the database).

    Parameters are written ``:name``, and these words in it are replaced: ``{NOW}`` this moment; ``{BEGUN}`` the
    beginning of the transaction (PostgreSQL can look it up in an index, which it cannot do with a time that changes);
    ``{AGO:parameter}`` so many seconds before that; ``{EPOCH:expression}`` a time as Unix seconds; ``{IN:parameter}``
    being a member of a list, given by ``members``; ``{JSON:expression}`` a text as a value of type json.

    Raises DatabaseUnavailable, or what the driver says of the data.
    """

    def __init__(self, sql: str) -> None:
        self._postgresql = _PARAMETER.sub(r'%(\1)s', _spelled(sql, _POSTGRESQL))
        self._sqlite = _spelled(sql, _SQLITE)

    def rows(self, connection: Connection, **parameters: Any) -> list[Any]:
        """Its rows, as tuples."""
        with self._run(connection, parameters) as cursor:
            found: list[Any] = cursor.fetchall()
            return found

    def change(self, connection: Connection, **parameters: Any) -> int:
        """How many rows it changed."""
        with self._run(connection, parameters) as cursor:
            return int(cursor.rowcount)

    def many(self, connection: Connection, parameters: Sequence[Any]) -> None:
        """Once for each of these, on SQLite."""
        with closing(connection.connection.cursor()) as cursor:
            cursor.executemany(self._sqlite, parameters)

    @contextmanager
    def _run(self, connection: Connection, parameters: dict[str, Any]) -> Iterator[Any]:
        try:
            with closing(connection.connection.cursor()) as cursor:
                cursor.execute(self._sqlite if is_sqlite(connection) else self._postgresql, parameters)
                yield cursor
        except Exception as error:
            if not is_unavailable(error):
                raise
            if getattr(connection.connection.dbapi_connection, 'closed', False):
                connection.invalidate()
            raise DatabaseUnavailable(f'The database cannot be reached: {error}') from error


def members(connection: Connection, values: Sequence[str]) -> Any:
    """The value of a parameter used with ``{IN:…}``; sorted, so that rows are locked in one order."""
    ordered = sorted(values)
    return json.dumps(ordered) if is_sqlite(connection) else ordered


def sqlite_text(moment: datetime) -> str:
    """As types.UtcDateTime stores it on SQLite."""
    return moment.astimezone(UTC).strftime('%Y-%m-%d %H:%M:%S.%f')


def moment(connection: Connection, value: datetime) -> Any:
    """A parameter of a hand-written statement."""
    return sqlite_text(value) if is_sqlite(connection) else value


def _spelled(sql: str, words: dict[str, str]) -> str:
    """Innermost words first, so that they may be used inside each other."""
    while match := _WORD.search(sql):
        sql = sql[: match.start()] + words[match[1]].replace('{0}', match[2] or '') + sql[match.end() :]
    return sql


def is_about_data(error: BaseException) -> bool:
    """Does the database refuse what it was given, for what it is? Then repeating will not help, other rows may go in.

    SQLSTATE classes 21 and 22 (data), 23 (constraints), 54 (limits), and what drivers refuse before sending it.
    """
    original = getattr(error, 'orig', None) or error
    state = getattr(original, 'pgcode', None)
    if state is not None:
        return str(state)[:2] in ('21', '22', '23', '54')
    return isinstance(
        original, (ValueError, OverflowError, sqlite3.DataError, sqlite3.IntegrityError, sqlite3.InterfaceError)
    ) or type(original).__name__ in ('DataError', 'IntegrityError')


def is_database_error(error: BaseException) -> bool:
    """Did the database or its driver say it?"""
    return isinstance(error, SQLAlchemyError) or type(error).__module__.partition('.')[0] in ('psycopg2', 'sqlite3')
