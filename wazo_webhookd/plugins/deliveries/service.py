"""Shows deliveries: where they stand, and in a sentence why they have to wait or how they ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol
from uuid import UUID

from sqlalchemy import Connection, Row

from ...database import history
from ...database.session import Database
from ...domain.delivery import WAITING
from ...domain.scope import Scope
from ...exceptions import APIException
from ...subscriptions.hook_log import HookLog

Shown = dict[str, Any]


class NoSuchDelivery(APIException):
    """Unknown, or not visible to whoever asks: the same for both."""

    def __init__(self, delivery_uuid: str) -> None:
        details = {'delivery_uuid': delivery_uuid}
        super().__init__(404, f'No such delivery: {delivery_uuid}', 'no-such-delivery', details)


class Card(Protocol):
    @property
    def endpoint(self) -> str: ...


class Cards(Protocol):
    """The part of the catalog that is asked here."""

    def card(self, uuid: str) -> Card | None: ...


class HistoryService:
    def __init__(self, database: Database, cards: Cards) -> None:
        self._database = database
        self._cards = cards

    def page(self, subscription_uuid: str, **query: Any) -> tuple[list[Shown], int]:
        """Deliveries as shown, and how many match in all (``query``: see database.history.page)."""
        with self._database.reading() as connection:
            rows, total = history.page(connection, subscription_uuid, **query)
            return self._shown(connection, rows), total

    def get(self, delivery_uuid: str, scope: Scope) -> Shown:
        """One delivery with its ``log``, if its tenant is in scope. Raises NoSuchDelivery."""
        try:
            uuid = str(UUID(delivery_uuid)) if len(delivery_uuid) == 36 else ''
        except ValueError:
            uuid = ''
        if not uuid:
            raise NoSuchDelivery(delivery_uuid)
        with self._database.reading() as connection:
            row = history.one(connection, uuid)
            if row is None or not scope.includes(row.tenant_uuid, None):
                raise NoSuchDelivery(delivery_uuid)
            [shown] = self._shown(connection, [row])
            log = history.attempts(connection, uuid)
        return {**shown, 'log': [HookLog.of(attempt).to_dict() for attempt in log]}

    def _shown(self, connection: Connection, rows: Sequence[Row[Any]]) -> list[Shown]:
        made = history.attempts_made(connection, rows)
        waiting = {row.subscription_uuid for row in rows if row.state == WAITING}
        reasons = {uuid: self._why_waiting(connection, uuid) for uuid in waiting}
        return [
            {
                'uuid': row.uuid,
                'subscription_uuid': row.subscription_uuid,
                'event_uuid': row.event_uuid,
                'event_name': row.event_name,
                'state': row.state,
                'attempts': made[row.uuid],
                'max_attempts': row.max_attempts,
                'next_attempt_at': _text(row.due_at) if row.state == WAITING else None,
                'created_at': _text(row.created_at),
                'ended_at': _text(row.ended_at),
                'reason': reasons.get(row.subscription_uuid) or row.reason if row.state == WAITING else row.reason,
            }
            for row in rows
        ]

    def _why_waiting(self, connection: Connection, subscription_uuid: str) -> str | None:
        own = f'sub:{subscription_uuid}'
        card = self._cards.card(subscription_uuid)
        keys = [own] if card is None else [own, card.endpoint]
        return why_waiting(history.health_rows(connection, keys), own, datetime.now(UTC))


def why_waiting(health: Mapping[str, Any], own: str, now: datetime) -> str | None:
    """The reason that the rows of admission give (``own``: key of the subscription's row), or None."""
    row = health.get(own)
    if row is not None and row.disabled:
        return f'subscription disabled: {row.reason}' if row.reason else 'subscription disabled'
    for key, row in sorted(health.items(), key=lambda item: item[0] != own):
        if row.resting_until is not None and row.resting_until > now:
            what = 'subscription' if key == own else 'endpoint'
            return f'{what} resting until {_text(row.resting_until)}'
    return None


def _text(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
