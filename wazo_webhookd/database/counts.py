"""How many deliveries there are, and how the last attempts went: for people."""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, func, select

from ..domain.delivery import OUT, WAITING
from .dialect import Statement
from .models import SubscriptionLog
from .types import seconds_ago

_WAITING = Statement(
    "SELECT (SELECT count(*) FROM webhookd_delivery WHERE state = 'waiting'),"
    " {EPOCH:{NOW}} - {EPOCH:(SELECT min(due_at) FROM webhookd_delivery WHERE state = 'waiting')}"
)


_COUNT = {
    state: Statement(f"SELECT count(*) FROM webhookd_delivery WHERE state = '{state}'") for state in (WAITING, OUT)
}
_COUNT_LANE = Statement(
    "SELECT count(*) FROM webhookd_delivery WHERE subscription_uuid = :subscription AND state = 'waiting'"
)


def waiting(connection: Connection) -> tuple[int, float | None]:
    """How many wait, and for how many seconds the one that fell due first has (None: nothing is due)."""
    [(count, seconds)] = _WAITING.rows(connection)
    return count, None if seconds is None or seconds < 0 else float(seconds)


def count(connection: Connection, state: str) -> int:
    """How many are in this state; for states with an index of their own."""
    return int(_COUNT[state].rows(connection)[0][0])


def waiting_of(connection: Connection, subscription: str) -> int:
    """How many of this subscription wait."""
    return int(_COUNT_LANE.rows(connection, subscription=subscription)[0][0])


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
