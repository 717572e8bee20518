"""How a subscription fares, for people: the shape of ``GET /subscriptions/{u}/health``."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from ..database import counts, endpoints, subscriptions
from ..database.session import Database
from ..domain.admission import CLOSED, HALF_OPEN, OPEN, POOR
from ..domain.endpoint import admission_key

RECENT_SECONDS: Final = 3600.0


def health(database: Database, subscription_uuid: str) -> dict[str, Any]:
    """``subscription_uuid, state`` (healthy, degraded, resting, disabled)``, reason, since, resting_until, endpoint,
    failures_in_a_row, last_success_at, last_failure_at, waiting, success_rate`` (of the last hour, 0 to 1 or None).

    Times are ISO 8601. Raises DatabaseUnavailable.
    """
    with database.reading() as connection:
        found = subscriptions.fetch(connection, [subscription_uuid])
        own = f'sub:{subscription_uuid}'
        endpoint = own
        for subscription in found:
            endpoint = admission_key(
                subscription.owner_tenant_uuid,
                subscription.uuid,
                subscription.service or '',
                subscription.config.get('url'),
            )
        known = endpoints.read(connection, {own, endpoint})
        recent = counts.recent_attempts(connection, subscription_uuid, RECENT_SECONDS)
        waiting = counts.waiting_of(connection, subscription_uuid)
        now = database.now(connection)
    own_row, endpoint_row = known.get(own), known.get(endpoint)
    state, row = _state(own_row, endpoint_row, now)
    failures = max((r.failures_in_a_row for r in known.values()), default=0)
    return {
        'subscription_uuid': subscription_uuid,
        'state': state,
        'reason': _reason(state, row),
        'since': _text(_since(state, row)),
        'resting_until': _text(row.resting_until) if state == 'resting' else None,
        'endpoint': endpoint.partition('|')[2] or endpoint,
        'failures_in_a_row': failures,
        'last_success_at': _text(recent.last_success_at),
        'last_failure_at': _text(recent.last_failure_at),
        'waiting': waiting,
        'success_rate': recent.success_rate,
    }


def _state(own: Any, endpoint: Any, now: datetime) -> tuple[str, Any]:
    """The state, and the row that it comes from."""
    if own is not None and own.disabled:
        return 'disabled', own
    for row in (own, endpoint):
        if row is not None and row.circuit == OPEN and (row.resting_until is None or row.resting_until > now):
            return 'resting', row
    for row in (own, endpoint):
        if row is not None and (row.circuit in (OPEN, HALF_OPEN) or row.failing_since is not None):
            return 'degraded', row
    if endpoint is not None and endpoint.standing == POOR:
        return 'degraded', endpoint
    return 'healthy', endpoint


def _reason(state: str, row: Any) -> str | None:
    if row is None or state == 'healthy':
        return None
    if row.reason:
        return str(row.reason)
    if row.circuit != CLOSED:
        return 'a delivery is tried to see whether it works again'
    if row.failing_since is not None:
        return 'the last deliveries failed'
    return 'answers slowly'


def _since(state: str, row: Any) -> datetime | None:
    if row is None or state == 'healthy':
        return None
    since: datetime | None = row.since or row.failing_since or row.updated_at
    return since


def _text(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
