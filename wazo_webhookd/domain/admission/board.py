"""The lanes and endpoints of one admitting daemon, what is out of them, and where each stands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from .health import CLOSED, OPEN, Health
from .lanes import FRESH, PROVEN, Endpoint, Lane, Standing, own_key
from .rules import Rules
from .shelves import Shelves, shelf_of
from .timers import Timers
from .window import Window

LATER_SECONDS: Final = 0.005
"""When rows say "not yet" and our clock says "now", they are right; look again after this."""


class Out:
    """A delivery that is out. ``reserved``: it uses the part of the window kept for idle proven endpoints. ``slow``: it
    runs for too long. ``adrift``: its message lies in a frozen worker, or nowhere; it keeps nobody from sending."""

    __slots__ = ('adrift', 'attempt', 'endpoint', 'lane', 'reserved', 'send', 'slow')

    def __init__(self, lane: Lane, attempt: int, send: int, reserved: bool) -> None:
        self.lane = lane
        self.endpoint = lane.endpoint
        self.attempt = attempt
        self.send = send
        self.reserved = reserved
        self.slow = False
        self.adrift = False


class Waiting(NamedTuple):
    """What the rows say of a lane. ``uuids``: due ones from its beginning, in order. ``more``: there are more due ones.
    ``next_due``: when the first of the others falls due, if any. ``writes``: of the lane when reading began."""

    uuids: Sequence[str]
    more: bool
    next_due: float | None
    writes: int


class Board:
    """``held``: uuids of waiting deliveries in memory. ``changed``: keys of endpoints and subscriptions whose class
    changed, to be written down."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.window = Window()
        self.most_out = rules.most_out(1)
        self.lanes: dict[str, Lane] = {}
        self.endpoints: dict[str, Endpoint] = {}
        self.healths: dict[str, Health] = {}
        self.out: dict[str, Out] = {}
        self.held = 0
        self.changed: dict[str, None] = {}
        self.shelves = Shelves()
        self.timers = Timers()

    # -- who is there ----------------------------------------------------------------------------

    def lane(self, subscription: str, tenant: str, key: str) -> Lane:
        """The lane of a subscription; it is led to the endpoint ``key`` if it led elsewhere."""
        lane = self.lanes.get(subscription)
        if lane is None:
            lane = self.lanes[subscription] = Lane(subscription, tenant, self.endpoint(key, tenant))
            lane.endpoint.lanes[subscription] = lane
            lane.health = self.healths.get(own_key(subscription))
        elif lane.endpoint.key != key:
            before = lane.endpoint
            del before.lanes[subscription]
            before.ready.pop(subscription, None)
            self.stand(before)
            lane.endpoint = self.endpoint(key, tenant)
            lane.endpoint.lanes[subscription] = lane
            lane.tenant = tenant
            lane.health = self.healths.get(own_key(subscription))
            self.consider(lane)
        return lane

    def endpoint(self, key: str, tenant: str) -> Endpoint:
        endpoint = self.endpoints.get(key)
        if endpoint is None:
            endpoint = self.endpoints[key] = Endpoint(key, tenant)
            endpoint.health = self.healths.setdefault(key, endpoint.health)
            endpoint.health.tenant = tenant
        return endpoint

    def own_health(self, lane: Lane) -> Health:
        """What is remembered of the subscription itself (of the endpoint, where they are the same)."""
        if lane.health is None:
            key = own_key(lane.subscription)
            lane.health = self.healths.setdefault(key, Health(key, lane.tenant))
        return lane.health

    def set_standing(self, endpoint: Endpoint, standing: Standing) -> None:
        before = endpoint.standing
        if before == standing:
            return
        endpoint.standing = standing
        self.changed[endpoint.key] = None
        if before == PROVEN:
            self.window.doubtful += endpoint.out
        elif standing == PROVEN:
            self.window.doubtful -= endpoint.out

    # -- where it stands -------------------------------------------------------------------------

    def consider(self, lane: Lane) -> None:
        """Has the lane something to send, and may it?"""
        endpoint = lane.endpoint
        something = bool(lane.waiting) or lane.unread
        if something and not lane.hungry and (lane.room is None or lane.room > 0):
            if lane.subscription not in endpoint.ready:
                endpoint.ready[lane.subscription] = lane
        else:
            endpoint.ready.pop(lane.subscription, None)
        self.stand(endpoint)

    def consider_all(self, key: str) -> None:
        """Something changed that says how much of an endpoint or a subscription may be out."""
        endpoint = self.endpoints.get(key)
        if endpoint is not None:
            if endpoint.health.limit() == 0:
                for lane in list(endpoint.ready.values()):
                    self.trim(lane)
            self.stand(endpoint)
        own = self.lanes.get(key[4:]) if key.startswith('sub:') else None
        if own is not None:
            self.trim(own)
            self.consider(own)

    def stand(self, endpoint: Endpoint) -> None:
        self.shelves.put(endpoint, shelf_of(endpoint) if endpoint.ready and endpoint.room > 0 else None)

    # -- what is out -----------------------------------------------------------------------------

    def reserve(self, uuid: str, lane: Lane, attempt: int, send: int, reserved: bool) -> None:
        """It counts as out from now on."""
        out = self.out[uuid] = Out(lane, attempt, send, reserved)
        self._count(out, 1)

    def release(self, uuid: str) -> Out | None:
        """It does not count as out any more."""
        out = self.out.pop(uuid, None)
        if out is not None and not out.adrift:
            self._count(out, -1)
            self.stand(out.endpoint)
            self.consider(out.lane)
        return out

    def set_adrift(self, out: Out, adrift: bool) -> None:
        if out.adrift != adrift:
            out.adrift = adrift
            self._count(out, -1 if adrift else 1)
            self.stand(out.endpoint)
            self.consider(out.lane)

    def _count(self, out: Out, step: int) -> None:
        endpoint = out.endpoint
        out.lane.out += step
        endpoint.out += step
        endpoint.slow_out += step * out.slow
        self.window.out += step
        self.window.reserved += step * out.reserved
        if endpoint.standing != PROVEN:
            self.window.doubtful += step

    # -- what waits ------------------------------------------------------------------------------

    def unread(self, lane: Lane) -> None:
        """There may be due rows that are not in memory."""
        lane.unread = True
        self.consider(lane)

    def wrote(self, lane: Lane) -> None:
        """Rows of the lane were committed which are not in memory, or may be."""
        lane.writes += 1
        self.unread(lane)

    def forget_waiting(self, lane: Lane) -> None:
        """Rows that go before what is in memory may have been written: read from the beginning."""
        self.clear(lane)
        self.wrote(lane)

    def due(self, lane: Lane, at: float, now: float) -> None:
        """A row of the lane falls due then."""
        if at <= now:
            self.unread(lane)
        elif lane.next_due is None or at < lane.next_due:
            lane.next_due = at
            self.timers.set(at, 'lane', lane.subscription)

    def refill(self, lane: Lane, rows: Waiting, now: float) -> None:
        """The rows of a hungry lane were read."""
        self.clear(lane)
        lane.hungry = False
        uuids = [uuid for uuid in rows.uuids if uuid not in self.out]
        most = lane.capacity
        if self.held + most > self.rules.most_held:  # whose turn it is gets something all the same
            most = min(most, max(self.rules.handful, self.rules.most_held - self.held))
        lane.keep(uuids[:most])
        self.held += len(lane.waiting or ())
        lane.unread = rows.more or len(uuids) > most or rows.writes != lane.writes
        if rows.next_due is not None:
            lane.next_due = None
            self.due(lane, max(rows.next_due, now + LATER_SECONDS), now)
        self.consider(lane)

    def trim(self, lane: Lane) -> None:
        """Keep no more in memory than the lane may hold; the rest stays rows."""
        waiting, capacity = lane.waiting, lane.capacity
        if waiting is not None and len(waiting) > capacity:
            kept = [waiting.popleft() for _ in range(capacity)]
            self.held -= len(waiting)
            lane.keep(kept)
            lane.unread = True

    def clear(self, lane: Lane) -> None:
        self.held -= len(lane.waiting or ())
        lane.waiting = None

    # -- what is not worth remembering -------------------------------------------------------------

    def forget_idle(self) -> None:
        """Let go of lanes, endpoints and failures about which there is nothing to remember."""
        adrift = [out for out in self.out.values() if out.adrift]
        lanes = {out.lane.subscription for out in adrift}
        endpoints = {out.endpoint.key for out in adrift}
        for lane in [lane for lane in self.lanes.values() if lane.idle and lane.subscription not in lanes]:
            del self.lanes[lane.subscription]
            del lane.endpoint.lanes[lane.subscription]
        many = len(self.endpoints) > self.rules.most_held  # of subscriptions that are gone
        unused = [
            e for e in self.endpoints.values() if not (e.out or e.lanes or e.key in self.changed or e.key in endpoints)
        ]
        for endpoint in unused:
            if endpoint.standing == FRESH or (many and endpoint.health.circuit == CLOSED):
                del self.endpoints[endpoint.key]
        for health in [h for h in self.healths.values() if h.forgettable and h.key not in self.changed]:
            if health.key not in self.endpoints:
                del self.healths[health.key]
                owner = self.lanes.get(health.key[4:])
                if owner is not None:
                    owner.health = None
        if len(self.timers) > 1000 + 2 * (len(self.lanes) + len(self.healths)):
            self._set_timers_anew()
        self.shelves.forget_turns()

    def _set_timers_anew(self) -> None:
        self.timers.clear()
        for lane in self.lanes.values():
            if lane.next_due is not None:
                self.timers.set(lane.next_due, 'lane', lane.subscription)
        for health in self.healths.values():
            if health.circuit == OPEN and health.until is not None:
                self.timers.set(health.until, 'health', health.key)
