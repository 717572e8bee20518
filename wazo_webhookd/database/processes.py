"""Lives: which processes run, by the database's clock.

A life renews its row every few seconds. It has ended when it said so or was silent for SILENT_SECONDS; one that was
only asleep and renews its row again lives again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, Row, Select, func, insert, or_, select, update

from ..exceptions import WebhookdError
from .dialect import is_sqlite
from .models import Process
from .types import clock_now, seconds_ago

RENEW_SECONDS: Final = 5
SILENT_SECONDS: Final = 15

HANDS_CHANNEL: Final = 'webhookd_hands'
"""Where it is said that a worker came, went, or has more or fewer hands."""

_process = Process.__table__


class LifeForgotten(WebhookdError):
    """This life's row is gone (it was silent for days): register again."""


def register(connection: Connection, id: str, kind: str, host: str, pid: int, hands: int) -> datetime:
    """Begin a life (``kind``: daemon, worker, suspects) and return the database's time. Doing it again is harmless."""
    now = _renewed(connection, id, hands=hands)
    if now is not None:
        return now
    begun: datetime = connection.execute(
        insert(_process)
        .values(id=id, kind=kind, host=host, pid=pid, hands=hands, started_at=clock_now(), seen_at=clock_now())
        .returning(_process.c.seen_at)
    ).scalar_one()
    return begun


def renew(connection: Connection, id: str, hands: int, written_off: int) -> datetime:
    """Say that this life goes on, with so many hands, and return the database's time. Raises LifeForgotten."""
    now = _renewed(connection, id, hands=hands, written_off=written_off)
    if now is None:
        raise LifeForgotten
    return now


def _renewed(connection: Connection, id: str, **values: int) -> datetime | None:
    now: datetime | None = connection.execute(
        update(_process)
        .where(_process.c.id == id)
        .values(seen_at=clock_now(), ended_at=None, **values)
        .returning(_process.c.seen_at)
    ).scalar_one_or_none()
    return now


def end(connection: Connection, id: str) -> None:
    """This life is over. Ending it twice changes nothing."""
    connection.execute(
        update(_process)
        .where(_process.c.id == id, _process.c.ended_at.is_(None))
        .values(ended_at=clock_now(), backend_pid=None)
    )


def end_worker(connection: Connection, host: str, pid: int) -> None:
    """A worker process died: its life is over at once, not only when its silence is noticed."""
    connection.execute(
        update(_process)
        .where(
            _process.c.host == host, _process.c.pid == pid, _process.c.kind != 'daemon', _process.c.ended_at.is_(None)
        )
        .values(ended_at=clock_now())
    )


def tell_hands(connection: Connection) -> None:
    """Once this transaction is committed, whoever listens on HANDS_CHANNEL reads which workers live (PostgreSQL)."""
    if not is_sqlite(connection):
        connection.execute(select(func.pg_notify(HANDS_CHANNEL, '')))


def bury(connection: Connection) -> list[str]:
    """End the lives that fell silent; returns their ids."""
    return list(
        connection.execute(
            update(_process)
            .where(_process.c.ended_at.is_(None), _process.c.seen_at <= seconds_ago(SILENT_SECONDS))
            .values(ended_at=clock_now())
            .returning(_process.c.id)
        ).scalars()
    )


def hold_lock(connection: Connection, id: str, backend_pid: int | None) -> None:
    """Note which session of the server holds the admission lock for this life (None: it let go)."""
    connection.execute(update(_process).where(_process.c.id == id).values(backend_pid=backend_pid))


def living(connection: Connection) -> Sequence[Row[Any]]:
    """The rows of all lives: id, kind, host, pid, hands, written_off, backend_pid, started_at, seen_at, ended_at."""
    return connection.execute(
        select(_process)
        .where(_process.c.ended_at.is_(None), _process.c.seen_at > seconds_ago(SILENT_SECONDS))
        .order_by(_process.c.started_at, _process.c.id)
    ).all()


def living_ids() -> Select[Any]:
    """A SELECT of the ids of all lives, for use inside other statements (``held_by NOT IN …``)."""
    return select(_process.c.id).where(_process.c.ended_at.is_(None), _process.c.seen_at > seconds_ago(SILENT_SECONDS))


def ended_since(connection: Connection, since: datetime) -> Sequence[Row[Any]]:
    """The rows of lives that ended or fell silent after ``since``."""
    silent = _process.c.ended_at.is_(None) & (_process.c.seen_at <= seconds_ago(SILENT_SECONDS))
    return connection.execute(
        select(_process)
        .where(or_(_process.c.ended_at > since, silent & (_process.c.seen_at > since)))
        .order_by(_process.c.seen_at, _process.c.id)
    ).all()


def ended_among(connection: Connection, ids: Iterable[str]) -> set[str]:
    """Those of ``ids`` that do not live: ended, silent or never heard of."""
    wanted = set(ids)
    if not wanted:
        return set()
    return wanted - set(connection.execute(living_ids().where(_process.c.id.in_(sorted(wanted)))).scalars())
