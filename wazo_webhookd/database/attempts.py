"""What workers write: attempts that ended, who holds what, and deliveries that came without a row."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple
from uuid import NAMESPACE_URL, uuid5

from sqlalchemy import Connection, func, or_, select, tuple_, update

from ..domain.delivery import CANCELLED, OUT, WAITING, WORD_CHANNEL, Word, pack_words
from ..exceptions import DatabaseUnavailable, WebhookdError
from . import deliveries, journal
from .dialect import Statement, members, sqlite_text
from .models import Delivery
from .processes import living_ids
from .session import Database
from .trouble import first_line, let_go

SUBSCRIPTION_GONE: Final = 'subscription deleted'

_delivery: Any = Delivery.__table__


class RowRefused(WebhookdError):
    """The database does not take this row."""


class Ended(NamedTuple):
    """An attempt that ended. Times are Unix seconds by the database's clock.

    ``status``: success, failure (again at ``due_at``) or error. ``event`` and ``detail`` are JSON texts, written as
    they are. ``send`` None: the attempt belongs to no delivery row, only its log row is written.
    """

    delivery: str
    subscription: str
    attempt: int
    send: int | None
    max_attempts: int
    status: str
    started_at: float
    ended_at: float
    event: str | None
    detail: str
    due_at: float | None = None
    reason: str | None = None


class Send(NamedTuple):
    """One message of a delivery: the fence of every change (architecture, 6.1)."""

    delivery: str
    attempt: int
    send: int


class Orphan(NamedTuple):
    """A delivery that came without a row. ``event``: its body as JSON text; ``days``: how long it may take."""

    delivery: str
    subscription: str
    tenant: str
    event_name: str
    event_tenant: str | None
    event: str
    attempt: int
    max_attempts: int
    days: float


class AttemptRows:
    """The statements of one process. ``record`` keeps a connection of its own, for one thread."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._own: Connection | None = None

    def record(self, group: Sequence[Ended], words: Sequence[Word]) -> None:
        """Write log rows, move deliveries and tell the admitter, in one transaction; doing it twice is harmless.

        A log row is overwritten unless it says success, and skipped when the subscription is gone; so is a failure's
        next attempt: the delivery is cancelled. Not two attempts of one delivery in a group.
        Raises DatabaseUnavailable, also for a schema or rights that do not fit (repeating loses nothing), and
        RowRefused when it is the data that the database does not take.
        """
        group = sorted(group)
        try:
            if self._database.is_sqlite:
                with self._database.transaction() as connection:
                    _record_on_sqlite(connection, group)
            else:
                with self._cursor() as cursor:
                    cursor.execute(_recording(cursor, group, words))
        except Exception as error:
            if _is_about_data(error):
                raise RowRefused(f'The database does not take this row: {first_line(error)}') from error
            self.close()
            if isinstance(error, DatabaseUnavailable):
                raise
            raise DatabaseUnavailable(f'The database does not work: {first_line(error)}') from error

    def hold(self, items: Collection[Send], life: str, words: Sequence[Word] = ()) -> set[Send]:
        """Mark messages as held by this life: those that it holds now (another life's are left alone)."""
        with self._database.transaction() as connection:
            held = _hold(connection, items, life)
            self._say(connection, words)
        return held

    def release(self, life: str) -> None:
        """This life ends in order and holds nothing any more: what it did not finish is nobody's, and no death."""
        c = _delivery.c
        mine = select(c.uuid).where(c.held_by == life, c.state == OUT).order_by(c.uuid).with_for_update()
        with self._database.transaction() as connection:
            connection.execute(update(_delivery).where(c.uuid.in_(mine)).values(held_by=None))

    def tell(self, words: Sequence[Word]) -> None:
        """Tell the admitter (PostgreSQL; elsewhere nothing happens)."""
        if words and not self._database.is_sqlite:
            with self._database.transaction() as connection:
                self._say(connection, words)

    def adopt(self, orphan: Orphan) -> bool:
        """Make rows of a delivery that came without any, waiting for the admitter; False when it was known."""
        now = datetime.now(UTC)
        event_uuid = str(uuid5(NAMESPACE_URL, f'urn:uuid:{orphan.delivery}'))
        delivery = deliveries.NewDelivery(
            orphan.delivery,
            time.time_ns() // 1000,
            orphan.subscription,
            orphan.tenant,
            event_uuid,
            orphan.event_name,
            out=False,
        )
        tenant = orphan.event_tenant
        body = orphan.event
        event = journal.JournalRow(event_uuid, orphan.event_name, tenant, 'bus', now, None, 1, '{}', body)
        with self._database.transaction() as connection:
            known = select(_delivery.c.uuid).where(_delivery.c.uuid == orphan.delivery)
            if connection.execute(known).first() is not None:
                return False
            journal.insert(connection, [event])
            deliveries.insert(
                connection,
                [delivery],
                now=now,
                due_at=now,
                expires_at=now + timedelta(days=orphan.days),
                max_attempts=orphan.max_attempts,
            )
            if orphan.attempt > 1:
                c = _delivery.c
                later = update(_delivery).where(c.uuid == orphan.delivery, c.send == 0, c.attempt == 1)
                connection.execute(later.values(attempt=orphan.attempt, send=orphan.attempt - 1))
        return True

    def close(self) -> None:
        own, self._own = self._own, None
        if own is not None:
            let_go(own)

    def _say(self, connection: Connection, words: Sequence[Word]) -> None:
        if words and not self._database.is_sqlite:
            for piece in pack_words(words):
                connection.execute(select(func.pg_notify(WORD_CHANNEL, piece)))

    def _cursor(self) -> Any:
        if self._own is None:
            self._own = self._database.own_connection(autocommit=True)
        driver: Any = self._own.connection.dbapi_connection
        driver.autocommit = True
        return driver.cursor()


# -- PostgreSQL: one simple query, that is one transaction and one round trip ------------------------

_ROW: Final = '(%s,%s,%s,%s::int,%s,%s,%s,%s,%s::text,%s,%s::float8,%s::text)'

_RECORD: Final = """\
WITH r (uuid, subscription_uuid, attempt, send, max_attempts, status, started, ended, event, detail, due, reason)
  AS (VALUES {rows}),
alive AS MATERIALIZED (
  SELECT uuid FROM webhookd_subscription WHERE uuid IN (SELECT subscription_uuid FROM r)
),
logged AS (
  INSERT INTO webhookd_subscription_log AS l
    (uuid, subscription_uuid, status, started_at, ended_at, attempts, max_attempts, event, detail)
  SELECT r.uuid, r.subscription_uuid, r.status::status_types, to_timestamp(r.started), to_timestamp(r.ended),
         r.attempt, r.max_attempts, r.event::json, r.detail::json
  FROM r JOIN alive ON alive.uuid = r.subscription_uuid
  ON CONFLICT (uuid, attempts) DO UPDATE SET
    status = excluded.status, started_at = excluded.started_at, ended_at = excluded.ended_at,
    max_attempts = excluded.max_attempts, event = excluded.event, detail = excluded.detail
  WHERE l.status IS DISTINCT FROM 'success'
)
UPDATE webhookd_delivery AS d SET
  state = CASE WHEN r.status <> 'failure' THEN r.status WHEN alive.uuid IS NULL THEN 'cancelled' ELSE 'waiting' END,
  attempt = CASE
    WHEN r.status = 'failure' AND alive.uuid IS NOT NULL THEN r.attempt + 1
    WHEN d.state = 'waiting' THEN r.attempt
    ELSE d.attempt END,
  due_at = CASE WHEN r.status = 'failure' THEN to_timestamp(r.due) ELSE d.due_at END,
  ended_at = CASE WHEN r.status = 'failure' AND alive.uuid IS NOT NULL THEN NULL ELSE to_timestamp(r.ended) END,
  reason = CASE WHEN r.status = 'failure' AND alive.uuid IS NULL THEN '{gone}' ELSE r.reason END,
  held_by = NULL,
  deaths = 0
FROM r LEFT JOIN alive ON alive.uuid = r.subscription_uuid
WHERE d.uuid = r.uuid AND CASE WHEN r.status = 'success'
  THEN d.state IN ('out', 'waiting') AND d.attempt >= r.attempt AND r.send IS NOT NULL
  ELSE d.state = 'out' AND d.attempt = r.attempt AND d.send = r.send END"""


def _recording(cursor: Any, group: Sequence[Ended], words: Sequence[Word]) -> bytes:
    mogrify = cursor.mogrify
    head, tail = _RECORD.format(rows='\0', gone=SUBSCRIPTION_GONE).encode().split(b'\0')
    pieces = [head, b','.join([mogrify(_ROW, row) for row in group]), tail]
    if words:
        channel = WORD_CHANNEL.encode()
        notes = [mogrify('%s', (piece,)) for piece in pack_words(words)]
        pieces += [b'; SELECT pg_notify(', mogrify('%s', (channel.decode(),)), b', w) FROM unnest(ARRAY[']
        pieces += [b','.join(notes), b']) AS w']
    return b''.join(pieces)


# -- SQLite: the same, statement by statement -------------------------------------------------------


_ALIVE = Statement('SELECT uuid FROM webhookd_subscription WHERE uuid {IN:wanted}')
_LOG_ON_SQLITE = Statement(
    'INSERT INTO webhookd_subscription_log'
    ' (uuid, subscription_uuid, status, started_at, ended_at, attempts, max_attempts, event, detail)'
    ' VALUES (:uuid, :subscription, :status, :started, :ended, :attempt, :max_attempts, :event, :detail)'
    ' ON CONFLICT (uuid, attempts) DO UPDATE SET status = excluded.status, started_at = excluded.started_at,'
    ' ended_at = excluded.ended_at, max_attempts = excluded.max_attempts, event = excluded.event,'
    " detail = excluded.detail WHERE webhookd_subscription_log.status IS NOT 'success'"
)
_MOVE_ON_SQLITE = Statement(
    'UPDATE webhookd_delivery SET state = :state,'
    " attempt = CASE WHEN :again THEN :attempt + 1 WHEN state = 'waiting' THEN :attempt ELSE attempt END,"
    ' due_at = CASE WHEN :again THEN :due ELSE due_at END,'
    ' ended_at = CASE WHEN :again THEN NULL ELSE :ended END, reason = :reason, held_by = NULL, deaths = 0'
    " WHERE uuid = :uuid AND CASE WHEN :status = 'success' THEN state IN ('out', 'waiting') AND attempt >= :attempt"
    " ELSE state = 'out' AND attempt = :attempt AND send = :send END"
)


def _record_on_sqlite(connection: Connection, group: Sequence[Ended]) -> None:
    wanted = {row.subscription for row in group}
    alive = {uuid for (uuid,) in _ALIVE.rows(connection, wanted=members(connection, list(wanted)))}
    rows = [_row_of_sqlite(row, row.subscription in alive) for row in group]
    _LOG_ON_SQLITE.many(connection, [row for row in rows if row['subscription'] in alive])
    _MOVE_ON_SQLITE.many(connection, [row for row in rows if row['send'] is not None])


def _row_of_sqlite(row: Ended, alive: bool) -> dict[str, Any]:
    again = alive and row.status == 'failure'
    gone = not alive and row.status == 'failure'
    return {
        'uuid': row.delivery,
        'subscription': row.subscription,
        'status': row.status,
        'started': _text_of(row.started_at),
        'ended': _text_of(row.ended_at),
        'attempt': row.attempt,
        'send': row.send,
        'max_attempts': row.max_attempts,
        'event': row.event,
        'detail': row.detail,
        'state': WAITING if again else CANCELLED if gone else row.status,
        'again': again,
        'due': _text_of(row.due_at or row.ended_at),
        'reason': SUBSCRIPTION_GONE if gone else row.reason,
    }


def _text_of(seconds: float) -> str:
    return sqlite_text(datetime.fromtimestamp(seconds, UTC))


# -- both --------------------------------------------------------------------------------------------


def _hold(connection: Connection, items: Iterable[Send], life: str) -> set[Send]:
    c = _delivery.c
    free = or_(c.held_by.is_(None), c.held_by == life, c.held_by.not_in(living_ids()))
    mine = (
        select(c.uuid)
        .where(tuple_(c.uuid, c.attempt, c.send).in_(sorted(items)), c.state == OUT, free)
        .order_by(c.uuid)
        .with_for_update()
    )
    statement = update(_delivery).where(c.uuid.in_(mine)).values(held_by=life).returning(c.uuid, c.attempt, c.send)
    return {Send(*row) for row in connection.execute(statement)}


def _is_about_data(error: BaseException) -> bool:
    """SQLSTATE classes 22 (data), 23 (constraints), 54 (limits), and what drivers refuse before sending it."""
    original = getattr(error, 'orig', None) or error
    state = getattr(original, 'pgcode', None)
    if state is not None:
        return str(state).startswith(('22', '23', '54'))
    return isinstance(original, (ValueError, TypeError, OverflowError, sqlite3.IntegrityError, sqlite3.DataError))
