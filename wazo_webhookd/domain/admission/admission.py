"""Admission: what may go out now, and what is learnt from how it went."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

from ..delivery import Word
from .health import CLOSED, OPEN, Health
from .lanes import FRESH, PROVEN, Endpoint, Lane, Standing, own_key
from .rules import Rules, half, quarter
from .shelves import BUSY, DOUBTFUL, IDLE, Shelves, shelf_of

NewsKind = Literal['resting', 'recovered', 'disabling', 'disabled']


LATER_SECONDS = 0.005
"""When rows say "not yet" and our clock says "now", they are right; look again after this."""


class Out:
    """A delivery that is out. ``reserved``: it uses the part of the window kept for idle proven endpoints."""

    __slots__ = ('attempt', 'endpoint', 'lane', 'reserved', 'send', 'slow')

    def __init__(self, lane: Lane, attempt: int, send: int, reserved: bool) -> None:
        self.lane = lane
        self.endpoint = lane.endpoint
        self.attempt = attempt
        self.send = send
        self.reserved = reserved
        self.slow = False


class Pick(NamedTuple):
    """Chosen to go out; it counts as out from now on."""

    uuid: str
    lane: Lane


class News(NamedTuple):
    """Something that people want to hear about. ``subscriptions``: those concerned, as far as they are in memory."""

    kind: NewsKind
    health: Health
    subscriptions: tuple[str, ...]


class Waiting(NamedTuple):
    """What the rows say of a lane. ``uuids``: due ones from its beginning, in order. ``more``: there are more due ones.
    ``next_due``: when the first of the others falls due, if any. ``writes``: of the lane when reading began."""

    uuids: Sequence[str]
    more: bool
    next_due: float | None
    writes: int


class Admission:
    """The state of one admitting daemon; not thread-safe. Nothing goes out while ``open`` is False."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.open = False
        self.window = 0
        self.most_out = rules.most_out(1)
        self.lanes: dict[str, Lane] = {}
        self.endpoints: dict[str, Endpoint] = {}
        self.healths: dict[str, Health] = {}
        self.out: dict[str, Out] = {}
        self.held = 0
        self.changed: dict[str, None] = {}
        """Keys of endpoints and subscriptions whose class changed: to be written down."""
        self.news: list[News] = []
        self._doubtful_out = 0
        self._reserved_out = 0
        self._shelves = Shelves()
        self._timers: list[tuple[float, int, str, str]] = []
        self._timer_number = 0
        self._recent: dict[str, Out] = {}

    # -- what is known ---------------------------------------------------------------------------

    def set_hands(self, hands: int, processes: int) -> None:
        """So many hands live in so many worker processes."""
        self.window = max(0, hands)
        self.most_out = self.rules.most_out(processes)
        for endpoint in self.endpoints.values():
            if endpoint.cap > self.most_out:
                endpoint.cap = self.most_out
                self._stand(endpoint)

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
            self._stand(before)
            lane.endpoint = self.endpoint(key, tenant)
            lane.endpoint.lanes[subscription] = lane
            lane.tenant = tenant
            lane.health = self.healths.get(own_key(subscription))
            self._consider(lane)
        return lane

    def endpoint(self, key: str, tenant: str) -> Endpoint:
        endpoint = self.endpoints.get(key)
        if endpoint is None:
            endpoint = self.endpoints[key] = Endpoint(key, tenant)
            endpoint.health = self.healths.setdefault(key, endpoint.health)
            endpoint.health.tenant = tenant
        return endpoint

    def remember(self, health: Health, standing: Standing) -> None:
        """What was written down about an endpoint or a subscription. Replaces what is known."""
        self.healths[health.key] = health
        endpoint = self.endpoints.get(health.key)
        if endpoint is None and standing != FRESH:
            endpoint = self.endpoint(health.key, health.tenant)
        if endpoint is not None:
            endpoint.health = health
            self._set_standing(endpoint, standing)
            if standing == PROVEN:
                endpoint.cap = max(2, endpoint.cap)
        if health.key.startswith('sub:'):
            lane = self.lanes.get(health.key[4:])
            if lane is not None:
                lane.health = health
        self._consider_all(health.key)
        if health.circuit == OPEN and health.until is not None:
            self._set_timer(health.until, 'health', health.key)

    def own_health(self, lane: Lane) -> Health:
        """What is remembered of the subscription itself (of the endpoint, where they are the same)."""
        if lane.health is None:
            key = own_key(lane.subscription)
            lane.health = self.healths.setdefault(key, Health(key, lane.tenant))
        return lane.health

    def standing_of(self, key: str) -> Standing:
        endpoint = self.endpoints.get(key)
        return endpoint.standing if endpoint is not None else FRESH

    def is_disabled(self, subscription: str) -> bool:
        health = self.healths.get(own_key(subscription))
        return health is not None and health.disabled

    def resume(self, subscription: str, endpoint_key: str | None) -> None:
        """Somebody says that the receiver works again."""
        for key in {own_key(subscription), endpoint_key} - {None}:
            assert key is not None
            health = self.healths.get(key)
            if health is not None:
                health.resume()
                self.changed[key] = None
                self._consider_all(key)
        lane = self.lanes.get(subscription)
        if lane is not None:
            self.unread(lane)

    # -- what waits ------------------------------------------------------------------------------

    def offer(self, lane: Lane, uuid: str) -> bool:
        """A delivery that is due and about to be written: True if it may be written as out (attempt 1, send 1); it then
        counts as out. Otherwise it has to be written as waiting."""
        if self._first_in_line(lane):
            room, reserved = self._room_on(shelf_of(lane.endpoint))
            if room and not self._shelves.any(self._open_shelves()):
                self._reserve(uuid, lane, 1, 1, reserved)
                self._stand(lane.endpoint)
                return True
        if not lane.unread:
            waiting = lane.waiting
            if len(waiting or ()) >= lane.capacity or self.held >= self.rules.most_held:
                lane.unread = True
            else:
                if waiting is None:
                    waiting = lane.waiting = deque()
                waiting.append(uuid)
                self.held += 1
            self._consider(lane)
        return False

    def wrote(self, lane: Lane) -> None:
        """Rows of the lane were committed which are not in memory, or may be."""
        lane.writes += 1
        self.unread(lane)

    def forget_waiting(self, lane: Lane) -> None:
        """Nobody knows what became of the rows that were about to be written: read them."""
        self._clear(lane)
        self.wrote(lane)

    def unread(self, lane: Lane) -> None:
        """There may be due rows that are not in memory."""
        lane.unread = True
        self._consider(lane)

    def due(self, lane: Lane, at: float, now: float) -> None:
        """A row of the lane falls due then."""
        if at <= now:
            self.unread(lane)
        elif lane.next_due is None or at < lane.next_due:
            lane.next_due = at
            self._set_timer(at, 'lane', lane.subscription)

    def refill(self, lane: Lane, rows: Waiting, now: float) -> None:
        """The rows of a hungry lane were read."""
        self._clear(lane)
        lane.hungry = False
        uuids = [uuid for uuid in rows.uuids if uuid not in self.out]
        most = lane.capacity
        if self.held + most > self.rules.most_held:  # whose turn it is gets something all the same
            most = min(most, max(self.rules.handful, self.rules.most_held - self.held))
        if uuids:
            lane.waiting = deque(uuids[:most])
            self.held += len(lane.waiting)
        lane.unread = rows.more or len(uuids) > most or rows.writes != lane.writes
        if rows.next_due is not None:
            lane.next_due = None
            self.due(lane, max(rows.next_due, now + LATER_SECONDS), now)
        self._consider(lane)

    def forget_idle(self) -> None:
        """Let go of lanes and endpoints about which there is nothing to remember."""
        for lane in [lane for lane in self.lanes.values() if lane.idle]:
            del self.lanes[lane.subscription]
            del lane.endpoint.lanes[lane.subscription]
        for endpoint in [e for e in self.endpoints.values() if e.standing == FRESH and not e.out and not e.lanes]:
            del self.endpoints[endpoint.key]
        if len(self.endpoints) > self.rules.most_held:  # of subscriptions that are gone
            for endpoint in [e for e in self.endpoints.values() if not e.lanes and not e.out]:
                if endpoint.health.circuit == CLOSED and endpoint.key not in self.changed:
                    del self.endpoints[endpoint.key]
        for health in [h for h in self.healths.values() if h.forgettable and h.key not in self.endpoints]:
            if health.key not in self.changed:
                del self.healths[health.key]
                if (its_lane := self.lanes.get(health.key[4:])) is not None:
                    its_lane.health = None
        if len(self._timers) > 1000 + 2 * (len(self.lanes) + len(self.healths)):
            self._rebuild_timers()
        self._shelves.forget_turns()

    # -- who goes --------------------------------------------------------------------------------

    def tick(self, now: float) -> float | None:
        """Let happen what falls due by now; returns when the next thing does."""
        while self._timers and self._timers[0][0] <= now:
            _, _, kind, key = heapq.heappop(self._timers)
            if kind == 'lane':
                lane = self.lanes.get(key)
                if lane is not None and lane.next_due is not None and lane.next_due <= now:
                    lane.next_due = None
                    self.unread(lane)
            else:
                health = self.healths.get(key)
                if health is not None and health.wake(now):
                    self.changed[key] = None
                    self._consider_all(key)
        return self._timers[0][0] if self._timers else None

    def pick(self) -> tuple[list[Pick], list[Lane]]:
        """Choose what goes out now, in turns: the picks, which count as out from now on, and the lanes that are hungry:
        read their rows, ``refill`` them and pick again."""
        picks: list[Pick] = []
        hungry: list[Lane] = []
        while (endpoint := self._shelves.choose(self._open_shelves(len(hungry)))) is not None:
            shelf = endpoint.shelf
            assert shelf is not None
            room = self._room_on(shelf)
            number = min(self.rules.handful, room[0], endpoint.room)
            lane = next(iter(endpoint.ready.values()))
            if lane.room is not None:
                number = min(number, lane.room)
            if not lane.waiting:
                lane.hungry = True
                hungry.append(lane)
            else:
                for _ in range(min(number, len(lane.waiting))):
                    uuid = lane.waiting.popleft()
                    self.held -= 1
                    lane.picked += 1
                    self._reserve(uuid, lane, 0, 0, room[1])
                    picks.append(Pick(uuid, lane))
                if not lane.waiting:
                    lane.waiting = None
                endpoint.ready.move_to_end(lane.subscription)
            self._consider(lane)
            self._shelves.served(endpoint, shelf)
        return picks, hungry

    def found_out(self, uuid: str, lane: Lane, attempt: int, send: int) -> None:
        """A row is out that nobody picked."""
        if uuid not in self.out:
            self._reserve(uuid, lane, attempt, send, False)
            self._stand(lane.endpoint)

    def marked(self, uuid: str, attempt: int, send: int) -> None:
        """What was picked is a row out now."""
        out = self.out.get(uuid)
        if out is not None:
            out.attempt, out.send = attempt, send
            out.lane.picked -= 1

    def dropped(self, uuid: str) -> None:
        """What was picked is not a row out (somebody else ended it), or nobody knows."""
        out = self._release(uuid)
        if out is not None:
            if not out.send:
                out.lane.picked -= 1
            self.forget_waiting(out.lane)  # it is before what is in memory

    # -- what became of it -----------------------------------------------------------------------

    def heard(self, word: Word, now: float) -> None:
        """An attempt ended, or is still at it. Words twice, late or about what is not out are harmless."""
        if word.verdict == 'dropped':
            return
        out = self.out.get(word.delivery)
        if out is None:
            known = self._recent.pop(word.delivery, None)
            if known is not None and word.verdict != 'running':
                self._learn(known, word, now)
            return
        same = out.attempt == word.attempt and out.send == word.send
        if word.verdict == 'running':
            if same and not out.slow:
                out.slow = True
                out.endpoint.slow_out += 1
                self._set_standing(out.endpoint, out.endpoint.while_slow())
                self._stand(out.endpoint)
            return
        if not same and word.verdict != 'success':  # a late success always counts (architecture, 6.1)
            return
        self._release(word.delivery)
        self._learn(out, word, now)
        if word.again_at is not None:
            self.due(out.lane, word.again_at, now)

    def recount(self, rows: Iterable[tuple[str, Lane, int, int]]) -> None:
        """The rows that are out (uuid, lane, attempt, send), whatever was heard."""
        seen: set[str] = set()
        for uuid, lane, attempt, send in rows:
            seen.add(uuid)
            self.found_out(uuid, lane, attempt, send)
            out = self.out[uuid]
            out.attempt, out.send = attempt, send
        self._recent = {}
        for uuid in [uuid for uuid in self.out if uuid not in seen]:
            gone = self._release(uuid)
            if gone is not None:
                self._recent[uuid] = gone

    # -- inside ----------------------------------------------------------------------------------

    def _learn(self, out: Out, word: Word, now: float) -> None:
        endpoint, lane = out.endpoint, out.lane
        shared = endpoint.health is self.healths.get(own_key(lane.subscription))
        if word.verdict == 'success':
            self._set_standing(endpoint, endpoint.after_success(word.seconds, self.rules, self.most_out))
            self._well(endpoint.health, now)
            if lane.health is not None and not shared:
                self._well(lane.health, now)
        elif word.verdict == 'silent':
            self._set_standing(endpoint, endpoint.after_silence())
            self._trim(lane)
            self._ill(endpoint.health, now, 'no proper answer')
            own = self.own_health(lane)
            if own is not endpoint.health:
                if own.failing_since is None:
                    self.changed[own.key] = None
                own.suffered(now)
            self._doom(own, lane, now)
        elif word.verdict == 'refused':
            own = self.own_health(lane)
            if own is not endpoint.health and endpoint.health.answered():
                self._tell('recovered', endpoint.health)
                self._consider_all(endpoint.key)
            self._ill(own, now, 'answered with an error')
            if word.rest:
                if own.pause(now, word.rest, 'the receiver asked to be left alone', self.rules):
                    self._tell('resting', own)
                self._rested(own)
            self._doom(own, lane, now)
        self._stand(endpoint)
        self._consider(lane)

    def _well(self, health: Health, now: float) -> None:
        was_failing = health.failing_since is not None
        if health.succeeded(now):
            self._tell('recovered', health)
            self._consider_all(health.key)
        elif was_failing:
            self.changed[health.key] = None

    def _ill(self, health: Health, now: float, reason: str) -> None:
        if health.failing_since is None:
            self.changed[health.key] = None
        before = health.circuit
        if health.failed(now, reason, self.rules):
            self._tell('resting', health)
        if health.circuit != before:
            self._rested(health)

    def _rested(self, health: Health) -> None:
        """Its circuit is open: what its lanes hold in memory stays rows until the rest is over."""
        self.changed[health.key] = None
        if health.circuit == OPEN and health.until is not None:
            self._set_timer(health.until, 'health', health.key)
        self._consider_all(health.key)

    def _doom(self, health: Health, lane: Lane, now: float) -> None:
        kind = health.doom(now, self.rules)
        if kind is not None:
            self.changed[health.key] = None
            self.news.append(News(kind, health, (lane.subscription,)))
            self._consider_all(health.key)

    def _tell(self, kind: NewsKind, health: Health) -> None:
        self.changed[health.key] = None
        self.news.append(News(kind, health, self._subscriptions_of(health.key)))

    def _subscriptions_of(self, key: str) -> tuple[str, ...]:
        endpoint = self.endpoints.get(key)
        if endpoint is not None:
            return tuple(endpoint.lanes)
        return (key[4:],) if key.startswith('sub:') else ()

    def _consider_all(self, key: str) -> None:
        """Something changed that says how much of an endpoint or a subscription may be out."""
        endpoint = self.endpoints.get(key)
        if endpoint is not None:
            if endpoint.health.limit() == 0:
                for lane in list(endpoint.ready.values()):
                    self._trim(lane)
            self._stand(endpoint)
        own = self.lanes.get(key[4:]) if key.startswith('sub:') else None
        if own is not None:
            self._trim(own)
            self._consider(own)

    def _first_in_line(self, lane: Lane) -> bool:
        if lane.unread or lane.waiting or lane.picked or lane.hungry or lane.endpoint.room <= 0:
            return False
        return lane.room is None or lane.room > 0

    def _consider(self, lane: Lane) -> None:
        """Has the lane something to send, and may it?"""
        endpoint = lane.endpoint
        something = bool(lane.waiting) or lane.unread
        if something and not lane.hungry and (lane.room is None or lane.room > 0):
            if lane.subscription not in endpoint.ready:
                endpoint.ready[lane.subscription] = lane
        else:
            endpoint.ready.pop(lane.subscription, None)
        self._stand(endpoint)

    def _stand(self, endpoint: Endpoint) -> None:
        self._shelves.put(endpoint, shelf_of(endpoint) if endpoint.ready and endpoint.room > 0 else None)

    def _set_standing(self, endpoint: Endpoint, standing: Standing) -> None:
        before = endpoint.standing
        if before == standing:
            return
        endpoint.standing = standing
        self.changed[endpoint.key] = None
        if before == PROVEN:
            self._doubtful_out += endpoint.out
        elif standing == PROVEN:
            self._doubtful_out -= endpoint.out

    def _open_shelves(self, promised: int = 0) -> list[int]:
        """The shelves from which something may go out; ``promised``: to lanes whose rows are being read."""
        if not self.open:
            return []
        general = len(self.out) - self._reserved_out + promised < self.window - quarter(self.window)
        shelves = []
        if general or self._reserved_out + promised < quarter(self.window):
            shelves.append(IDLE)
        if general:
            shelves.append(BUSY)
            if self._doubtful_out + promised < half(self.window):
                shelves.append(DOUBTFUL)
        return shelves

    def _room_on(self, shelf: int) -> tuple[int, bool]:
        """How many may go out from this shelf in one turn, and whether they use the reserved part of the window."""
        if not self.open:
            return 0, False
        general = self.window - quarter(self.window) - (len(self.out) - self._reserved_out)
        if shelf == IDLE and general <= 0:
            return (1 if self._reserved_out < quarter(self.window) else 0), True
        if shelf == DOUBTFUL:
            general = min(general, half(self.window) - self._doubtful_out)
        return max(0, general), False

    def _reserve(self, uuid: str, lane: Lane, attempt: int, send: int, reserved: bool) -> None:
        out = self.out[uuid] = Out(lane, attempt, send, reserved)
        lane.out += 1
        out.endpoint.out += 1
        self._reserved_out += reserved
        if out.endpoint.standing != PROVEN:
            self._doubtful_out += 1

    def _release(self, uuid: str) -> Out | None:
        out = self.out.pop(uuid, None)
        if out is None:
            return None
        endpoint = out.endpoint
        out.lane.out -= 1
        endpoint.out -= 1
        endpoint.slow_out -= out.slow
        self._reserved_out -= out.reserved
        if endpoint.standing != PROVEN:
            self._doubtful_out -= 1
        self._stand(endpoint)
        self._consider(out.lane)
        return out

    def _trim(self, lane: Lane) -> None:
        """Keep no more in memory than the lane may hold; the rest stays rows."""
        if lane.waiting is not None and len(lane.waiting) > lane.capacity:
            while len(lane.waiting) > lane.capacity:
                lane.waiting.pop()
                self.held -= 1
            lane.unread = True
            if not lane.waiting:
                lane.waiting = None

    def _clear(self, lane: Lane) -> None:
        self.held -= len(lane.waiting or ())
        lane.waiting = None

    def _rebuild_timers(self) -> None:
        self._timers = []
        for lane in self.lanes.values():
            if lane.next_due is not None:
                self._set_timer(lane.next_due, 'lane', lane.subscription)
        for health in self.healths.values():
            if health.circuit == OPEN and health.until is not None:
                self._set_timer(health.until, 'health', health.key)

    def _set_timer(self, at: float, kind: str, key: str) -> None:
        self._timer_number += 1
        heapq.heappush(self._timers, (at, self._timer_number, kind, key))
