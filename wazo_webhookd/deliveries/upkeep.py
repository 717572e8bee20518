"""Keeps the admitter true to the rows: take-over, recount, orphans, lanes, expiry, and what is written down."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import Final

from ..database import admission as admission_rows
from ..database import deliveries as rows
from ..database import endpoints, processes, returns
from ..database.returns import OutRow
from ..domain.admission import Admission
from ..domain.admission.rules import DEATHS, SHARED_DEATHS
from .desk import Desk
from .records import Records
from .suspects import Suspects

logger = logging.getLogger(__name__)

EXPIRE_ROWS: Final = 500
WORKER: Final = 'worker'
SUSPECTS: Final = 'suspects'
CONDEMNED: Final = (
    f'the worker process died each time it ran this delivery, {DEATHS - SHARED_DEATHS} times with nothing else'
)


class Upkeep:
    """Used by the admitter's thread only. Everything raises DatabaseUnavailable or NotHeld."""

    def __init__(self, desk: Desk, suspects: Suspects, records: Records, retention_days: float) -> None:
        self._desk = desk
        self._suspects = suspects
        self._records = records
        self._lifetime = retention_days * 86_400.0
        self._standalone = desk.database.is_sqlite

    # -- take-over ---------------------------------------------------------------------------------

    def take_over(self) -> None:
        """This daemon has just become the admitting one: know what the rows know."""
        desk = self._desk
        with desk.lease.turn(), desk.lease.transaction() as (connection, state):
            desk.see(connection, state)
            age = admission_rows.server_age(connection)
            if age is not None:
                desk.outage.ended(age)  # who had no database cannot have renewed its life
            healths = endpoints.load(connection)
            out = returns.read_out(connection)
            if self._standalone:  # whoever held them was this process, in an earlier life
                back = returns.take_back(connection, out)
                returns.give_up(connection, [row.uuid for row in back if row.deaths >= DEATHS], CONDEMNED)
                out = []
            lanes = rows.scan_lanes(connection)
            suspects = returns.suspects(connection)
            with desk.lock:
                opened = desk.admission.open
                desk.admission = Admission(desk.rules)
                desk.admission.open = opened
                for health, standing in healths:
                    desk.admission.remember(health, standing)
                desk.admission.changed.clear()
                self._count(out)
                self._heed(lanes)
            self._suspects.found(suspects)
        self.see_hands()

    # -- hands -------------------------------------------------------------------------------------

    def see_hands(self) -> None:
        """Read which workers live: the window, and whether a process for suspects is there."""
        with self._desk.database.reading() as connection:
            living = processes.living(connection)
        workers = [max(0, row.hands - row.written_off) for row in living if row.kind == WORKER]
        self._suspects.runs = self._standalone or any(row.kind == SUSPECTS for row in living)
        with self._desk.lock:
            self._desk.admission.set_hands(sum(workers), len(workers))

    # -- what is out -------------------------------------------------------------------------------

    def recount(self) -> None:
        """Read what is out, take back what nobody has in hand any more, end what killed too many workers."""
        desk = self._desk
        with desk.lease.turn(), desk.lease.transaction() as (connection, state):
            known_disabled = desk.disabled
            desk.see(connection, state)
            out = returns.read_out(connection)
            orphans = [row for row in out if returns.is_orphan(row)] if desk.outage.over else []
            with desk.lock:
                never_sent = {uuid for uuid, _, _ in desk.unsent}
            orphans = [row for row in orphans if row.uuid not in never_sent]
            back = returns.take_back(connection, orphans)
            condemned = [row.uuid for row in back if row.deaths >= DEATHS]
            returns.give_up(connection, condemned, CONDEMNED)
            taken = {row.uuid for row in back}
            with desk.lock:
                self._count([row for row in out if row.uuid not in taken])
                for row in back:
                    if row.deaths < SHARED_DEATHS:  # it may be before what is in memory
                        desk.admission.forget_waiting(self._desk.lane(row.subscription_uuid, row.tenant_uuid))
                for subscription in known_disabled - desk.disabled:
                    self._records.resumed(subscription)
            self._suspects.came_back(back, condemned)
        if back:
            logger.info("%d deliveries were in nobody's hands and wait again", len(back))
        if condemned:
            logger.error('%d deliveries killed every worker that ran them and were given up', len(condemned))

    def _count(self, out: Sequence[OutRow]) -> None:
        shared = [row for row in out if row.deaths < SHARED_DEATHS]
        self._suspects.are_out(row for row in out if row.deaths >= SHARED_DEATHS)
        self._desk.admission.recount(
            (
                row.uuid,
                self._desk.lane(row.subscription_uuid, row.tenant_uuid),
                row.attempt,
                row.send,
                returns.is_adrift(row),
            )
            for row in shared
        )

    def give_all_back(self) -> None:
        """The workers have ended well and nothing is in anybody's hands (standalone, at the end)."""
        desk = self._desk
        with desk.lease.turn(), desk.lease.transaction() as (connection, _):
            returns.take_back(connection, returns.read_out(connection), died=False)

    # -- what waits --------------------------------------------------------------------------------

    def scan(self, *, everything: bool = False) -> None:
        """Read which lanes have something waiting; ``everything``: and read those that are known again."""
        desk = self._desk
        with desk.database.reading() as connection:
            found = rows.scan_lanes(connection)
        with desk.lock:
            self._heed(found)
            if everything:
                for lane in desk.admission.lanes.values():
                    desk.admission.wrote(lane)

    def _heed(self, found: Iterable[tuple[str, float]]) -> None:
        admission, now = self._desk.admission, self._desk.clock.now()
        for subscription, due in found:
            lane = self._desk.lane(subscription)
            if due > now:
                admission.due(lane, due, now)
            elif not lane.waiting and not lane.hungry and not lane.picked:
                admission.unread(lane)

    def wrote(self, subscriptions: Iterable[str]) -> None:
        """Another daemon wrote rows of these lanes."""
        with self._desk.lock:
            for subscription in subscriptions:
                self._desk.admission.wrote(self._desk.lane(subscription))

    def expire(self, *, everything: bool = False) -> None:
        """End what waited for too long. ``everything`` also finds what retention was longer for; rarely."""
        desk = self._desk
        expired = EXPIRE_ROWS
        while expired == EXPIRE_ROWS:
            with desk.lease.turn(), desk.lease.transaction() as (connection, state):
                desk.see(connection, state)
                expired = returns.expire(
                    connection, older_than=None if everything else self._lifetime, most=EXPIRE_ROWS
                )
            if expired:
                logger.info('%d deliveries expired', expired)

    def forget(self) -> None:
        """Let go of what there is nothing to know about, follow subscriptions that lead elsewhere now."""
        with self._desk.lock:
            for subscription in list(self._desk.admission.lanes):
                self._desk.lane(subscription)
            self._desk.admission.forget_idle()
