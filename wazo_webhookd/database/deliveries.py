"""The table of deliveries, as intake and the admitter use it (states: domain.delivery).

Every change is conditional on the state that it starts from; statements on a group go through it sorted by uuid.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, func, select, text

from ..domain.delivery import CANCELLED, EXPIRED, ORPHAN_SECONDS, OUT, WAITING
from .dialect import Statement, is_sqlite, members, moment
from .models import SubscriptionLog
from .processes import SILENT_SECONDS
from .types import seconds_ago

SHARED_DEATHS: Final = 2
"""After so many deaths of workers that held it, a delivery is a suspect and goes alone."""

DEATHS: Final = SHARED_DEATHS + 3
"""After so many it is given up."""

REASON_CANCELLED: Final = 'subscription deleted'


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


class OutRow(NamedTuple):
    """A row out. ``age``: seconds since it was sent; ``holder``: kind of process that holds it, None when nobody does
    or the holder is forgotten; ``holder_lives``: None when nobody holds it."""

    uuid: str
    subscription_uuid: str
    tenant_uuid: str
    attempt: int
    send: int
    deaths: int
    age: float
    held_by: str | None
    holder: str | None
    holder_lives: bool | None


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
_INSERT = text(
    f'INSERT INTO webhookd_delivery ({_NEW_COLUMNS})'
    " SELECT u, s, w, t, e, n, CASE WHEN o THEN 'out' ELSE 'waiting' END, 1, CASE WHEN o THEN 1 ELSE 0 END,"
    ' :max_attempts, :due_at, CASE WHEN o THEN CAST(:now AS timestamptz) END, 0, :now, :expires_at'
    ' FROM unnest(CAST(:uuid AS text[]), CAST(:sequence AS bigint[]), CAST(:subscription_uuid AS text[]),'
    ' CAST(:tenant_uuid AS text[]), CAST(:event_uuid AS text[]), CAST(:event_name AS text[]), CAST(:out AS bool[]))'
    ' AS new(u, s, w, t, e, n, o) ON CONFLICT DO NOTHING'
)
_INSERT_SQLITE = (
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

    Raises ValueError or sqlalchemy.exc.DBAPIError for a text that no column takes.
    """
    if not rows:
        return
    if is_sqlite(connection):
        at, due, expires = (moment(connection, value) for value in (now, due_at, expires_at))
        connection.exec_driver_sql(
            _INSERT_SQLITE,
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
    connection.execute(_INSERT, parameters)


# -- going out --------------------------------------------------------------------------------------

_MARK = Statement(
    "UPDATE webhookd_delivery SET state = 'out', send = send + 1, sent_at = {NOW}, held_by = NULL"
    " WHERE uuid {IN:uuids} AND state = 'waiting' AND due_at <= {BEGUN} AND expires_at > {BEGUN}"
    ' AND deaths >= :from_deaths AND deaths < :below_deaths'
    ' RETURNING uuid, subscription_uuid, event_uuid, attempt, send, max_attempts, {EPOCH:sent_at}'
)
_REPEAT = Statement(
    'UPDATE webhookd_delivery SET sent_at = {NOW}'
    " WHERE uuid {IN:uuids} AND state = 'out' AND attempt = 1 AND send = 1 AND held_by IS NULL"
    ' RETURNING uuid, subscription_uuid, event_uuid, attempt, send, max_attempts, {EPOCH:sent_at}'
)
_READ_LANES = text(
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


def mark_out(connection: Connection, uuids: Iterable[str], *, suspects: bool = False) -> list[Marked]:
    """waiting -> out, with the next send, for those that are due; what is not returned stays what it is."""
    wanted = list(uuids)
    if not wanted:
        return []
    rows = connection.execute(
        _MARK.on(connection),
        {
            'uuids': members(connection, wanted),
            'from_deaths': SHARED_DEATHS if suspects else 0,
            'below_deaths': DEATHS if suspects else SHARED_DEATHS,
        },
    )
    return [Marked(*row) for row in rows]


def mark_again(connection: Connection, uuids: Iterable[str]) -> list[Marked]:
    """Those that are out with their first send, which was never published: their time begins anew."""
    wanted = list(uuids)
    if not wanted:
        return []
    rows = connection.execute(_REPEAT.on(connection), {'uuids': members(connection, wanted)})
    return [Marked(*row) for row in rows]


def read_lanes(connection: Connection, lanes: Mapping[str, int]) -> dict[str, LaneRows]:
    """The first rows of each lane (subscription uuid -> how many), suspects and expired ones left out."""
    found: dict[str, list[tuple[str, bool, float]]] = {lane: [] for lane in lanes}
    if is_sqlite(connection):
        for lane, most in lanes.items():
            rows = connection.execute(
                _READ_LANE_SQLITE.on(connection), {'lane': lane, 'most': most, 'below_deaths': SHARED_DEATHS}
            )
            found[lane] = [(uuid, bool(due), at) for uuid, due, at in rows]
    elif lanes:
        rows = connection.execute(
            _READ_LANES,
            {'lanes': list(lanes), 'limits': list(lanes.values()), 'below_deaths': SHARED_DEATHS},
        )
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
    return [(lane, due) for lane, due in connection.execute(_SCAN.on(connection)) if due is not None]


_READ_OUT = Statement(
    'SELECT d.uuid, d.subscription_uuid, d.tenant_uuid, d.attempt, d.send, d.deaths,'
    ' {EPOCH:{NOW}} - {EPOCH:d.sent_at}, d.held_by, p.kind,'
    ' CASE WHEN d.held_by IS NULL THEN NULL'
    ' ELSE coalesce(p.ended_at IS NULL AND p.seen_at > {AGO:silent}, :no) END'
    ' FROM webhookd_delivery d LEFT JOIN webhookd_process p ON p.id = d.held_by'
    " WHERE d.state = 'out'"
)


def read_out(connection: Connection) -> list[OutRow]:
    """All rows that are out: at most a window."""
    rows = connection.execute(_READ_OUT.on(connection), {'silent': SILENT_SECONDS, 'no': False})
    return [OutRow._make((*row[:9], None if row[9] is None else bool(row[9]))) for row in rows]


# -- coming back ------------------------------------------------------------------------------------

_BACK = Statement(
    "UPDATE webhookd_delivery SET state = 'waiting', held_by = NULL, deaths = deaths + :died"
    " WHERE uuid = :uuid AND state = 'out' AND attempt = :attempt AND send = :send"
    " AND coalesce(held_by, '') = :held_by"
)
_UNSENT = Statement(
    "UPDATE webhookd_delivery SET state = 'waiting', send = send - 1"
    " WHERE uuid = :uuid AND state = 'out' AND attempt = :attempt AND send = :send AND held_by IS NULL"
)


def is_orphan(row: OutRow) -> bool:
    """Nobody has it in hand any more (architecture, 6.3)."""
    return row.age > ORPHAN_SECONDS if row.holder_lives is None else not row.holder_lives


def take_back(connection: Connection, orphans: Sequence[OutRow], *, died: bool = True) -> list[OutRow]:
    """out -> waiting, with one death more for those that somebody held (unless ``died`` is False: it ended well).
    Returns those that were still as read, with the deaths that they have now."""
    done = []
    for row in sorted(orphans):
        more = int(died and row.held_by is not None)
        result = connection.execute(
            _BACK.on(connection),
            {
                'uuid': row.uuid,
                'attempt': row.attempt,
                'send': row.send,
                'held_by': row.held_by or '',
                'died': more,
            },
        )
        if result.rowcount:
            done.append(row._replace(deaths=row.deaths + more))
    return done


def put_back(connection: Connection, unsent: Iterable[tuple[str, int, int]]) -> int:
    """out -> waiting, for (uuid, attempt, send) of which certainly no message was sent."""
    count = 0
    for uuid, attempt, send in sorted(unsent):
        result = connection.execute(_UNSENT.on(connection), {'uuid': uuid, 'attempt': attempt, 'send': send})
        count += result.rowcount
    return count


_SUSPECTS = Statement(
    'SELECT uuid, subscription_uuid FROM webhookd_delivery'
    " WHERE state = 'waiting' AND deaths >= :deaths AND deaths < :below_deaths"
    ' AND due_at <= {BEGUN} AND expires_at > {BEGUN} ORDER BY due_at, sequence LIMIT :most'
)
_GIVE_UP = Statement(
    "UPDATE webhookd_delivery SET state = 'error', ended_at = {NOW}, reason = :reason, held_by = NULL"
    " WHERE uuid = :uuid AND state IN ('waiting', 'out')"
)
_GIVE_UP_LOG = (
    'INSERT INTO webhookd_subscription_log'
    ' (uuid, subscription_uuid, status, started_at, ended_at, attempts, max_attempts, event, detail)'
    " SELECT d.uuid, d.subscription_uuid, 'error', d.sent_at, d.ended_at, d.attempt, d.max_attempts, {0}, {1}"
    ' FROM webhookd_delivery d LEFT JOIN webhookd_journal j ON j.uuid = d.event_uuid WHERE d.uuid = :uuid'
    ' ON CONFLICT (uuid, attempts) DO UPDATE'
    " SET status = 'error', ended_at = excluded.ended_at, detail = excluded.detail"
    " WHERE webhookd_subscription_log.status <> 'success'"
)
_GIVE_UP_LOG_POSTGRESQL = text(_GIVE_UP_LOG.format('CAST(j.body AS json)', 'CAST(:detail AS json)'))
_GIVE_UP_LOG_SQLITE = text(_GIVE_UP_LOG.format('j.body', ':detail'))


def suspects(connection: Connection, most: int = 100) -> list[tuple[str, str]]:
    """Due deliveries that were in workers that died: (uuid, subscription uuid). Reads all that waits: rarely."""
    rows = connection.execute(_SUSPECTS.on(connection), {'deaths': SHARED_DEATHS, 'below_deaths': DEATHS, 'most': most})
    return [(uuid, subscription) for uuid, subscription in rows]


def give_up(connection: Connection, uuids: Iterable[str], reason: str) -> list[str]:
    """waiting or out -> error, with a log row that says why. Returns those that were so."""
    done = []
    for uuid in sorted(uuids):
        if connection.execute(_GIVE_UP.on(connection), {'uuid': uuid, 'reason': reason}).rowcount:
            log = _GIVE_UP_LOG_SQLITE if is_sqlite(connection) else _GIVE_UP_LOG_POSTGRESQL
            connection.execute(log, {'uuid': uuid, 'detail': json.dumps({'error': reason})})
            done.append(uuid)
    return done


# -- ending without an attempt ----------------------------------------------------------------------

_EXPIRE = (
    f"UPDATE webhookd_delivery SET state = '{EXPIRED}', ended_at = {{NOW}}, reason = :reason"
    " WHERE state = 'waiting' AND uuid IN (SELECT uuid FROM webhookd_delivery"
    " WHERE state = 'waiting' AND expires_at <= {BEGUN} {0} LIMIT :most)"
)
_EXPIRE_OLD = Statement(_EXPIRE.replace('{0}', 'AND created_at <= {AGO:age}'))
_EXPIRE_ANY = Statement(_EXPIRE.replace('{0}', ''))
_CANCEL_GONE = Statement(
    f"UPDATE webhookd_delivery SET state = '{CANCELLED}', ended_at = {{NOW}}, reason = :reason"
    " WHERE state = 'waiting' AND uuid IN (SELECT uuid FROM webhookd_delivery"
    " WHERE state = 'waiting' AND subscription_uuid = :subscription AND NOT EXISTS"
    ' (SELECT 1 FROM webhookd_subscription WHERE uuid = :subscription) ORDER BY uuid LIMIT :most)'
)


def expire(connection: Connection, *, older_than: float | None, most: int = 500) -> int:
    """waiting -> expired for at most ``most`` whose time is over. ``older_than`` (seconds since they came in) lets an
    index find them; None looks at all that waits: rarely."""
    parameters: dict[str, Any] = {'reason': 'not delivered before it expired', 'most': most}
    if older_than is None:
        return connection.execute(_EXPIRE_ANY.on(connection), parameters).rowcount
    return connection.execute(_EXPIRE_OLD.on(connection), {**parameters, 'age': older_than}).rowcount


def cancel_gone(connection: Connection, subscription: str, most: int = 500) -> int:
    """waiting -> cancelled for at most ``most`` of a subscription, if it does not exist."""
    parameters = {'subscription': subscription, 'reason': REASON_CANCELLED, 'most': most}
    return connection.execute(_CANCEL_GONE.on(connection), parameters).rowcount


_HAS_SUBSCRIPTION = text('SELECT 1 FROM webhookd_subscription WHERE uuid = :subscription')


def has_subscription(connection: Connection, subscription: str) -> bool:
    return connection.execute(_HAS_SUBSCRIPTION, {'subscription': subscription}).first() is not None


# -- questions --------------------------------------------------------------------------------------

_WAITING = Statement(
    "SELECT (SELECT count(*) FROM webhookd_delivery WHERE state = 'waiting'),"
    " {EPOCH:{NOW}} - {EPOCH:(SELECT min(due_at) FROM webhookd_delivery WHERE state = 'waiting')}"
)


_COUNT = {state: text(f"SELECT count(*) FROM webhookd_delivery WHERE state = '{state}'") for state in (WAITING, OUT)}
_COUNT_LANE = text(
    "SELECT count(*) FROM webhookd_delivery WHERE subscription_uuid = :subscription AND state = 'waiting'"
)


def waiting(connection: Connection) -> tuple[int, float | None]:
    """How many wait, and for how many seconds the one that fell due first has (None: nothing is due)."""
    count, seconds = connection.execute(_WAITING.on(connection)).one()
    return count, None if seconds is None or seconds < 0 else float(seconds)


def count(connection: Connection, state: str) -> int:
    """How many are in this state; for states with an index of their own."""
    return int(connection.execute(_COUNT[state]).scalar_one())


def waiting_of(connection: Connection, subscription: str) -> int:
    """How many of this subscription wait."""
    return int(connection.execute(_COUNT_LANE, {'subscription': subscription}).scalar_one())


class Recent(NamedTuple):
    """``success_rate``: of the attempts that ended lately, 0 to 1; None if there were none."""

    success_rate: float | None
    last_success_at: datetime | None
    last_failure_at: datetime | None


def recent_attempts(connection: Connection, subscription: str, seconds: float, most: int = 5000) -> Recent:
    """How the newest attempts of a subscription went (at most ``most`` are looked at)."""
    log: Any = SubscriptionLog.__table__.c
    newest = (
        select(log.status, log.started_at, log.ended_at)
        .where(log.subscription_uuid == subscription, log.status.is_not(None))
        .order_by(log.started_at.desc())
        .limit(most)
        .subquery()
    )
    good, lately = newest.c.status == 'success', newest.c.started_at > seconds_ago(seconds)
    row = connection.execute(
        select(
            func.count().filter(lately, good),
            func.count().filter(lately),
            func.max(newest.c.ended_at).filter(good),
            func.max(newest.c.ended_at).filter(~good),
        )
    ).one()
    return Recent(row[0] / row[1] if row[1] else None, row[2], row[3])
