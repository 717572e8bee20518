"""One transaction of intake: which rows a batch of events becomes, and what admission makes of them."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection

from ..database import deliveries as delivery_rows
from ..database import journal
from ..database.admission import Guard, State
from ..database.deliveries import Marked, NewDelivery
from ..database.journal import JournalRow
from ..domain.admission import Lane
from ..domain.event import Event
from ..domain.uuids import new_uuid
from .announce import is_own_event
from .desk import Card, Desk, say_lanes
from .message import Parcel

logger = logging.getLogger(__name__)

TENANT_CHARACTERS: Final = 64


@dataclass(frozen=True, slots=True)
class Terms:
    """``first_wait``: seconds before first attempts; deliveries expire after ``retention_days``."""

    first_wait: float
    max_attempts: int
    retention_days: float


class Item:
    """An event on its way into the rows; ``uuids`` (subscription -> delivery, sequence) are kept for repetitions."""

    __slots__ = ('_done', 'answered', 'cards', 'count', 'event', 'uuids')

    def __init__(self, event: Event, done: Callable[[int | Exception], None]) -> None:
        self.event = event
        self._done = done
        self.cards: list[Card] = []
        self.uuids: dict[str, tuple[str, int]] = {}
        self.count = 0
        self.answered = False

    def answer(self, outcome: int | Exception) -> None:
        """Tell who wants to know, once."""
        if self.answered:
            return
        self.answered = True
        try:
            self._done(outcome)
        except Exception:
            logger.exception('nobody could be told what became of event %s', self.event.uuid)


class Batch:
    """``items``: as many of those given as make at most about ``most`` deliveries; ``refused``: those of them that
    could not even be matched. ``again``: it may be in the rows already (a commit whose answer was lost)."""

    def __init__(
        self, desk: Desk, terms: Terms, items: Sequence[Item], *, most: int = 1_000_000, again: bool = False
    ) -> None:
        self._desk = desk
        self._catalog = desk.catalog
        self._terms = terms
        self._again = again
        self._matched_version = self._catalog.version
        self._admission = desk.admission
        self._lanes: dict[str, Lane] = {}
        self._out: list[str] = []
        self._only_rows: set[str] = set()  # lanes of which some rows are not in memory: to be read after the commit
        self.items: list[Item] = []
        self.refused: list[tuple[Item, Exception]] = []
        self.parcels: list[Parcel] = []
        self.committing = False
        self.guard: Guard = (
            'alone' if any(item.event.redelivered and item.event.fingerprint for item in items) else 'shared'
        )
        deliveries = 0
        for item in items:
            if deliveries >= most:
                break
            try:
                item.cards = self._match(item.event)
            except Exception as error:
                self.refused.append((item, error))
                continue
            deliveries += len(item.cards)
            self.items.append(item)

    # -- in the transaction ------------------------------------------------------------------------

    def fill(self, connection: Connection, state: State, *, admitting: bool) -> None:
        """Write the rows. Nothing but memory that ``undo`` restores is changed besides."""
        desk = self._desk
        desk.see(connection, state)
        if state.index_version > self._matched_version:
            self._catalog.catch_up(connection, state.index_version)
            for item in self.items:
                item.cards = self._match(item.event)
        now = datetime.fromtimestamp(state.now, UTC)
        events, pairs = self._rows(connection)
        new = self._decide(pairs, admitting, state.now)
        journal.insert(connection, events)
        delivery_rows.insert(
            connection,
            new,
            now=now,
            due_at=now + timedelta(seconds=self._terms.first_wait),
            expires_at=now + timedelta(days=self._terms.retention_days),
            max_attempts=self._terms.max_attempts,
        )
        if admitting and self._again:
            marked = {row.uuid: row for row in delivery_rows.mark_again(connection, [row.uuid for row in new])}
            self.parcels = [_parcel(card, event, marked[uuid]) for event, card, uuid, _ in pairs if uuid in marked]
        if not admitting and new:
            say_lanes(connection, {row.subscription_uuid for row in new})

    def _rows(self, connection: Connection) -> tuple[list[JournalRow], list[tuple[Event, Card, str, int]]]:
        known = self._known(connection)
        disabled = self._desk.disabled
        events: list[JournalRow] = []
        pairs: list[tuple[Event, Card, str, int]] = []
        for item in self.items:
            event = item.event
            count = _count_of(event, known)
            if count is not None:
                item.count = count
                continue
            if not item.cards and not self._catalog.wants(event.name):
                item.count = 0
                continue
            item.count = 0
            for card in item.cards:
                if card.uuid not in disabled:
                    uuid, sequence = item.uuids.get(card.uuid) or item.uuids.setdefault(
                        card.uuid, (new_uuid(), next_sequence())
                    )
                    pairs.append((event, card, uuid, sequence))
                    item.count += 1
            events.append(_journal_row(event, item.count))
            if event.fingerprint:
                known[event.fingerprint] = item.count
        return events, pairs

    def _known(self, connection: Connection) -> dict[str, int]:
        """What the broker handed over again and is stored already: by this daemon before it was acknowledged, or by
        another while this one had it in hand (a commit in doubt, a connection lost, a process that stood still)."""
        events = [item.event for item in self.items if item.event.fingerprint]
        wanted = [journal.again(event.fingerprint or '') for event in events]
        wanted += [event.fingerprint or '' for event in events if event.redelivered]
        own = {event.uuid for event in events} if self._again else ()
        return journal.known_fingerprints(connection, wanted, but=own)

    def _decide(self, pairs: list[tuple[Event, Card, str, int]], admitting: bool, now: float) -> list[NewDelivery]:
        new: list[NewDelivery] = []
        offered = admitting and not self._again and not self._terms.first_wait
        with self._desk.lock:
            admission = self._admission = self._desk.admission
            for event, card, uuid, sequence in pairs:
                out = False
                if admitting:
                    lane = self._lanes[card.uuid] = admission.lane(card.uuid, card.tenant_uuid, card.endpoint)
                    out = offered and admission.offer(lane, uuid)
                    if not out and lane.unread:
                        self._only_rows.add(lane.subscription)
                if out:
                    self._out.append(uuid)
                    marked = Marked(uuid, card.uuid, event.uuid, 1, 1, self._terms.max_attempts, now)
                    self.parcels.append(_parcel(card, event, marked))
                new.append(NewDelivery(uuid, sequence, card.uuid, card.tenant_uuid, event.uuid, event.name, out))
        return new

    # -- after it ----------------------------------------------------------------------------------

    def settle(self) -> None:
        """It is committed."""
        desk = self._desk
        with desk.lock:
            for lane in self._lanes.values():
                if self._terms.first_wait:
                    self._admission.due(lane, desk.clock.now() + self._terms.first_wait, desk.clock.now())
                elif lane.subscription in self._only_rows or self._again:
                    self._admission.wrote(lane)
            if self._again:
                for parcel in self.parcels:
                    lane = self._lanes[parcel.subscription]
                    self._admission.found_out(parcel.uuid, lane, parcel.attempt, parcel.send)
        for item in self.items:
            if item.count:
                desk.bodies.put(item.event.uuid, item.event.text)

    def settle_unadmitted(self) -> None:
        """It is committed as waiting; perhaps this daemon admits by now, and read the rows before they were there."""
        desk = self._desk
        if not desk.lease.held:
            return
        with desk.lock:
            for item in self.items:
                for subscription in item.uuids:
                    desk.admission.wrote(desk.lane(subscription))

    def undo(self) -> None:
        """It is not, or nobody knows: admission forgets what was decided."""
        with self._desk.lock:
            for uuid in self._out:
                self._admission.dropped(uuid)
            for lane in self._lanes.values():
                self._admission.forget_waiting(lane)
        self._out, self._lanes, self._only_rows, self.parcels = [], {}, set(), []

    # -- matching ----------------------------------------------------------------------------------

    def _match(self, event: Event) -> list[Card]:
        cards: list[Card] = self._catalog.match(event)
        if cards and is_own_event(event.name):
            return self._not_about_themselves(event, cards)
        return cards

    def _not_about_themselves(self, event: Event, cards: list[Card]) -> list[Card]:
        """Events about an endpoint in trouble do not make deliveries to that endpoint."""
        data = event.body.get('data')
        about = data.get('uuid') if isinstance(data, Mapping) else None
        concerned = self._catalog.card(about) if isinstance(about, str) else None
        endpoint = concerned.endpoint if concerned is not None else None
        return [card for card in cards if card.uuid != about and card.endpoint != endpoint]


def _count_of(event: Event, known: Mapping[str, int]) -> int | None:
    """How many deliveries were made of it, if it is stored."""
    if not event.fingerprint:
        return None
    count = known.get(journal.again(event.fingerprint))
    return known.get(event.fingerprint) if count is None and event.redelivered else count


def _parcel(card: Card, event: Event, row: Marked) -> Parcel:
    return Parcel(
        row.uuid,
        row.subscription_uuid,
        event.uuid,
        card,
        event.text,
        row.attempt,
        row.send,
        row.max_attempts,
        row.sent_at,
    )


def _journal_row(event: Event, deliveries: int) -> JournalRow:
    tenant: Any = event.headers.get('tenant_uuid')
    if not isinstance(tenant, str) or len(tenant) > TENANT_CHARACTERS or not tenant.isprintable():
        tenant = None
    return JournalRow(
        event.uuid,
        event.name,
        tenant,
        event.source,
        event.received_at,
        journal.again(event.fingerprint) if event.fingerprint and event.redelivered else event.fingerprint,
        deliveries,
        json.dumps(dict(event.headers), separators=(',', ':'), default=str),
        event.text,
    )


_last_sequence = 0


def next_sequence() -> int:
    """Microseconds since 1970, and growing whatever the clock does. For one thread: the intake's."""
    global _last_sequence
    _last_sequence = max(_last_sequence + 1, time.time_ns() // 1000)
    return _last_sequence
