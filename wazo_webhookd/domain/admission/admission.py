"""Admission: what may go out now."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from ..delivery import Word
from .board import Board, Out
from .health import OPEN, Health
from .lanes import FRESH, PROVEN, Lane, Standing, own_key
from .lessons import Lessons, News
from .rules import Rules
from .shelves import shelf_of


class Pick(NamedTuple):
    """Chosen to go out; it counts as out from now on."""

    uuid: str
    lane: Lane


class Admission(Board):
    """The state of one admitting daemon; not thread-safe. Nothing goes out while ``open`` is False."""

    def __init__(self, rules: Rules) -> None:
        super().__init__(rules)
        self.open = False
        self._lessons = Lessons(self)
        self._recent: dict[str, Out] = {}

    # -- what is known ---------------------------------------------------------------------------

    def set_hands(self, hands: int, processes: int) -> None:
        """So many hands live in so many worker processes."""
        self.window.size = max(0, hands)
        self.most_out = self.rules.most_out(processes)
        for endpoint in self.endpoints.values():
            if endpoint.cap > self.most_out:
                endpoint.cap = self.most_out
                self.stand(endpoint)

    def remember(self, health: Health, standing: Standing) -> None:
        """What was written down about an endpoint or a subscription. Replaces what is known."""
        self.healths[health.key] = health
        endpoint = self.endpoints.get(health.key)
        if endpoint is None and standing != FRESH:
            endpoint = self.endpoint(health.key, health.tenant)
        if endpoint is not None:
            endpoint.health = health
            self.set_standing(endpoint, standing)
            if standing == PROVEN:
                endpoint.cap = max(2, endpoint.cap)
        lane = self.lanes.get(health.key[4:]) if health.key.startswith('sub:') else None
        if lane is not None:
            lane.health = health
        self.consider_all(health.key)
        if health.circuit == OPEN and health.until is not None:
            self.timers.set(health.until, 'health', health.key)

    def standing_of(self, key: str) -> Standing:
        endpoint = self.endpoints.get(key)
        return endpoint.standing if endpoint is not None else FRESH

    def is_disabled(self, subscription: str) -> bool:
        health = self.healths.get(own_key(subscription))
        return health is not None and health.disabled

    def resume(self, subscription: str, endpoint_key: str | None) -> None:
        """Somebody says that the receiver works again."""
        for key in dict.fromkeys((own_key(subscription), endpoint_key or own_key(subscription))):
            health = self.healths.get(key)
            if health is not None:
                health.resume()
                self.changed[key] = None
                self.consider_all(key)
        lane = self.lanes.get(subscription)
        if lane is not None:
            self.unread(lane)

    def edited(self, subscription: str) -> None:
        """Somebody changed the subscription, perhaps what made it fail: its own circuit need not rest to the end. (That
        of an endpoint that others share does.)"""
        health = self.healths.get(own_key(subscription))
        if health is not None and health.look_again():
            self.changed[health.key] = None
            self.consider_all(health.key)

    def take_news(self) -> list[News]:
        """What people want to hear about, since this was last asked."""
        news, self._lessons.news = self._lessons.news, []
        return news

    def untake_news(self, news: list[News]) -> None:
        """It could not be told: keep it for the next time."""
        self._lessons.news = [*news, *self._lessons.news]

    @property
    def has_news(self) -> bool:
        return bool(self.changed or self._lessons.news)

    def forget_idle(self) -> None:
        self._recent = {}  # they know lanes that may go
        super().forget_idle()

    # -- who goes --------------------------------------------------------------------------------

    def offer(self, lane: Lane, uuid: str) -> bool:
        """A delivery that is due and about to be written: True if it may be written as out (attempt 1, send 1); it then
        counts as out. Otherwise it has to be written as waiting."""
        if self._first_in_line(lane):
            room, reserved = self.window.room(shelf_of(lane.endpoint)) if self.open else (0, False)
            if room and not self.shelves.any(self.window.open_shelves()):
                self.reserve(uuid, lane, 1, 1, reserved)
                self.stand(lane.endpoint)
                return True
        if not lane.unread:
            if len(lane.waiting or ()) >= lane.capacity or self.held >= self.rules.most_held:
                lane.unread = True
            else:
                lane.append(uuid)
                self.held += 1
            self.consider(lane)
        return False

    def _first_in_line(self, lane: Lane) -> bool:
        if lane.unread or lane.waiting or lane.picked or lane.hungry or lane.endpoint.room <= 0:
            return False
        return lane.room is None or lane.room > 0

    def tick(self, now: float) -> float | None:
        """Let happen what falls due by now; returns when the next thing does."""
        for kind, key in self.timers.due(now):
            if kind == 'lane':
                lane = self.lanes.get(key)
                if lane is not None and lane.next_due is not None and lane.next_due <= now:
                    lane.next_due = None
                    self.unread(lane)
            else:
                health = self.healths.get(key)
                if health is not None and health.wake(now):
                    self.changed[key] = None
                    self.consider_all(key)
        return self.timers.next

    def pick(self) -> tuple[list[Pick], list[Lane]]:
        """Choose what goes out now, in turns: the picks, which count as out from now on, and the lanes that are hungry:
        read their rows, ``refill`` them and pick again."""
        picks: list[Pick] = []
        hungry: list[Lane] = []
        while self.open:
            endpoint = self.shelves.choose(self.window.open_shelves(len(hungry)))
            if endpoint is None or endpoint.shelf is None:
                break
            shelf = endpoint.shelf
            lane = next(iter(endpoint.ready.values()))
            if lane.waiting:
                room, reserved = self.window.room(shelf)
                number = min(self.rules.handful, room, endpoint.room, len(lane.waiting))
                if lane.room is not None:
                    number = min(number, lane.room)
                picks += [Pick(uuid, lane) for uuid in self._take(lane, number, reserved)]
                endpoint.ready.move_to_end(lane.subscription)
            else:
                lane.hungry = True
                hungry.append(lane)
            self.consider(lane)
            self.shelves.served(endpoint, shelf)
        return picks, hungry

    def _take(self, lane: Lane, number: int, reserved: bool) -> list[str]:
        uuids = lane.take(number)
        self.held -= number
        lane.picked += number
        for uuid in uuids:
            self.reserve(uuid, lane, 0, 0, reserved)
        return uuids

    def marked(self, uuid: str, attempt: int, send: int) -> None:
        """What was picked is a row out now."""
        out = self.out.get(uuid)
        if out is not None:
            out.attempt, out.send = attempt, send
            out.lane.picked -= 1

    def found_out(self, uuid: str, lane: Lane, attempt: int, send: int) -> None:
        """A row is out that nobody picked."""
        if uuid not in self.out:
            self.reserve(uuid, lane, attempt, send, False)
            self.stand(lane.endpoint)

    def dropped(self, uuid: str) -> None:
        """What was picked is not a row out (somebody else ended it), or nobody knows."""
        out = self.release(uuid)
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
                self._lessons.learn(known, word, now)
            return
        same = out.attempt == word.attempt and out.send == word.send
        if word.verdict == 'running':
            if same and not out.slow:
                self.set_adrift(out, False)
                out.slow = True
                out.endpoint.slow_out += 1
                self.set_standing(out.endpoint, out.endpoint.while_slow())
                self.stand(out.endpoint)
            return
        if not same and word.verdict != 'success':  # a late success always counts (architecture, 6.1)
            return
        self.release(word.delivery)
        self._lessons.learn(out, word, now)
        if word.again_at is not None:
            self.due(out.lane, word.again_at, now)

    def recount(self, rows: Iterable[tuple[str, Lane, int, int, bool]]) -> None:
        """The rows that are out (uuid, lane, attempt, send, adrift), whatever was heard."""
        seen: set[str] = set()
        for uuid, lane, attempt, send, adrift in rows:
            seen.add(uuid)
            self.found_out(uuid, lane, attempt, send)
            out = self.out[uuid]
            out.attempt, out.send = attempt, send
            self.set_adrift(out, adrift)
        self._recent = {}
        for uuid in [uuid for uuid in self.out if uuid not in seen]:
            gone = self.release(uuid)
            if gone is not None:
                self._recent[uuid] = gone
