"""What became of events: deliveries and their attempts as REST reads them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Row, func, select

from ..domain.delivery import ERROR, SUCCESS
from .models import Delivery, EndpointHealth, SubscriptionLog

_delivery: Final = Delivery.__table__
_log: Final = SubscriptionLog.__table__
_endpoint: Final = EndpointHealth.__table__


def page(
    connection: Connection,
    subscription_uuid: str,
    *,
    state: str | None = None,
    event_name: str | None = None,
    from_date: datetime | None = None,
    direction: str = 'desc',
    limit: int = 100,
    offset: int = 0,
) -> tuple[Sequence[Row[Any]], int]:
    """Deliveries of one subscription by the time they were made, and how many match in all."""
    conditions: list[ColumnElement[bool]] = [_delivery.c.subscription_uuid == subscription_uuid]
    if state is not None:
        conditions.append(_delivery.c.state == state)
    if event_name is not None:
        conditions.append(_delivery.c.event_name == event_name)
    if from_date is not None:
        conditions.append(_delivery.c.created_at >= from_date)
    order = [_delivery.c.created_at, _delivery.c.sequence, _delivery.c.uuid]
    if direction == 'desc':
        order = [column.desc() for column in order]
    rows = connection.execute(select(_delivery).where(*conditions).order_by(*order).limit(limit).offset(offset)).all()
    total = connection.execute(select(func.count()).select_from(_delivery).where(*conditions)).scalar_one()
    return rows, total


def one(connection: Connection, delivery_uuid: str) -> Row[Any] | None:
    return connection.execute(select(_delivery).where(_delivery.c.uuid == delivery_uuid)).one_or_none()


def attempts(connection: Connection, delivery_uuid: str) -> Sequence[Row[Any]]:
    """The attempts of a delivery in their order."""
    return connection.execute(select(_log).where(_log.c.uuid == delivery_uuid).order_by(_log.c.attempts)).all()


def attempts_made(connection: Connection, deliveries: Iterable[Row[Any]]) -> dict[str, int]:
    """Attempts that are over, by delivery: what is recorded, or (older logs may be gone) what the state says."""
    made = {row.uuid: row.attempt - (row.state not in (SUCCESS, ERROR)) for row in deliveries}
    if made:
        statement = select(_log.c.uuid, func.max(_log.c.attempts)).where(_log.c.uuid.in_(made)).group_by(_log.c.uuid)
        for uuid, recorded in connection.execute(statement):
            made[uuid] = max(made[uuid], recorded)
    return made


def health_rows(connection: Connection, keys: Iterable[str]) -> dict[str, Row[Any]]:
    """What admission remembers of endpoints and subscriptions (``sub:<uuid>``), by key."""
    wanted = set(keys)
    if not wanted:
        return {}
    rows = connection.execute(select(_endpoint).where(_endpoint.c.key.in_(wanted)))
    return {row.key: row for row in rows}
