"""Old rows go: finished ones only, in small batches, so that nobody waits for it."""

from __future__ import annotations

import threading
from datetime import datetime, timedelta
from typing import Any, Final, Protocol

from sqlalchemy import ColumnElement, Table, and_, delete, exists, not_, or_, select, tuple_

from ..domain.delivery import ENDED, OUT, WAITING
from .models import Delivery, EndpointHealth, JournalEvent, Process, Subscription, SubscriptionLog
from .session import Database

BATCH_ROWS: Final = 500
PAUSE_SECONDS: Final = 0.05
PROCESS_DAYS: Final = 7
ENDPOINT_DAYS: Final = 30


class RetentionConfig(Protocol):
    """How many days rows stay after they came in (journal), ended (deliveries) or began (logs)."""

    @property
    def journal_days(self) -> float: ...
    @property
    def deliveries_days(self) -> float: ...
    @property
    def logs_days(self) -> float: ...


def sweep(
    database: Database,
    retention: RetentionConfig,
    *,
    stopping: threading.Event | None = None,
    batch: int = BATCH_ROWS,
    pause: float = PAUSE_SECONDS,
) -> dict[str, int]:
    """Delete what is older than it has to stay; ends early when ``stopping`` is set.

    Returns the numbers of deleted rows by kind: logs, deliveries, journal, processes, endpoints. Several daemons may
    sweep at once. Raises DatabaseUnavailable; what was deleted by then stays deleted.
    """
    stopping = stopping or threading.Event()
    with database.reading() as connection:
        now = database.now(connection)
    counts: dict[str, int] = {}
    for kind, table, condition in _conditions(now, retention):
        counts[kind] = 0
        while not stopping.is_set():
            deleted = _delete_some(database, table, condition, batch)
            counts[kind] += deleted
            if deleted < batch:
                break
            stopping.wait(pause)
    return counts


def _conditions(now: datetime, retention: RetentionConfig) -> list[tuple[str, Table, ColumnElement[bool]]]:
    log, delivery, journal = SubscriptionLog.__table__.c, Delivery.__table__.c, JournalEvent.__table__.c
    process, endpoint = Process.__table__.c, EndpointHealth.__table__.c
    subscription = Subscription.__table__.c

    def ago(days: float) -> datetime:
        return now - timedelta(days=days)

    logs_end, deliveries_end = ago(retention.logs_days), ago(retention.deliveries_days)
    unfinished = exists().where(delivery.event_uuid == journal.uuid, delivery.state.in_([WAITING, OUT]))
    alive = exists().where(endpoint.key == 'sub:' + subscription.uuid)
    return [
        (
            'logs',
            SubscriptionLog.__table__,
            or_(log.started_at < logs_end, and_(log.started_at.is_(None), log.ended_at < logs_end)),
        ),
        (
            'deliveries',
            Delivery.__table__,
            # created_at is the indexed one, and never after ended_at
            and_(delivery.state.in_(ENDED), delivery.created_at < deliveries_end, delivery.ended_at < deliveries_end),
        ),
        ('journal', JournalEvent.__table__, and_(journal.received_at < ago(retention.journal_days), not_(unfinished))),
        ('processes', Process.__table__, process.seen_at < ago(PROCESS_DAYS)),
        (
            'endpoints',
            EndpointHealth.__table__,
            or_(
                and_(endpoint.updated_at < ago(ENDPOINT_DAYS), not_(endpoint.disabled)),
                and_(endpoint.key.startswith('sub:'), endpoint.updated_at < ago(1), not_(alive)),
            ),
        ),
    ]


def _delete_some(database: Database, table: Table, condition: ColumnElement[bool], batch: int) -> int:
    keys: list[Any] = list(table.primary_key.columns)
    some = select(*keys).where(condition).limit(batch)
    if not database.is_sqlite:
        # Inside WITH it is executed once; a plan may execute a subquery for each row, and delete more than the batch.
        locked = some.with_for_update(of=table, skip_locked=True).cte('some')
        some = select(*locked.c)
    key = keys[0] if len(keys) == 1 else tuple_(*keys)
    with database.transaction() as connection:
        return connection.execute(delete(table).where(key.in_(some))).rowcount
