"""Which event names are wanted on the bus, and which are bound there."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, Final

from sqlalchemy import Connection, delete, select

from . import facts
from .models import BoundEvent, SubscriptionEvent
from .session import Database

HANDLED: Final = 'handled_events'
"""Fact: {event name: Unix seconds at which some daemon said that it has a handler of its own for it}."""

HANDLED_SECONDS: Final = 200.0
"""Daemons say so every minute; a name that none said for so long is not handled any more."""

_bound = BoundEvent.__table__
_wanted = SubscriptionEvent.__table__


def wanted(connection: Connection) -> set[str]:
    """The names that subscriptions want."""
    return set(connection.execute(select(_wanted.c.event_name).distinct()).scalars())


def names_to_bind(connection: Connection) -> set[str]:
    """All names that are wanted by subscriptions or said to be bound."""
    return wanted(connection) | set(connection.execute(select(_bound.c.name)).scalars())


def bound(connection: Connection, names: Iterable[str]) -> set[str]:
    """Those of ``names`` that are said to be bound."""
    return set(connection.execute(select(_bound.c.name).where(_bound.c.name.in_(sorted(names)))).scalars())


def say_bound(connection: Connection, database: Database, names: Iterable[str]) -> None:
    """Before binding: a name that is bound without being in the table would never be unbound."""
    now = database.now(connection)
    rows = [{'name': name, 'bound_at': now} for name in sorted(names)]
    if rows:
        connection.execute(database.insert(BoundEvent).on_conflict_do_nothing(), rows)


def unwanted(connection: Connection, kept: Iterable[str], limit: int) -> list[str]:
    """Names said to be bound that neither a subscription wants nor ``kept`` has."""
    query = select(_bound.c.name).where(
        _bound.c.name.not_in(select(_wanted.c.event_name)), _bound.c.name.not_in(sorted(kept))
    )
    return list(connection.execute(query.order_by(_bound.c.name).limit(limit)).scalars())


def say_unbound(connection: Connection, names: Iterable[str]) -> None:
    connection.execute(delete(_bound).where(_bound.c.name.in_(sorted(names))))


def handled(connection: Connection, now: float) -> set[str]:
    """The names for which some daemon has a handler. ``now``: Unix seconds."""
    return set(_said(connection, now))


def say_handled(connection: Connection, names: Iterable[str], now: float) -> None:
    """This daemon has handlers for these names."""
    facts.bump(connection, HANDLED)  # locks the row: daemons add to it in turn
    said = {**_said(connection, now), **dict.fromkeys(names, now)}
    facts.put(connection, HANDLED, json.dumps(said, separators=(',', ':'), sort_keys=True))


def _said(connection: Connection, now: float) -> dict[str, float]:
    value = facts.get(connection, HANDLED)[1]
    said: dict[str, Any] = json.loads(value) if value else {}
    return {name: float(when) for name, when in said.items() if now - float(when) < HANDLED_SECONDS}
