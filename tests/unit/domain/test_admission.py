"""Which delivery goes next, and how many may be out."""

from __future__ import annotations

from typing import Any

import pytest

from wazo_webhookd.domain.admission import CLOSED, HALF_OPEN, OPEN, Admission, Health, Lane, News, Rules, Waiting
from wazo_webhookd.domain.delivery import Word

RULES = Rules(open_after=3, rest=30, rest_max=100, disable_after=1000)


class World:
    """An admission with rows behind it: what is offered and not out waits here until its lane is hungry."""

    def __init__(self, window: int = 64, processes: int = 2, rules: Rules = RULES) -> None:
        self.admission = Admission(rules)
        self.admission.open = True
        self.admission.set_hands(window, processes)
        self.rows: dict[str, list[str]] = {}
        self.now = 1000.0
        self.number = 0

    @property
    def news(self) -> list[News]:
        return self.admission._lessons.news

    def lane(self, name: str, tenant: str = 'T', endpoint: str | None = None) -> Lane:
        return self.admission.lane(name, tenant, endpoint or f'{tenant}|{name}')

    def arrive(self, name: str, times: int = 1, tenant: str = 'T', endpoint: str | None = None) -> list[str]:
        """Events of one subscription come in; returns the uuids that went out at once."""
        out = []
        lane = self.lane(name, tenant, endpoint)
        for _ in range(times):
            self.number += 1
            uuid = f'{name}-{self.number:05}'
            if self.admission.offer(lane, uuid):
                out.append(uuid)
            else:
                self.rows.setdefault(name, []).append(uuid)
        if lane.unread:
            self.admission.wrote(lane)
        return out

    def admit(self) -> list[str]:
        """One round of the admitter; returns the uuids that went out, in order."""
        gone = []
        for _ in range(50):
            picks, hungry = self.admission.pick()
            for pick in picks:
                self.rows[pick.lane.subscription].remove(pick.uuid)
                self.admission.marked(pick.uuid, 1, 1)
                gone.append(pick.uuid)
            if not hungry:
                break
            for lane in hungry:
                self.feed(lane)
        return gone

    def feed(self, lane: Lane) -> None:
        limit = lane.capacity + lane.picked + 1
        rows = self.rows.get(lane.subscription, [])
        self.admission.refill(lane, Waiting(rows[:limit], len(rows) >= limit, None, lane.writes), self.now)

    def word(self, uuid: str, verdict: Any = 'success', seconds: float = 0.01, **more: Any) -> None:
        out = self.admission.out.get(uuid)
        attempt, send = (out.attempt, out.send) if out else (1, 1)
        self.admission.heard(Word(uuid, attempt, send, verdict, seconds, **more), self.now)

    def finish(self, uuids: list[str], verdict: Any = 'success', seconds: float = 0.01) -> None:
        for uuid in uuids:
            self.word(uuid, verdict, seconds)

    def prove(self, name: str, cap: int = 2, tenant: str = 'T', endpoint: str | None = None) -> None:
        """Let deliveries succeed until the endpoint has this cap."""
        lane = self.lane(name, tenant, endpoint)
        while lane.endpoint.cap < cap:
            out = self.arrive(name, 1, tenant, endpoint) or self.admit()
            assert out
            self.finish(out)
        assert lane.endpoint.standing == 'proven'

    def out_of(self, name: str) -> int:
        return self.lane_of(name).out

    def lane_of(self, name: str) -> Lane:
        return self.admission.lanes[name]

    def later(self, seconds: float) -> None:
        self.now += seconds
        self.admission.tick(self.now)


@pytest.fixture
def world() -> World:
    return World()


def test_a_fresh_endpoint_gets_one_delivery(world: World) -> None:
    out = world.arrive('a', 5)

    assert out == ['a-00001']
    assert world.admit() == []


def test_a_quick_answer_proves_and_the_cap_grows_with_every_success(world: World) -> None:
    world.finish(world.arrive('a', 100))
    sizes = []
    for _ in range(7):
        gone = world.admit()
        sizes.append(len(gone))
        world.finish(gone)

    assert sizes == [2, 4, 8, 16, 32, 37, 0]
    assert world.lane_of('a').endpoint.standing == 'proven'


def test_the_cap_ends_at_32_per_worker_process() -> None:
    world = World(window=1000, processes=2)
    world.prove('a', cap=64)
    world.arrive('a', 200)
    world.admit()

    assert world.out_of('a') == 64


def test_fewer_processes_mean_lower_caps() -> None:
    world = World(window=1000, processes=2)
    world.prove('a', cap=64)
    world.admission.set_hands(500, 1)

    assert world.lane_of('a').endpoint.cap == 32


def test_nothing_goes_without_hands() -> None:
    world = World(window=0)

    assert world.arrive('a', 3) == []
    assert world.admit() == []


def test_nothing_goes_while_the_broker_is_away(world: World) -> None:
    world.admission.open = False
    assert world.arrive('a', 3) == []
    assert world.admit() == []

    world.admission.open = True
    assert world.admit() == ['a-00001']


@pytest.mark.parametrize('window', [1, 2, 3, 4, 5, 7, 8, 100])
def test_the_smallest_windows_still_serve_everybody(window: int) -> None:
    world = World(window=window)
    for name in 'abcdefgh':
        world.arrive(name, 3, tenant=name)
    served = []
    for _ in range(40):
        out = list(world.admission.out)
        world.finish(out)
        served += out
        world.admit()
        assert len(world.admission.out) <= window

    assert len(set(served)) == 24


def test_fresh_and_poor_together_get_half_the_window() -> None:
    world = World(window=40)
    for number in range(100):
        world.arrive(f's{number}')
    world.admit()

    assert len(world.admission.out) == 20


def test_the_last_quarter_goes_only_to_proven_endpoints_with_nothing_out() -> None:
    world = World(window=40, processes=10)
    world.prove('storm', cap=60)
    world.prove('quiet', cap=5)
    world.arrive('storm', 200)
    world.admit()
    assert len(world.admission.out) == 30

    world.arrive('quiet', 5)
    world.arrive('fresh')
    world.admit()

    assert world.out_of('quiet') == 1
    assert world.out_of('fresh') == 0
    assert len(world.admission.out) == 31


def test_endpoints_that_live_on_the_last_quarter_do_not_keep_the_others_out() -> None:
    world = World(window=8, processes=1)
    for name in ('q1', 'q2', 'q3', 'q4'):
        world.prove(name)
    for number in range(6):
        world.arrive(f'slow{number}')
    served: set[str] = set()
    for _ in range(60):
        for name in ('q1', 'q2', 'q3', 'q4'):
            world.arrive(name)
        world.admit()
        oldest = next(iter(world.admission.out))
        served.add(oldest.split('-')[0])
        world.finish([oldest])

    assert {f'slow{number}' for number in range(6)} <= served


def test_the_deliveries_of_a_lane_leave_in_order(world: World) -> None:
    uuids = world.arrive('a', 60)
    while len(uuids) < 60:
        world.finish([uuid for uuid in uuids if uuid in world.admission.out])
        uuids += world.admit()

    assert uuids == sorted(uuids)


def test_a_new_delivery_does_not_overtake_what_waits(world: World) -> None:
    world.prove('a', cap=4)
    world.arrive('a', 4)
    world.arrive('a', 1)
    world.finish(list(world.admission.out)[:2])
    assert world.admission.pick()[0]  # chosen, not yet marked

    assert world.arrive('a', 1) == []


def test_a_handful_at_a_time_in_turns() -> None:
    world = World(window=200, processes=10)
    for name in ('a', 'b'):
        world.prove(name, cap=20, tenant=name)
    world.admission.open = False
    for name in ('a', 'b'):
        world.arrive(name, 20, tenant=name)
    world.admission.open = True

    order = ''.join(uuid[0] for uuid in world.admit())

    assert order == 'aaaaabbbbb' * 4 or order == 'bbbbbaaaaa' * 4


def test_tenants_take_turns_whatever_the_number_of_their_subscriptions() -> None:
    world = World(window=40, processes=10)
    world.admission.open = False
    for number in range(100):
        world.arrive(f'big{number}', tenant='big')
    world.arrive('small', tenant='small')
    world.admission.open = True

    first = world.admit()

    assert any(uuid.startswith('small') for uuid in first[:2])


def test_subscriptions_that_lead_to_one_endpoint_share_its_cap(world: World) -> None:
    world.prove('a', cap=4, endpoint='T|host')
    world.admission.open = False
    world.arrive('a', 10, endpoint='T|host')
    world.arrive('b', 10, endpoint='T|host')
    world.admission.open = True
    world.admit()

    assert len(world.admission.out) == 4
    assert world.out_of('a') + world.out_of('b') == 4


def test_silence_sends_the_cap_back_to_one(world: World) -> None:
    world.prove('a', cap=10)
    out = world.arrive('a', 3)
    world.word(out[0], 'silent', 15.0)

    endpoint = world.lane_of('a').endpoint
    assert (endpoint.cap, endpoint.standing) == (1, 'poor')


def test_a_failing_status_is_the_subscription_s_affair(world: World) -> None:
    world.prove('a', cap=10, endpoint='T|host')
    world.lane('b', endpoint='T|host')
    for _ in range(3):
        world.finish(world.arrive('a', 1, endpoint='T|host'), 'refused')

    lane = world.lane_of('a')
    assert lane.health is not None
    assert lane.health.circuit == OPEN
    assert (lane.endpoint.health.circuit, lane.endpoint.cap, lane.endpoint.standing) == (CLOSED, 10, 'proven')
    assert world.arrive('a', 1, endpoint='T|host') == []
    assert len(world.arrive('b', 1, endpoint='T|host')) == 1


def test_silence_rests_all_that_lead_to_the_endpoint(world: World) -> None:
    for _ in range(3):
        world.finish(world.arrive('a', 1, endpoint='T|host') or world.admit(), 'silent')
    assert world.arrive('b', 1, endpoint='T|host') == []
    assert world.admit() == []

    news = [(item.kind, set(item.subscriptions)) for item in world.news]
    assert news == [('resting', {'a'})]
    assert 'T|host' in world.admission.changed


def test_after_the_rest_one_probe_goes_and_its_answer_opens_the_gates(world: World) -> None:
    for _ in range(3):
        world.finish(world.arrive('a') or world.admit(), 'silent')
    world.arrive('a', 20)
    world.later(29.0)
    assert world.admit() == []

    world.later(1.0)
    probe = world.admit()
    assert len(probe) == 1
    assert world.admit() == []

    world.finish(probe)
    assert len(world.admit()) == 2
    assert [item.kind for item in world.news] == ['resting', 'recovered']


def test_a_silent_probe_means_a_longer_rest(world: World) -> None:
    for _ in range(3):
        world.finish(world.arrive('a') or world.admit(), 'silent')
    world.arrive('a', 20)
    world.later(30.0)
    world.finish(world.admit(), 'silent')

    world.later(59.0)
    assert world.admit() == []
    world.later(1.0)
    assert len(world.admit()) == 1


def test_an_answer_with_an_error_shows_that_the_endpoint_is_there(world: World) -> None:
    for _ in range(3):
        world.finish(world.arrive('a', 1, endpoint='T|host') or world.admit(), 'silent')
    world.arrive('a', 2, endpoint='T|host')
    world.later(30.0)
    world.finish(world.admit(), 'refused')

    assert world.lane_of('a').endpoint.health.circuit == CLOSED


def test_a_crash_of_ours_counts_against_nobody(world: World) -> None:
    for _ in range(20):
        world.finish(world.arrive('a') or world.admit(), 'crashed')

    lane = world.lane_of('a')
    assert lane.endpoint.standing == 'fresh'
    assert lane.endpoint.health.circuit == CLOSED
    assert lane.health is None or lane.health.failures == 0


def test_a_probe_that_crashed_says_nothing_and_another_goes(world: World) -> None:
    for _ in range(3):
        world.finish(world.arrive('a') or world.admit(), 'silent')
    world.arrive('a', 3)
    world.later(30.0)
    world.finish(world.admit(), 'crashed')

    assert world.lane_of('a').endpoint.health.circuit == HALF_OPEN
    assert len(world.admit()) == 1


def test_retry_after_pauses_the_subscription_alone(world: World) -> None:
    world.prove('a', cap=5, endpoint='T|host')
    world.prove('b', cap=6, endpoint='T|host')
    world.word(world.arrive('a', 1, endpoint='T|host')[0], 'refused', rest=120.0)

    assert world.arrive('a', 1, endpoint='T|host') == []
    assert len(world.arrive('b', 1, endpoint='T|host')) == 1
    world.later(119.0)
    assert world.admit() == []
    world.later(1.0)
    assert len(world.admit()) == 1


def test_what_runs_for_more_than_a_second_makes_poor(world: World) -> None:
    world.prove('a', cap=12)
    out = world.arrive('a', 3)
    world.word(out[0], 'running', 1.0)

    endpoint = world.lane_of('a').endpoint
    assert (endpoint.standing, endpoint.cap, endpoint.slow_out) == ('poor', 6, 1)
    world.word(out[1], 'running', 1.0)
    world.word(out[1], 'running', 1.0)
    assert (endpoint.cap, endpoint.slow_out) == (6, 2)


def test_a_slow_but_honest_receiver_gets_its_throughput(world: World) -> None:
    """Two seconds for each of 200 answers, all within a minute."""
    world.arrive('a', 200)
    seconds = 0
    while world.admission.out:
        for uuid in list(world.admission.out):
            world.word(uuid, 'running', 1.0)
        world.finish(list(world.admission.out), seconds=2.0)
        world.admit()
        seconds += 2

    assert not world.rows['a']
    assert seconds <= 60


def test_quick_answers_prove_again(world: World) -> None:
    world.prove('a', cap=4)
    world.finish(world.arrive('a'), seconds=3.0)
    endpoint = world.lane_of('a').endpoint
    assert endpoint.standing == 'poor'

    for _ in range(RULES.proof):
        world.finish(world.arrive('a') or world.admit())
    assert endpoint.standing == 'proven'


def test_a_lane_holds_twice_its_cap_in_memory(world: World) -> None:
    world.arrive('a', 5000)
    lane = world.lane_of('a')

    assert len(lane.waiting or ()) == 2
    assert lane.unread
    world.finish(list(world.admission.out))
    world.admit()
    assert len(lane.waiting or ()) <= 2 * lane.endpoint.cap


def test_memory_is_bounded_in_all_and_those_beyond_are_served_all_the_same() -> None:
    world = World(window=64, rules=Rules(most_held=50))
    for number in range(100):
        world.arrive(f's{number}', 3)
        assert world.admission.held <= 50
    served: set[str] = set()
    while world.admission.out:
        out = list(world.admission.out)
        served |= set(out)
        world.finish(out)
        world.admit()
        assert world.admission.held <= 50 + RULES.handful * 64

    assert len(served) == 300


def test_a_resting_lane_holds_nothing_in_memory(world: World) -> None:
    world.arrive('a', 3)
    for _ in range(3):
        world.finish(list(world.admission.out), 'silent')
        world.arrive('a', 3)
        world.admit()
    world.arrive('a', 1000)

    assert world.admission.held == 0
    assert world.lane_of('a').unread


def test_rows_written_while_a_lane_was_read_are_not_forgotten(world: World) -> None:
    lane = world.lane('a')
    world.rows['a'] = ['a-1', 'a-2']
    world.admission.wrote(lane)
    _, hungry = world.admission.pick()
    assert hungry == [lane]
    before = lane.writes

    world.rows['a'].append('a-3')
    world.admission.wrote(lane)
    world.admission.refill(lane, Waiting(['a-1', 'a-2'], False, None, before), world.now)

    assert lane.unread
    world.finish(world.admit())
    assert world.admit() == ['a-2', 'a-3']


def test_words_twice_late_or_about_strangers_are_harmless(world: World) -> None:
    [uuid] = world.arrive('a')
    world.word(uuid)
    world.word(uuid)
    world.word('stranger')

    assert world.admission.out == {}
    assert world.lane_of('a').out == world.lane_of('a').endpoint.out == 0
    assert world.lane_of('a').endpoint.cap == 2


def test_a_word_about_an_earlier_send_counts_only_when_it_is_a_success(world: World) -> None:
    [uuid] = world.arrive('a')
    world.admission.out[uuid].send = 2

    world.admission.heard(Word(uuid, 1, 1, 'silent', 15.0), world.now)
    assert uuid in world.admission.out
    world.admission.heard(Word(uuid, 1, 1, 'success', 15.0), world.now)
    assert uuid not in world.admission.out


def test_a_dropped_message_says_nothing(world: World) -> None:
    [uuid] = world.arrive('a')
    world.word(uuid, 'dropped')

    assert uuid in world.admission.out


def test_a_retry_is_read_when_it_falls_due(world: World) -> None:
    [uuid] = world.arrive('a')
    world.rows['a'] = []
    world.word(uuid, 'silent', again_at=world.now + 5)
    assert world.admit() == []
    assert world.admission.tick(world.now) == world.now + 5

    world.rows['a'] = [uuid]
    world.later(5.0)
    assert world.admit() == [uuid]


def test_a_recount_makes_memory_what_the_rows_are(world: World) -> None:
    [gone] = world.arrive('a')
    lane = world.lane('b')
    world.admission.recount([('b-1', lane, 2, 3, False)])

    assert set(world.admission.out) == {'b-1'}
    assert (world.lane_of('a').out, lane.out, lane.endpoint.out) == (0, 1, 1)
    world.word(gone, 'success')  # the word that comes after it is still learnt from
    assert world.lane_of('a').endpoint.standing == 'proven'


def test_what_lies_in_a_frozen_worker_keeps_nobody_from_sending() -> None:
    world = World(window=2, processes=1)
    stuck = [*world.arrive('a', 5), *world.arrive('b', 5, tenant='B')]
    world.admit()
    assert world.admit() == []
    rows = [(uuid, world.lane_of(uuid[0]), 1, 1, True) for uuid in world.admission.out]
    world.admission.recount(rows)

    assert len(world.admit()) == 1
    world.admission.recount([(*row[:4], False) for row in rows])  # a hand has them after all
    assert (world.admission.window.out, world.admit()) == (len(rows), [])
    world.finish(stuck)
    assert stuck[0] not in world.admission.out


def test_what_could_not_be_marked_is_read_again(world: World) -> None:
    world.admission.open = False
    world.arrive('a', 2)
    world.admission.open = True
    picks, _ = world.admission.pick()
    for pick in picks:
        world.admission.dropped(pick.uuid)

    lane = world.lane_of('a')
    assert (lane.out, lane.picked, lane.unread, world.admission.out) == (0, 0, True, {})
    assert world.admit() == ['a-00001']


def test_a_subscription_that_leads_elsewhere_takes_its_lane_along(world: World) -> None:
    world.prove('a', cap=3)
    world.arrive('a', 10)
    lane = world.lane('a', endpoint='T|other')
    assert lane.endpoint.standing == 'fresh'

    world.finish(list(world.admission.out))
    assert world.admission.endpoints['T|a'].out == 0
    assert len(world.admit()) == 1


def test_a_disabled_subscription_sends_nothing_until_it_is_resumed(world: World) -> None:
    now = world.now
    for seconds in (0, 800, 1100):
        world.now = now + seconds
        world.admission.tick(world.now)
        world.finish(world.arrive('a', 1) or world.admit(), 'silent')
    assert world.admission.is_disabled('a')
    assert [item.kind for item in world.news if item.kind.startswith('disab')] == ['disabling', 'disabled']
    world.later(10_000.0)
    assert world.admit() == []

    world.admission.resume('a', 'T|a')
    world.arrive('a')
    assert len(world.admit()) == 1


def test_an_edited_subscription_gets_a_probe_at_once(world: World) -> None:
    world.prove('a', cap=4)
    world.finish(world.arrive('a', 3), 'refused')
    world.arrive('a', 2)
    assert world.admit() == []

    world.admission.edited('a')
    probe = world.admit()
    assert len(probe) == 1
    assert 'sub:a' in world.admission.changed
    world.finish(probe, 'refused')
    assert world.admit() == []


def test_an_edit_does_not_end_the_rest_of_a_silent_endpoint(world: World) -> None:
    world.prove('a', cap=4)
    world.finish(world.arrive('a', 3), 'silent')
    world.arrive('a', 1)
    world.admission.edited('a')

    assert world.admit() == []


def test_what_was_written_down_counts_after_a_restart(world: World) -> None:
    resting = Health('T|a', 'T')
    resting.circuit, resting.until = OPEN, world.now + 10
    world.admission.remember(resting, 'poor')
    disabled = Health('sub:b', 'T')
    disabled.disabled = True
    world.admission.remember(disabled, 'fresh')
    world.admission.remember(Health('T|c', 'T'), 'proven')

    assert world.arrive('a') == []
    assert world.arrive('b') == []
    assert len(world.arrive('c', 5)) == 2
    world.later(10.0)
    assert [uuid[0] for uuid in world.admit()] == ['a']


def test_the_endpoint_may_be_the_subscription_itself(world: World) -> None:
    for verdict in ('silent', 'refused', 'silent'):
        world.finish(world.arrive('a', 1, endpoint='sub:a') or world.admit(), verdict)

    lane = world.lane_of('a')
    assert lane.endpoint.health.circuit == OPEN
    assert world.admission.own_health(lane) is lane.endpoint.health
    assert [item.kind for item in world.news] == ['resting']


def test_what_there_is_nothing_to_know_about_is_forgotten(world: World) -> None:
    world.finish(world.arrive('a'), 'crashed')
    world.prove('b')
    world.arrive('c', 3)
    world.admission.forget_idle()

    assert set(world.admission.lanes) == {'c'}
    assert set(world.admission.endpoints) == {'T|b', 'T|c'}
