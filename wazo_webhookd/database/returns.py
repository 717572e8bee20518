"""Deliveries that come back without an attempt, or end without one: orphans, unsent ones, suspects, expired ones.

Every change is conditional on the state that it starts from; statements on a group go through it sorted by uuid.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from sqlalchemy import Connection

from ..domain.admission.rules import DEATHS, SHARED_DEATHS
from ..domain.delivery import CANCELLED, EXPIRED, ORPHAN_SECONDS
from .dialect import Statement
from .processes import SILENT_SECONDS

ADRIFT_SECONDS: Final = 10.0
"""A row out that nobody holds for so long is in no hand; until it is an orphan it may come into one."""

REASON_CANCELLED: Final = 'subscription deleted'


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
    rows = _READ_OUT.rows(connection, silent=SILENT_SECONDS, no=False)
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


def is_adrift(row: OutRow) -> bool:
    """No hand has it: one that did would have said so after a second. Its message may be in a frozen worker."""
    return row.holder_lives is None and row.age > ADRIFT_SECONDS


def is_orphan(row: OutRow) -> bool:
    """Nobody has it in hand any more (architecture, 6.3)."""
    return row.age > ORPHAN_SECONDS if row.holder_lives is None else not row.holder_lives


def take_back(connection: Connection, orphans: Sequence[OutRow], *, died: bool = True) -> list[OutRow]:
    """out -> waiting, with one death more for those that somebody held (unless ``died`` is False: it ended well).
    Returns those that were still as read, with the deaths that they have now."""
    done = []
    for row in sorted(orphans):
        more = int(died and row.held_by is not None)
        parameters = {'attempt': row.attempt, 'send': row.send, 'held_by': row.held_by or '', 'died': more}
        if _BACK.change(connection, uuid=row.uuid, **parameters):
            done.append(row._replace(deaths=row.deaths + more))
    return done


def put_back(connection: Connection, unsent: Iterable[tuple[str, int, int]]) -> int:
    """out -> waiting, for (uuid, attempt, send) of which certainly no message was sent."""
    return sum(
        _UNSENT.change(connection, uuid=uuid, attempt=attempt, send=send) for uuid, attempt, send in sorted(unsent)
    )


_SUSPECTS = Statement(
    'SELECT uuid, subscription_uuid FROM webhookd_delivery'
    " WHERE state = 'waiting' AND deaths >= :deaths AND deaths < :below_deaths"
    ' AND due_at <= {BEGUN} AND expires_at > {BEGUN} ORDER BY due_at, sequence LIMIT :most'
)
_GIVE_UP = Statement(
    "UPDATE webhookd_delivery SET state = 'error', ended_at = {NOW}, reason = :reason, held_by = NULL"
    " WHERE uuid = :uuid AND state IN ('waiting', 'out')"
)
_GIVE_UP_LOG = Statement(
    'INSERT INTO webhookd_subscription_log'
    ' (uuid, subscription_uuid, status, started_at, ended_at, attempts, max_attempts, event, detail)'
    " SELECT d.uuid, d.subscription_uuid, 'error', d.sent_at, d.ended_at, d.attempt, d.max_attempts, {JSON:j.body},"
    ' {JSON::detail} FROM webhookd_delivery d LEFT JOIN webhookd_journal j ON j.uuid = d.event_uuid'
    ' WHERE d.uuid = :uuid ON CONFLICT (uuid, attempts) DO UPDATE'
    " SET status = 'error', ended_at = excluded.ended_at, detail = excluded.detail"
    " WHERE webhookd_subscription_log.status <> 'success'"
)


def suspects(connection: Connection, most: int = 100) -> list[tuple[str, str]]:
    """Due deliveries that were in workers that died: (uuid, subscription uuid). Reads all that waits: rarely."""
    return _SUSPECTS.rows(connection, deaths=SHARED_DEATHS, below_deaths=DEATHS, most=most)


def give_up(connection: Connection, uuids: Iterable[str], reason: str) -> list[str]:
    """waiting or out -> error, with a log row that says why. Returns those that were so."""
    done = []
    for uuid in sorted(uuids):
        if _GIVE_UP.change(connection, uuid=uuid, reason=reason):
            _GIVE_UP_LOG.change(connection, uuid=uuid, detail=json.dumps({'error': reason}))
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
    reason = 'not delivered before it expired'
    if older_than is None:
        return _EXPIRE_ANY.change(connection, reason=reason, most=most)
    return _EXPIRE_OLD.change(connection, reason=reason, most=most, age=older_than)


def cancel_gone(connection: Connection, subscription: str, most: int = 500) -> int:
    """waiting -> cancelled for at most ``most`` of a subscription, if it does not exist."""
    return _CANCEL_GONE.change(connection, subscription=subscription, reason=REASON_CANCELLED, most=most)


_HAS_SUBSCRIPTION = Statement('SELECT 1 FROM webhookd_subscription WHERE uuid = :subscription')


def has_subscription(connection: Connection, subscription: str) -> bool:
    return bool(_HAS_SUBSCRIPTION.rows(connection, subscription=subscription))
