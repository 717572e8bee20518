"""Bus events that wait to be published, written in the transaction of the change that they tell of."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, delete, insert, or_, select

from . import processes
from .models import OutboxEvent
from .types import clock_now

_outbox = OutboxEvent.__table__


@dataclass(frozen=True, slots=True)
class OutboxRow:
    """One bus event to publish; ``id`` grows in the order of writing."""

    id: int
    life: str | None
    created_at: datetime
    name: str
    routing_key: str
    headers: dict[str, Any]
    body: dict[str, Any]


def write(
    connection: Connection,
    life: str | None,
    name: str,
    routing_key: str,
    headers: Mapping[str, Any],
    body: Mapping[str, Any],
) -> None:
    """Leave an event for the bus. ``life`` publishes it after the commit; None: whoever admits does."""
    connection.execute(
        insert(_outbox).values(
            life=life,
            created_at=clock_now(),
            name=name,
            routing_key=routing_key,
            headers=json.dumps(dict(headers)),
            body=json.dumps(dict(body)),
        )
    )


def take(connection: Connection, life: str | None, limit: int = 100) -> list[OutboxRow]:
    """The oldest events of this life, in order; of None: those without a life or whose life has ended.

    They stay until ``done``: an event is published again when the program dies between publishing and that.
    """
    if life is not None:
        whose: Any = _outbox.c.life == life
    else:
        whose = or_(_outbox.c.life.is_(None), _outbox.c.life.not_in(processes.living_ids()))
    rows = connection.execute(select(_outbox).where(whose).order_by(_outbox.c.id).limit(limit))
    return [
        OutboxRow(
            row.id,
            row.life,
            row.created_at,
            row.name,
            row.routing_key,
            json.loads(row.headers),
            json.loads(row.body),
        )
        for row in rows
    ]


def done(connection: Connection, ids: Iterable[int]) -> None:
    """These are published; forget them."""
    wanted = sorted(ids)
    if wanted:
        connection.execute(delete(_outbox).where(_outbox.c.id.in_(wanted)))
