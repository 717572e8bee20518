"""The lock that makes one daemon the admitting one, its epoch, and what every transaction of intake asks first."""

from __future__ import annotations

import time
from typing import Final, Literal, NamedTuple

from sqlalchemy import Connection, text

from . import facts, processes
from .dialect import Statement, is_sqlite

EPOCH: Final = 'admission_epoch'
LANES_CHANNEL: Final = 'webhookd_lanes'
"""Notifications: lanes that another daemon wrote, subscriptions that somebody resumed (deliveries.lines)."""

OTHERS_SECONDS: Final = 2.0

_LOCK: Final = int.from_bytes(b'webhookd', 'big')
_INTAKE_LOCK: Final = int.from_bytes(b'webhook+', 'big')

_TRY = text('SELECT pg_try_advisory_lock(:key)')
_CUT_OFF = text(
    'SELECT count(pg_terminate_backend(l.pid)) FROM pg_locks l'
    " WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1 AND l.classid = :high AND l.objid = :low"
    ' AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())'
    ' AND l.pid <> pg_backend_pid()'
    ' AND NOT EXISTS (SELECT 1 FROM webhookd_process p WHERE p.backend_pid = l.pid AND p.ended_at IS NULL'
    ' AND p.seen_at > clock_timestamp() - make_interval(secs => :silent))'
)
_STATE = (
    'SELECT {EPOCH:{NOW}}, coalesce((SELECT number FROM webhookd_fact WHERE name = :index), 0),'
    ' coalesce((SELECT number FROM webhookd_fact WHERE name = :disabled), 0),'
)
_OPEN = f'{_STATE} 0'
_FENCED = (
    'WITH fence AS MATERIALIZED (SELECT number FROM webhookd_fact WHERE name = :epoch FOR SHARE)'
    f' {_STATE} coalesce((SELECT number FROM fence), 0)'
)
_SHARED = ', pg_advisory_xact_lock_shared(:intake)'
_STATEMENTS = {
    (False, False): Statement(_OPEN),
    (False, True): Statement(_OPEN + _SHARED),
    (True, False): Statement(_FENCED),
    (True, True): Statement(_FENCED + _SHARED),
}
_ALONE = text('SELECT pg_try_advisory_xact_lock(:key)')
_ALONE_WAIT: Final = 0.02

Guard = Literal['shared', 'alone']
"""How a transaction of intake meets those of other daemons: beside them, or after they have ended."""


class State(NamedTuple):
    """``now``: Unix seconds by the database's clock. ``epoch`` is 0 unless asked for."""

    now: float
    index_version: int
    disabled_version: int
    epoch: int


def state(connection: Connection, *, fenced: bool = False, intake: Guard | None = None) -> State:
    """``fenced``: reads the epoch as well, and no other daemon takes over before this transaction ends.

    ``intake``: how to meet other daemons' transactions of intake. ``alone`` waits for those under way, but not for
    longer than OTHERS_SECONDS (one may be frozen).
    """
    sqlite = is_sqlite(connection)
    fenced = fenced and not sqlite
    parameters: dict[str, object] = {'index': 'index_version', 'disabled': 'disabled_version'}
    shared = intake == 'shared' and not sqlite
    if fenced:
        parameters['epoch'] = EPOCH
    if shared:
        parameters['intake'] = _INTAKE_LOCK
    if intake == 'alone' and not sqlite:
        until = time.monotonic() + OTHERS_SECONDS
        while not connection.execute(_ALONE, {'key': _INTAKE_LOCK}).scalar_one() and time.monotonic() < until:
            time.sleep(_ALONE_WAIT)
    [(now, *numbers)] = _STATEMENTS[fenced, shared].rows(connection, **parameters)
    return State(round(now, 3) if sqlite else now, *numbers[:3])  # SQLite's clock has milliseconds, its arithmetic errs


def announce_session(connection: Connection, life: str) -> bool:
    """Note that this session is the one with which ``life`` will hold the lock. False if the life has no row."""
    pid = connection.exec_driver_sql('SELECT pg_backend_pid()').scalar_one()
    processes.hold_lock(connection, life, pid)
    return any(row.id == life and row.backend_pid == pid for row in processes.living(connection))


def try_lock(connection: Connection) -> int | None:
    """Take the lock for this session if it is free: the new epoch, or None."""
    if not connection.execute(_TRY, {'key': _LOCK}).scalar_one():
        return None
    return facts.bump(connection, EPOCH)


def cut_off_dead_holder(connection: Connection) -> bool:
    """End the session that holds the lock if no life stands behind it (a frozen process keeps its session)."""
    parameters = {'high': _LOCK >> 32, 'low': _LOCK & 0xFFFFFFFF, 'silent': processes.SILENT_SECONDS}
    return bool(connection.execute(_CUT_OFF, parameters).scalar_one())


def notify(connection: Connection, channel: str, payload: str) -> None:
    """Leaves with the commit (PostgreSQL only)."""
    if not is_sqlite(connection):
        connection.execute(text('SELECT pg_notify(:channel, :payload)'), {'channel': channel, 'payload': payload})


def server_age(connection: Connection) -> float | None:
    """Seconds since the database server started (None: SQLite)."""
    if is_sqlite(connection):
        return None
    return float(
        connection.exec_driver_sql(
            'SELECT CAST(extract(epoch FROM clock_timestamp() - pg_postmaster_start_time()) AS float8)'
        ).scalar_one()
    )
