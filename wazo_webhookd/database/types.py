"""Column types and defaults that mean the same on PostgreSQL and SQLite.

Also imports under SQLAlchemy 1.4 (see models).
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import DateTime
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeDecorator

_Decorator: Any = TypeDecorator  # generic in SQLAlchemy 2, not in 1.4
_Function: Any = FunctionElement


class UtcDateTime(_Decorator):  # type: ignore[misc]  # the base is Any for the reason above
    """An instant: aware datetimes in, aware UTC datetimes out. A naive one is refused with ValueError.

    PostgreSQL: ``timestamptz``. SQLite: text ``YYYY-MM-DD HH:MM:SS.ffffff`` in UTC, which sorts as time does.
    """

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Any) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError('a time without time zone cannot be stored')
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == 'sqlite' else value

    def process_result_value(self, value: datetime | None, dialect: Any) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            return value.replace(tzinfo=UTC)
        return value.astimezone(UTC)


class utc_now(_Function):  # type: ignore[misc]  # named like the SQL functions it stands beside
    """The database's clock as a column default: start of the transaction (PostgreSQL), of the statement (SQLite)."""

    type = UtcDateTime()
    inherit_cache = True


@compiles(utc_now)
def _current_timestamp(element: Any, compiler: Any, **options: Any) -> str:
    return 'CURRENT_TIMESTAMP'


@compiles(utc_now, 'sqlite')
def _current_timestamp_sqlite(element: Any, compiler: Any, **options: Any) -> str:
    return "(strftime('%Y-%m-%d %H:%M:%f000', 'now'))"


class clock_now(_Function):  # type: ignore[misc]
    """The database's clock at this very moment."""

    type = UtcDateTime()
    inherit_cache = True


@compiles(clock_now)
def _clock_now(element: Any, compiler: Any, **options: Any) -> str:
    return 'clock_timestamp()'


@compiles(clock_now, 'sqlite')
def _clock_now_sqlite(element: Any, compiler: Any, **options: Any) -> str:
    return _current_timestamp_sqlite(element, compiler)


class seconds_ago(_Function):  # type: ignore[misc]
    """``seconds_ago(15)``: the database's clock that many seconds ago (negative: ahead)."""

    type = UtcDateTime()
    inherit_cache = True


@compiles(seconds_ago)
def _seconds_ago(element: Any, compiler: Any, **options: Any) -> str:
    return f'(clock_timestamp() - make_interval(secs => {compiler.process(element.clauses, **options)}))'


@compiles(seconds_ago, 'sqlite')
def _seconds_ago_sqlite(element: Any, compiler: Any, **options: Any) -> str:
    seconds = compiler.process(element.clauses, **options)
    return f"strftime('%Y-%m-%d %H:%M:%f000', 'now', printf('%+.3f seconds', -({seconds})))"
