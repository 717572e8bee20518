"""What admission writes down about endpoints and subscriptions: circuits, standings, disablings."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Row, select, update
from sqlalchemy.dialects import postgresql, sqlite

from ..domain.admission import CLOSED, Health
from ..domain.admission.lanes import Standing, own_key
from . import facts
from .dialect import is_sqlite
from .models import EndpointHealth
from .types import clock_now

DISABLED_VERSION = 'disabled_version'
"""Fact whose number grows whenever a subscription is disabled or resumed."""

_endpoint = EndpointHealth.__table__


def load(connection: Connection) -> list[tuple[Health, Standing]]:
    """Everything that was written down."""
    return [(_health(row), row.standing) for row in connection.execute(select(_endpoint))]


def read(connection: Connection, keys: Iterable[str]) -> dict[str, Row[Any]]:
    """The rows with these keys, as stored."""
    rows = connection.execute(select(_endpoint).where(_endpoint.c.key.in_(sorted(set(keys)))))
    return {row.key: row for row in rows}


def save(connection: Connection, rows: Sequence[dict[str, Any]]) -> None:
    """Write these down (``as_row``), whatever was there."""
    if not rows:
        return
    insert: Any = sqlite.insert if is_sqlite(connection) else postgresql.insert
    statement = insert(_endpoint)
    names = [column.name for column in _endpoint.columns if column.name != 'key']
    statement = statement.on_conflict_do_update(
        index_elements=['key'], set_={name: statement.excluded[name] for name in names}
    )
    connection.execute(statement, sorted(rows, key=lambda row: str(row['key'])))


def disabled(connection: Connection) -> set[str]:
    """Uuids of the disabled subscriptions."""
    keys = connection.execute(select(_endpoint.c.key).where(_endpoint.c.disabled))
    return {key[4:] for key in keys.scalars() if key.startswith('sub:')}


def resume(connection: Connection, subscription: str, endpoint_key: str | None) -> bool:
    """Close the circuits of both and end a disabling. True if anything was the matter."""
    own = own_key(subscription)
    before = read(connection, {own, endpoint_key or own})
    connection.execute(
        update(_endpoint)
        .where(_endpoint.c.key.in_(sorted(before)))
        .values(
            circuit=CLOSED,
            failures_in_a_row=0,
            failing_since=None,
            resting_until=None,
            rest_seconds=None,
            reason=None,
            since=None,
            warned=0,
            disabled=False,
            updated_at=clock_now(),
        )
    )
    if any(row.disabled for row in before.values()):
        facts.bump(connection, DISABLED_VERSION)
    return any(row.disabled or row.circuit != CLOSED for row in before.values())


def _health(row: Row[Any]) -> Health:
    health = Health(row.key, row.tenant_uuid or '')
    health.circuit = row.circuit
    health.failures = row.failures_in_a_row
    health.failing_since = _seconds(row.failing_since)
    health.until = _seconds(row.resting_until)
    health.rest = row.rest_seconds
    health.reason = row.reason
    health.since = _seconds(row.since)
    health.last_success = _seconds(row.last_success_at)
    health.last_failure = _seconds(row.last_failure_at)
    health.warned = row.warned
    health.disabled = bool(row.disabled)
    return health


def as_row(health: Health, standing: Standing, now: float) -> dict[str, Any]:
    """What ``save`` writes; ``now``: Unix seconds."""
    return {
        'key': health.key,
        'tenant_uuid': health.tenant or None,
        'standing': standing,
        'circuit': health.circuit,
        'failures_in_a_row': health.failures,
        'failing_since': _moment(health.failing_since),
        'resting_until': _moment(health.until),
        'rest_seconds': health.rest,
        'reason': health.reason,
        'since': _moment(health.since),
        'last_success_at': _moment(health.last_success),
        'last_failure_at': _moment(health.last_failure),
        'warned': health.warned,
        'disabled': health.disabled,
        'updated_at': _moment(now),
    }


def _moment(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def _seconds(moment: datetime | None) -> float | None:
    return None if moment is None else moment.timestamp()
