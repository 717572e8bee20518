"""What admission picks: rows read and marked out, messages handed to the sender."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import Final

from sqlalchemy import Connection

from ..database import deliveries as rows
from ..database import journal, returns
from ..database.deliveries import Marked
from ..domain.admission import Lane, Pick, Waiting
from ..exceptions import DatabaseUnavailable
from .desk import Desk
from .lease import NotHeld
from .message import Parcel
from .sender import Sender

logger = logging.getLogger(__name__)

ROUNDS: Final = 8
CANCEL_ROWS: Final = 500
PUZZLED_SECONDS: Final = 2.0
"""Until a lane whose subscription is in the database but not in the catalog is looked at again."""


class Outgoing:
    """Used by the admitter's thread only. Raises DatabaseUnavailable or NotHeld; then nothing was sent, and admission
    reads the rows concerned again."""

    def __init__(self, desk: Desk, sender: Sender) -> None:
        self._desk = desk
        self._sender = sender
        self._doubtful: set[tuple[str, int, int]] = set()
        self._doubtful_epoch = 0

    def admit(self) -> int:
        """Send what may go out now; returns how many."""
        desk = self._desk
        picks: list[Pick] = []
        try:
            for _ in range(ROUNDS):
                with desk.lock:
                    some, hungry = desk.admission.pick()
                picks += some
                if not hungry:
                    break
                self._feed(hungry)
            if picks:
                self._mark_and_send(picks)
        except BaseException:
            self._drop(picks)
            raise
        return len(picks)

    def send_suspect(self, uuid: str) -> Marked | None:
        """Send one delivery that was in workers that died; None if it does not wait any more."""
        lease = self._desk.lease
        with lease.turn():
            with lease.transaction() as (connection, state):
                self._desk.see(connection, state)
                marked = rows.mark_out(connection, [uuid], suspects=True)
                parcels, homeless = self._parcels(connection, marked, suspect=True)
            self._sender.send(parcels)
        self._desk.not_sent((row.uuid, row.attempt, row.send) for row in homeless)
        return marked[0] if parcels else None

    def put_back(self) -> None:
        """Let those wait again that were marked out and never sent."""
        desk = self._desk
        if self._doubtful_epoch < desk.lease.epoch - 1:
            self._doubtful.clear()  # another daemon admitted meanwhile and may have sent them with the same numbers
        with desk.lock:
            unsent = desk.unsent | self._doubtful
        if not unsent:
            return
        with desk.lease.turn(), desk.lease.transaction() as (connection, state):
            desk.see(connection, state)
            returns.put_back(connection, unsent)
        self._doubtful.clear()
        with desk.lock:
            desk.unsent -= unsent
            for uuid, _, _ in unsent:
                desk.admission.dropped(uuid)

    # -- rows of hungry lanes ----------------------------------------------------------------------

    def _feed(self, hungry: Sequence[Lane]) -> None:
        desk = self._desk
        catalog = desk.catalog
        at_home: list[Lane] = []
        homeless: list[Lane] = []
        limits: dict[str, int] = {}
        writes: dict[str, int] = {}
        try:
            with desk.lock:
                for lane in hungry:
                    card = catalog.card(lane.subscription)
                    if card is None:
                        homeless.append(lane)
                        continue
                    desk.admission.lane(lane.subscription, card.tenant_uuid, card.endpoint)
                    at_home.append(lane)
                    limits[lane.subscription] = lane.capacity + lane.picked + 1
                    writes[lane.subscription] = lane.writes
            if homeless:
                self._settle_homeless(homeless)
            found = {}
            if limits:
                with desk.database.reading() as connection:
                    found = rows.read_lanes(connection, limits)
        except BaseException:
            with desk.lock:
                for lane in hungry:
                    desk.admission.refill(lane, Waiting((), True, None, lane.writes), desk.clock.now())
            raise
        now = desk.clock.now()
        with desk.lock:
            for lane in at_home:
                read = found[lane.subscription]
                waiting = Waiting(read.uuids, read.more, read.next_due, writes[lane.subscription])
                desk.admission.refill(lane, waiting, now)

    def _settle_homeless(self, lanes: Iterable[Lane]) -> None:
        """Lanes of subscriptions that the catalog does not know: perhaps it is behind, else what waits is cancelled."""
        desk = self._desk
        for lane in lanes:
            subscription = lane.subscription
            with desk.lease.turn(), desk.lease.transaction() as (connection, state):
                desk.see(connection, state)
                desk.catalog.catch_up(connection, state.index_version)
                known = desk.catalog.card(subscription) is not None
                cancelled = 0 if known else returns.cancel_gone(connection, subscription, CANCEL_ROWS)
                puzzled = not known and not cancelled and returns.has_subscription(connection, subscription)
            if cancelled:
                logger.info('%d deliveries cancelled: subscription %s is gone', cancelled, subscription)
            now = desk.clock.now()
            later = now + PUZZLED_SECONDS if puzzled else None
            with desk.lock:
                desk.admission.refill(lane, Waiting((), known or bool(cancelled), later, lane.writes), now)

    # -- marking -----------------------------------------------------------------------------------

    def _mark_and_send(self, picks: Sequence[Pick]) -> None:
        desk = self._desk
        with desk.lease.turn():
            marked: list[Marked] = []
            epoch = desk.lease.epoch
            try:
                with desk.lease.marking() as connection:
                    marked = rows.mark_out(connection, [pick.uuid for pick in picks], epoch=epoch)
                    if not marked:
                        desk.lease.check(connection)
                    by_uuid = {row.uuid: row for row in marked}
                    ordered = [by_uuid[pick.uuid] for pick in picks if pick.uuid in by_uuid]
                    parcels, homeless = self._parcels(connection, ordered)
            except DatabaseUnavailable:
                # If it was the commit that got no answer, they may be out; no message was made of them.
                self._doubtful |= {(row.uuid, row.attempt, row.send) for row in marked}
                self._doubtful_epoch = epoch
                raise
            with desk.lock:
                for pick in picks:
                    row = by_uuid.get(pick.uuid)
                    if row is None:
                        desk.admission.dropped(pick.uuid)
                    else:
                        desk.admission.marked(row.uuid, row.attempt, row.send)
            self._sender.send(parcels)
        if homeless:
            desk.not_sent((row.uuid, row.attempt, row.send) for row in homeless)

    def _parcels(
        self, connection: Connection, marked: Sequence[Marked], *, suspect: bool = False
    ) -> tuple[list[Parcel], list[Marked]]:
        """What to send, and those whose subscription is not in the catalog. A delivery whose event is gone is ended."""
        bodies = {row.event_uuid: self._desk.bodies.get(row.event_uuid) for row in marked}
        missing = [uuid for uuid, text in bodies.items() if text is None]
        if missing:
            bodies.update(journal.bodies(connection, missing))
        parcels: list[Parcel] = []
        homeless: list[Marked] = []
        lost: list[str] = []
        for row in marked:
            card = self._desk.catalog.card(row.subscription_uuid)
            text = bodies[row.event_uuid]
            if card is None:
                homeless.append(row)
            elif text is None:
                lost.append(row.uuid)
            else:
                parcels.append(
                    Parcel(
                        row.uuid,
                        row.subscription_uuid,
                        row.event_uuid,
                        card,
                        text,
                        row.attempt,
                        row.send,
                        row.max_attempts,
                        row.sent_at,
                        suspect,
                    )
                )
        if lost:
            logger.error('%d deliveries end as errors: their events are not in the journal', len(lost))
            returns.give_up(connection, lost, 'the event is not in the journal any more')
        return parcels, homeless

    def _drop(self, picks: Sequence[Pick]) -> None:
        with self._desk.lock:
            for pick in picks:
                self._desk.admission.dropped(pick.uuid)


__all__ = ['NotHeld', 'Outgoing']
