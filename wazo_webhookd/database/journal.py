"""The table of events that at least one subscription may have wanted."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, select

from .dialect import Statement, is_sqlite, members, sqlite_text
from .models import JournalEvent

_journal = JournalEvent.__table__

AGAIN: Final = 'again:'
LATE_SECONDS: Final = 600.0
"""How late the one that had a message first may be to store it too: it was frozen, or is about to hear that its
connection was lost."""


class JournalRow(NamedTuple):
    """``headers`` and ``body`` are JSON texts; ``deliveries`` how many were made of the event."""

    uuid: str
    name: str
    tenant_uuid: str | None
    source: str
    received_at: datetime
    fingerprint: str | None
    deliveries: int
    headers: str
    body: str


_COLUMNS = ', '.join(JournalRow._fields)
_TYPES = ('text', 'text', 'text', 'text', 'timestamptz', 'text', 'int', 'text', 'text')
_KNOWN_SQLITE = Statement(
    'SELECT fingerprint, deliveries, uuid FROM webhookd_journal WHERE fingerprint {IN:wanted}'
    ' AND (fingerprint NOT LIKE :again OR received_at > {AGO:late})'
)
_KNOWN = Statement(  # one by one, by the index: with old statistics PostgreSQL would read the whole journal instead
    'SELECT known.* FROM unnest(CAST(:wanted AS text[])) AS w CROSS JOIN LATERAL'
    ' (SELECT fingerprint, deliveries, uuid, received_at FROM webhookd_journal WHERE fingerprint = w LIMIT :most)'
    ' AS known'
    ' WHERE known.fingerprint NOT LIKE :again OR known.received_at > {AGO:late}'
)
_MOST_ALIKE: Final = 100
_INSERT_SQLITE = Statement(
    f'INSERT INTO webhookd_journal ({_COLUMNS}) VALUES ({", ".join("?" * len(_TYPES))}) ON CONFLICT DO NOTHING'
)
_INSERT = Statement(
    f'INSERT INTO webhookd_journal ({_COLUMNS}) SELECT * FROM unnest('
    + ', '.join(f'CAST(:{name} AS {type_}[])' for name, type_ in zip(JournalRow._fields, _TYPES, strict=True))
    + ') ON CONFLICT DO NOTHING'
)


def insert(connection: Connection, rows: Sequence[JournalRow]) -> None:
    """Write them in one statement; those that are there already stay as they are.

    Raises what dialect.is_about_data recognises for a text that no column takes.
    """
    if not rows:
        return
    if is_sqlite(connection):
        _INSERT_SQLITE.many(connection, [(*row[:4], sqlite_text(row.received_at), *row[5:]) for row in rows])
    else:
        columns = map(list, zip(*rows, strict=True))
        _INSERT.change(connection, **dict(zip(JournalRow._fields, columns, strict=True)))


def known_fingerprints(
    connection: Connection, fingerprints: Iterable[str], *, but: Collection[str] = ()
) -> dict[str, int]:
    """Those in the journal, with the number of deliveries made of them. ``but``: uuids of events that do not count.

    What was stored of a message handed over again is found by ``again(fingerprint)``, for LATE_SECONDS.
    """
    wanted = sorted(set(fingerprints))
    if not wanted:
        return {}
    asked = {'wanted': members(connection, wanted), 'again': f'{AGAIN}%', 'late': LATE_SECONDS}
    if is_sqlite(connection):
        rows = _KNOWN_SQLITE.rows(connection, **asked)
    else:
        rows = _KNOWN.rows(connection, **asked, most=_MOST_ALIKE)
    return {fingerprint: deliveries for fingerprint, deliveries, uuid, *_ in rows if uuid not in but}


def again(fingerprint: str) -> str:
    """The fingerprint in the row of an event whose message the broker had handed over before, to whomever."""
    return AGAIN + fingerprint


def bodies(connection: Connection, uuids: Iterable[str]) -> dict[str, str]:
    """The bodies of these events as JSON texts, by uuid."""
    wanted = sorted(set(uuids))
    if not wanted:
        return {}
    rows: Any = connection.execute(select(_journal.c.uuid, _journal.c.body).where(_journal.c.uuid.in_(wanted)))
    return {row.uuid: row.body for row in rows}
