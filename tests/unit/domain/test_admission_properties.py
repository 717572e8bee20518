"""What holds for admission whatever happens, in whatever order."""

from __future__ import annotations

import random
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from wazo_webhookd.domain.admission import Admission, Lane, Rules, Waiting
from wazo_webhookd.domain.delivery import Word

RULES = Rules(open_after=3, rest=10, rest_max=40, disable_after=0, most_held=30)
SUBSCRIPTIONS = [f's{number}' for number in range(12)]


def home(name: str) -> tuple[str, str]:
    """Tenant and endpoint: some share an endpoint, some are one themselves."""
    number = int(name[1:])
    tenant = f'T{number % 3}'
    return tenant, (f'sub:{name}' if number % 4 == 3 else f'{tenant}|host{number % 6}')


class Rows:
    """The table: uuid -> [subscription, state, attempt, send, due]; the order of the dict is that of arrival."""

    def __init__(self) -> None:
        self.rows: dict[str, list[Any]] = {}

    def waiting(self, subscription: str) -> list[tuple[float, str]]:
        found = [(row[4], uuid) for uuid, row in self.rows.items() if row[0] == subscription and row[1] == 'waiting']
        return sorted(found, key=lambda pair: pair[0])


class Machine(RuleBasedStateMachine):
    """One daemon's memory over the rows, with lost words, failed commits and restarts in between."""

    @initialize(window=st.integers(1, 40), processes=st.integers(1, 3))
    def begin(self, window: int, processes: int) -> None:
        self.now = 1000.0
        self.number = 0
        self.table = Rows()
        self.window, self.processes = window, processes
        self.first_sends: dict[str, list[int]] = {}
        self.admission = self.new_admission()

    def new_admission(self) -> Admission:
        admission = Admission(RULES)
        admission.open = True
        admission.set_hands(self.window, self.processes)
        return admission

    def lane(self, name: str) -> Lane:
        tenant, endpoint = home(name)
        return self.admission.lane(name, tenant, endpoint)

    @rule(names=st.lists(st.sampled_from(SUBSCRIPTIONS), min_size=1, max_size=8), commits=st.booleans())
    def intake(self, names: list[str], commits: bool) -> None:
        lanes: dict[str, Lane] = {}
        out: list[str] = []
        new: dict[str, list[Any]] = {}
        for name in names:
            self.number += 1
            uuid = f'{self.number:06}'
            lane = lanes[name] = self.lane(name)
            goes = self.admission.offer(lane, uuid)
            if goes:
                out.append(uuid)
            new[uuid] = [name, 'out' if goes else 'waiting', 1, int(goes), self.now]
        if not commits:
            for uuid in out:
                self.admission.dropped(uuid)
            for lane in lanes.values():
                self.admission.forget_waiting(lane)
            return
        self.table.rows.update(new)
        for uuid in out:
            self.first_sends.setdefault(new[uuid][0], []).append(int(uuid))
        for lane in lanes.values():
            if lane.unread:
                self.admission.wrote(lane)

    @rule(name=st.sampled_from(SUBSCRIPTIONS), told=st.booleans())
    def another_daemon_writes(self, name: str, told: bool) -> None:
        self.number += 1
        self.table.rows[f'{self.number:06}'] = [name, 'waiting', 1, 0, self.now]
        if told:
            self.admission.wrote(self.lane(name))

    @rule(commits=st.booleans())
    def admit(self, commits: bool) -> None:
        picks = []
        for _ in range(8):
            some, hungry = self.admission.pick()
            picks += some
            if not hungry:
                break
            for lane in hungry:
                self.feed(lane)
        if not commits:
            for pick in picks:
                self.admission.dropped(pick.uuid)
            return
        for pick in picks:
            row = self.table.rows[pick.uuid]
            if row[1] != 'waiting' or row[4] > self.now:
                self.admission.dropped(pick.uuid)
                continue
            row[1] = 'out'
            row[3] += 1
            if row[3] == 1:
                self.first_sends.setdefault(row[0], []).append(int(pick.uuid))
            self.admission.marked(pick.uuid, row[2], row[3])

    def feed(self, lane: Lane) -> None:
        limit = lane.capacity + lane.picked + 1
        rows = self.table.waiting(lane.subscription)[:limit]
        due = [uuid for at, uuid in rows if at <= self.now]
        later = next((at for at, _ in rows if at > self.now), None)
        more = len(rows) >= limit and later is None
        self.admission.refill(lane, Waiting(due, more, later, lane.writes), self.now)

    @precondition(lambda self: any(row[1] == 'out' for row in self.table.rows.values()))
    @rule(
        data=st.data(),
        verdict=st.sampled_from(['success', 'success', 'silent', 'refused', 'crashed', 'running']),
        seconds=st.sampled_from([0.01, 2.0]),
        again=st.booleans(),
        lost=st.booleans(),
        twice=st.booleans(),
    )
    def attempt_ends(
        self, data: st.DataObject, verdict: Any, seconds: float, again: bool, lost: bool, twice: bool
    ) -> None:
        uuid = data.draw(st.sampled_from([uuid for uuid, row in self.table.rows.items() if row[1] == 'out']))
        row = self.table.rows[uuid]
        word = Word(uuid, row[2], row[3], verdict, seconds, rest=20.0 if again and verdict == 'refused' else None)
        if verdict != 'running':
            if verdict == 'success' or not again:
                row[1] = 'success' if verdict == 'success' else 'error'
            else:
                row[1], row[2], row[4] = 'waiting', row[2] + 1, self.now + 5
                word = word._replace(again_at=row[4])
        for _ in range(0 if lost else 1 + twice):
            self.admission.heard(word, self.now)

    @rule(seconds=st.sampled_from([0.1, 3.0, 12.0, 50.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        self.admission.tick(self.now)

    @rule(adrift=st.sampled_from([0.0, 0.3, 1.0]))
    def recount(self, adrift: float = 0.0) -> None:
        out = [
            (uuid, self.lane(row[0]), row[2], row[3], int(uuid) % 10 < 10 * adrift)
            for uuid, row in self.table.rows.items()
            if row[1] == 'out'
        ]
        self.admission.recount(out)
        for name in SUBSCRIPTIONS:
            waiting = self.table.waiting(name)
            if waiting:
                lane = self.lane(name)
                if waiting[0][0] > self.now:
                    self.admission.due(lane, waiting[0][0], self.now)
                elif not lane.waiting:
                    self.admission.unread(lane)

    @rule()
    def orphans(self) -> None:
        for row in self.table.rows.values():
            if row[1] == 'out':
                row[1] = 'waiting'
        for name in SUBSCRIPTIONS:
            self.admission.wrote(self.lane(name))
        self.recount()

    @rule(window=st.integers(0, 40), processes=st.integers(1, 3))
    def workers_change(self, window: int, processes: int) -> None:
        self.window, self.processes = window, processes
        self.admission.set_hands(window, processes)

    @rule(name=st.sampled_from(SUBSCRIPTIONS), host=st.integers(0, 2))
    def subscription_leads_elsewhere_for_a_while(self, name: str, host: int) -> None:
        self.admission.lane(name, home(name)[0], f'{home(name)[0]}|other{host}')

    @rule()
    def idle_things_are_forgotten(self) -> None:
        self.admission.forget_idle()

    @rule()
    def another_daemon_takes_over(self) -> None:
        known = [(h, self.admission.standing_of(key)) for key, h in self.admission.healths.items()]
        self.admission = self.new_admission()
        for health, standing in known:
            self.admission.remember(health, standing)
        self.recount()

    # -- what always holds -------------------------------------------------------------------------

    @invariant()
    def counts_are_right(self) -> None:
        admission = getattr(self, 'admission', None)
        if admission is None:
            return
        by_endpoint: dict[int, int] = {}
        by_lane: dict[int, int] = {}
        counted = [out for out in admission.out.values() if not out.adrift]
        for out in counted:
            by_endpoint[id(out.endpoint)] = by_endpoint.get(id(out.endpoint), 0) + 1
            by_lane[id(out.lane)] = by_lane.get(id(out.lane), 0) + 1
        for endpoint in admission.endpoints.values():
            assert endpoint.out == by_endpoint.get(id(endpoint), 0)
            assert endpoint.slow_out == sum(out.slow for out in counted if out.endpoint is endpoint)
            assert 1 <= endpoint.cap <= max(RULES.most_out(3), 2)
            for lane in endpoint.ready.values():
                assert lane.endpoint is endpoint
                assert lane.waiting or lane.unread
        for lane in admission.lanes.values():
            assert lane.out == by_lane.get(id(lane), 0)
            assert lane.picked == 0
            assert not lane.hungry
        assert admission.window.out == len(counted)
        for out in admission.out.values():
            assert admission.lanes[out.lane.subscription] is out.lane
            assert admission.endpoints[out.endpoint.key] is out.endpoint
        assert admission.held == sum(len(lane.waiting or ()) for lane in admission.lanes.values())
        assert admission.window.doubtful == sum(out.endpoint.standing != 'proven' for out in counted)
        assert admission.window.reserved == sum(out.reserved for out in counted)
        assert admission.held <= RULES.most_held + RULES.handful * len(admission.lanes)

    def teardown(self) -> None:
        """All is well from now on: then every delivery is served, and in the order of arrival of first attempts."""
        if not hasattr(self, 'admission'):
            return
        self.workers_change(10, 1)
        for _ in range(400):
            self.time_passes(12.0)
            self.recount()
            self.admit(True)
            out = [uuid for uuid, row in self.table.rows.items() if row[1] == 'out']
            for uuid in out:
                row = self.table.rows[uuid]
                row[1] = 'success'
                self.admission.heard(Word(uuid, row[2], row[3], 'success', 0.01), self.now)
            if not any(row[1] in ('waiting', 'out') for row in self.table.rows.values()):
                break
        left = [row for row in self.table.rows.values() if row[1] in ('waiting', 'out')]
        assert not left


Machine.TestCase.settings = settings(
    max_examples=80, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
TestMachine = Machine.TestCase


class Simple:
    """All rows known to one daemon, nothing fails: for the limits and for order."""

    def __init__(self, window: int, processes: int) -> None:
        self.admission = Admission(Rules(most_held=200))
        self.admission.open = True
        self.admission.set_hands(window, processes)
        self.window = window
        self.rows: dict[str, list[str]] = {}
        self.sent: list[str] = []

    def check(self) -> None:
        admission = self.admission
        assert len(admission.out) <= self.window
        for endpoint in admission.endpoints.values():
            assert endpoint.out <= endpoint.cap
        doubtful = sum(1 for out in admission.out.values() if out.endpoint.standing != 'proven')
        assert doubtful <= max(1, self.window // 2)
        general = [out for out in admission.out.values() if not out.reserved]
        assert len(general) <= self.window - self.window // 4
        reserved = [out.endpoint.key for out in admission.out.values() if out.reserved]
        assert len(set(reserved)) == len(reserved)

    def arrive(self, name: str, number: int) -> None:
        uuid = f'{name}-{number:06}'
        lane = self.admission.lane(name, *home(name))
        if self.admission.offer(lane, uuid):
            self.sent.append(uuid)
        else:
            self.rows.setdefault(name, []).append(uuid)
            if lane.unread:
                self.admission.wrote(lane)
        self.check()

    def admit(self) -> None:
        for _ in range(100):
            picks, hungry = self.admission.pick()
            self.check()
            for pick in picks:
                self.rows[pick.lane.subscription].remove(pick.uuid)
                self.admission.marked(pick.uuid, 1, 1)
                self.sent.append(pick.uuid)
            if not hungry:
                return
            for lane in hungry:
                limit = lane.capacity + lane.picked + 1
                rows = self.rows.get(lane.subscription, [])[:limit]
                self.admission.refill(lane, Waiting(rows, len(rows) >= limit, None, lane.writes), 0.0)


@settings(max_examples=60, deadline=None)
@given(
    window=st.integers(1, 60),
    processes=st.integers(1, 3),
    arrivals=st.lists(st.sampled_from(SUBSCRIPTIONS), max_size=150),
    seed=st.integers(0, 2**32),
)
def test_limits_hold_order_is_kept_and_everything_is_served(
    window: int, processes: int, arrivals: list[str], seed: int
) -> None:
    simple = Simple(window, processes)
    chance = random.Random(seed)
    for number, name in enumerate(arrivals):
        simple.arrive(name, number)
        if chance.random() < 0.3 and simple.admission.out:
            simple.admission.heard(Word(chance.choice(list(simple.admission.out)), 1, 1, 'success', 0.01), 0.0)
        if chance.random() < 0.3:
            simple.admit()
    rounds = 0
    simple.admit()
    while simple.admission.out:
        for uuid in list(simple.admission.out):
            simple.admission.heard(Word(uuid, 1, 1, 'success', 0.01), 0.0)
        simple.admit()
        rounds += 1
        assert rounds <= len(arrivals) + 5

    assert sorted(simple.sent) == sorted(f'{name}-{number:06}' for number, name in enumerate(arrivals))
    for name in SUBSCRIPTIONS:
        mine = [uuid for uuid in simple.sent if uuid.startswith(f'{name}-')]
        assert mine == sorted(mine)


@settings(max_examples=25, deadline=None)
@given(window=st.integers(4, 64), storm=st.integers(1, 30), seed=st.integers(0, 2**32))
def test_no_tenant_waits_longer_than_a_turn_of_the_others(window: int, storm: int, seed: int) -> None:
    """A storm of one tenant: the single delivery of another goes within the next turns, however large the storm is."""
    simple = Simple(window, 2)
    chance = random.Random(seed)
    tenants = {f's{number}': home(f's{number}')[0] for number in range(12)}
    stormy = [name for name, tenant in tenants.items() if tenant == 'T0']
    number = 0
    for name in stormy:
        for _ in range(storm * 10):
            number += 1
            simple.arrive(name, number)
    for _ in range(30):
        for uuid in list(simple.admission.out):
            simple.admission.heard(Word(uuid, 1, 1, 'success', 0.01), 0.0)
        simple.admit()
        if not any(simple.rows.values()):
            return
    number += 1
    simple.arrive('s1', number)
    freed = 0
    while f's1-{number:06}' not in simple.sent:
        uuid = chance.choice(list(simple.admission.out))
        simple.admission.heard(Word(uuid, 1, 1, 'success', 0.01), 0.0)
        simple.admit()
        freed += 1
        assert freed <= window
