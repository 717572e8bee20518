"""Values that all processes share, one row each: index version, admission epoch, master tenant.

A fact has a number, which only grows, and a text; each is used without the other.
"""

from __future__ import annotations

from sqlalchemy import Connection, text

_GET = text('SELECT number, value FROM webhookd_fact WHERE name = :name')
_BUMP = text(
    'INSERT INTO webhookd_fact (name, number) VALUES (:name, 1)'
    ' ON CONFLICT (name) DO UPDATE SET number = webhookd_fact.number + 1 RETURNING number'
)
_PUT = text(
    'INSERT INTO webhookd_fact (name, number, value) VALUES (:name, 0, :value)'
    ' ON CONFLICT (name) DO UPDATE SET value = excluded.value'
)


def get(connection: Connection, name: str) -> tuple[int, str | None]:
    """The fact's number and text: ``(0, None)`` for one that nobody wrote yet."""
    row = connection.execute(_GET, {'name': name}).one_or_none()
    return (row.number, row.value) if row is not None else (0, None)


def bump(connection: Connection, name: str) -> int:
    """Add one to the number and return it. The row stays locked until the transaction ends."""
    number: int = connection.execute(_BUMP, {'name': name}).scalar_one()
    return number


def put(connection: Connection, name: str, value: str | None) -> None:
    """Replace the text; the number stays."""
    connection.execute(_PUT, {'name': name, 'value': value})
