"""The few words in which PostgreSQL and SQLite differ, for statements written by hand on hot paths."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, TextClause, text
from sqlalchemy.exc import SQLAlchemyError

_POSTGRESQL = {
    'NOW': 'clock_timestamp()',
    'BEGUN': 'now()',
    'EPOCH': 'CAST(extract(epoch FROM {0}) AS float8)',
    'IN': '= ANY(:{0})',
    'AGO': '(now() - make_interval(secs => :{0}))',
}
_SQLITE = {
    'NOW': "strftime('%Y-%m-%d %H:%M:%f000', 'now')",
    'BEGUN': "strftime('%Y-%m-%d %H:%M:%f000', 'now')",
    'EPOCH': '((julianday({0}) - 2440587.5) * 86400.0)',
    'IN': 'IN (SELECT value FROM json_each(:{0}))',
    'AGO': "strftime('%Y-%m-%d %H:%M:%f000', 'now', printf('%+.3f seconds', -(:{0})))",
}


_WORD = re.compile(r'\{(\w+)(?::([^{}]*))?\}')


def is_sqlite(connection: Connection) -> bool:
    return connection.dialect.name == 'sqlite'


class Statement:
    """One statement for both; these words in it are replaced:

    ``{NOW}`` this moment; ``{BEGUN}`` the beginning of the transaction (PostgreSQL can look it up in an index, which it
    cannot do with a time that changes); ``{AGO:parameter}`` so many seconds before that; ``{EPOCH:expression}`` a time
    as Unix seconds; ``{IN:parameter}`` being a member of a list, given by ``members``.
    """

    def __init__(self, sql: str) -> None:
        self._postgresql = text(_spelled(sql, _POSTGRESQL))
        self._sqlite = text(_spelled(sql, _SQLITE))

    def on(self, connection: Connection) -> TextClause:
        return self._sqlite if is_sqlite(connection) else self._postgresql


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
    return isinstance(error, SQLAlchemyError)
