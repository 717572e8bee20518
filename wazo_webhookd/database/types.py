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


class utc_now(_Function):  # type: ignore[misc]  # noqa: N801  # named like the SQL functions it stands beside
    """The database's clock as a column default: start of the transaction (PostgreSQL), of the statement (SQLite)."""

    type = UtcDateTime()
    inherit_cache = True


@compiles(utc_now)
def _current_timestamp(element: Any, compiler: Any, **options: Any) -> str:
    return 'CURRENT_TIMESTAMP'


@compiles(utc_now, 'sqlite')
def _current_timestamp_sqlite(element: Any, compiler: Any, **options: Any) -> str:
    return "(strftime('%Y-%m-%d %H:%M:%f000', 'now'))"
