"""Deliveries come in, wait in their lanes and go out (states: domain.delivery; what comes back: returns).

Every change is conditional on the state that it starts from; statements on a group go through it sorted by uuid.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection

from ..domain.admission.rules import DEATHS, SHARED_DEATHS
from ..domain.delivery import OUT, WAITING
from .admission import EPOCH
from .dialect import Statement, is_sqlite, members, moment


class NewDelivery(NamedTuple):
    """``out``: written as out (attempt 1, send 1) instead of waiting."""

    uuid: str
    sequence: int
    subscription_uuid: str
    tenant_uuid: str
    event_uuid: str
    event_name: str
    out: bool


class Marked(NamedTuple):
    """A delivery that is out now. ``sent_at``: Unix seconds by the database's clock."""

    uuid: str
    subscription_uuid: str
    event_uuid: str
    attempt: int
    send: int
    max_attempts: int
    sent_at: float


class LaneRows(NamedTuple):
    """The beginning of a lane: due uuids in order, whether there may be more due ones, when the next other falls due
    (Unix seconds)."""

    uuids: list[str]
    more: bool
    next_due: float | None


# -- coming in --------------------------------------------------------------------------------------

_NEW_COLUMNS = (
    'uuid, sequence, subscription_uuid, tenant_uuid, event_uuid, event_name, state, attempt, send, max_attempts,'
    ' due_at, sent_at, deaths, created_at, expires_at'
)
_INSERT = Statement(
    f'INSERT INTO webhookd_delivery ({_NEW_COLUMNS})'
    " SELECT u, s, w, t, e, n, CASE WHEN o THEN 'out' ELSE 'waiting' END, 1, CASE WHEN o THEN 1 ELSE 0 END,"
    ' :max_attempts, :due_at, CASE WHEN o THEN CAST(:now AS timestamptz) END, 0, :now, :expires_at'
    ' FROM unnest(CAST(:uuid AS text[]), CAST(:sequence AS bigint[]), CAST(:subscription_uuid AS text[]),'
    ' CAST(:tenant_uuid AS text[]), CAST(:event_uuid AS text[]), CAST(:event_name AS text[]), CAST(:out AS bool[]))'
    ' AS new(u, s, w, t, e, n, o) ON CONFLICT DO NOTHING'
)
_INSERT_SQLITE = Statement(
    f'INSERT INTO webhookd_delivery ({_NEW_COLUMNS})'
    ' VALUES (?, ?, ?, ?, ?, ?, ?, 1, ?, ?, ?, ?, 0, ?, ?) ON CONFLICT DO NOTHING'
)


def insert(
    connection: Connection,
    rows: Sequence[NewDelivery],
    *,
    now: datetime,
    due_at: datetime,
    expires_at: datetime,
    max_attempts: int,
) -> None:
    """Write them in one statement; those that are there already stay as they are. ``now`` is the database's clock.

    Raises what dialect.is_about_data recognises for a text that no column takes.
    """
    if not rows:
        return
    if is_sqlite(connection):
        at, due, expires = (moment(connection, value) for value in (now, due_at, expires_at))
        _INSERT_SQLITE.many(
            connection,
            [
                (
                    *row[:6],
                    OUT if row.out else WAITING,
                    int(row.out),
                    max_attempts,
                    due,
                    at if row.out else None,
                    at,
                    expires,
                )
                for row in rows
            ],
        )
        return
    parameters: dict[str, Any] = dict(zip(NewDelivery._fields, map(list, zip(*rows, strict=True)), strict=True))
    parameters.update(now=now, due_at=due_at, expires_at=expires_at, max_attempts=max_attempts)
    _INSERT.change(connection, **parameters)


# -- going out --------------------------------------------------------------------------------------

# CASE leaves PostgreSQL the index on uuid alone: with old statistics it would read all that waits instead.
_MARK_ROWS = (
    "UPDATE webhookd_delivery SET state = 'out', send = send + 1, sent_at = {NOW}, held_by = NULL"
    " WHERE uuid {IN:uuids} AND CASE WHEN state = 'waiting' THEN due_at <= {BEGUN} AND expires_at > {BEGUN}"
    ' AND deaths >= :from_deaths AND deaths < :below_deaths ELSE false END %s'
    ' RETURNING uuid, subscription_uuid, event_uuid, attempt, send, max_attempts, {EPOCH:sent_at}'
)
_MARK = Statement(_MARK_ROWS % '')
_MARK_FENCED = Statement(
    'WITH fence AS MATERIALIZED (SELECT number FROM webhookd_fact WHERE name = :fact FOR SHARE) '
    + _MARK_ROWS % 'AND (SELECT number FROM fence) = :epoch'
)
_REPEAT = Statement(
    'UPDATE webhookd_delivery SET sent_at = {NOW}'
    " WHERE uuid {IN:uuids} AND state = 'out' AND attempt = 1 AND send = 1 AND held_by IS NULL"
    ' RETURNING uuid, subscription_uuid, event_uuid, attempt, send, max_attempts, {EPOCH:sent_at}'
)
_READ_LANES = Statement(
    'SELECT lane.w, d.uuid, d.due, d.at FROM unnest(CAST(:lanes AS text[]), CAST(:limits AS int[])) WITH ORDINALITY'
    ' AS lane(w, most, number) CROSS JOIN LATERAL (SELECT uuid, due_at <= now() AS due,'
    ' CAST(extract(epoch FROM due_at) AS float8) AS at, due_at, sequence FROM webhookd_delivery'
    " WHERE subscription_uuid = lane.w AND state = 'waiting' AND deaths < :below_deaths"
    ' AND expires_at > now() ORDER BY due_at, sequence LIMIT lane.most) AS d'
    ' ORDER BY lane.number, d.due_at, d.sequence'
)
_READ_LANE_SQLITE = Statement(
    'SELECT uuid, due_at <= {BEGUN}, {EPOCH:due_at} FROM webhookd_delivery'
    " WHERE subscription_uuid = :lane AND state = 'waiting' AND deaths < :below_deaths AND expires_at > {BEGUN}"
    ' ORDER BY due_at, sequence LIMIT :most'
)


def mark_out(
    connection: Connection, uuids: Iterable[str], *, suspects: bool = False, epoch: int | None = None
) -> list[Marked]:
    """waiting -> out, with the next send, for those that are due; what is not returned stays what it is.

    ``epoch`` (PostgreSQL): only if it still is the one of admission, which then stays so until the transaction ends.
    """
    wanted = list(uuids)
    if not wanted:
        return []
    parameters: dict[str, Any] = {
        'uuids': members(connection, wanted),
        'from_deaths': SHARED_DEATHS if suspects else 0,
        'below_deaths': DEATHS if suspects else SHARED_DEATHS,
    }
    if epoch is None or is_sqlite(connection):
        rows = _MARK.rows(connection, **parameters)
    else:
        rows = _MARK_FENCED.rows(connection, **parameters, epoch=epoch, fact=EPOCH)
    return [Marked(*row) for row in rows]


def mark_again(connection: Connection, uuids: Iterable[str]) -> list[Marked]:
    """Those that are out with their first send, which was never published: their time begins anew."""
    wanted = list(uuids)
    if not wanted:
        return []
    return [Marked(*row) for row in _REPEAT.rows(connection, uuids=members(connection, wanted))]


def read_lanes(connection: Connection, lanes: Mapping[str, int]) -> dict[str, LaneRows]:
    """The first rows of each lane (subscription uuid -> how many), suspects and expired ones left out."""
    found: dict[str, list[tuple[str, bool, float]]] = {lane: [] for lane in lanes}
    if is_sqlite(connection):
        for lane, most in lanes.items():
            rows = _READ_LANE_SQLITE.rows(connection, lane=lane, most=most, below_deaths=SHARED_DEATHS)
            found[lane] = [(uuid, bool(due), at) for uuid, due, at in rows]
    elif lanes:
        rows = _READ_LANES.rows(connection, lanes=list(lanes), limits=list(lanes.values()), below_deaths=SHARED_DEATHS)
        for lane, uuid, due, at in rows:
            found[lane].append((uuid, due, at))
    return {lane: _lane_rows(rows_, lanes[lane]) for lane, rows_ in found.items()}


def _lane_rows(rows: list[tuple[str, bool, float]], most: int) -> LaneRows:
    due = [uuid for uuid, is_due, _ in rows if is_due]
    next_due = next((at for _, is_due, at in rows if not is_due), None)
    return LaneRows(due, len(rows) >= most and next_due is None, next_due)


_SCAN = Statement(
    'WITH RECURSIVE lane(w) AS ('
    " SELECT min(subscription_uuid) FROM webhookd_delivery WHERE state = 'waiting'"
    ' UNION ALL'
    ' SELECT (SELECT min(subscription_uuid) FROM webhookd_delivery'
    " WHERE state = 'waiting' AND subscription_uuid > lane.w) FROM lane WHERE lane.w IS NOT NULL)"
    " SELECT w, {EPOCH:(SELECT min(due_at) FROM webhookd_delivery WHERE state = 'waiting' AND subscription_uuid = w)}"
    ' FROM lane WHERE w IS NOT NULL'
)


def scan_lanes(connection: Connection) -> list[tuple[str, float]]:
    """Every lane with waiting rows: subscription uuid, when its first row falls (or fell) due in Unix seconds.

    The index is skipped through: the cost grows with the lanes, not with what waits in them.
    """
    return [(lane, due) for lane, due in _SCAN.rows(connection) if due is not None]
