from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from tests.unit.attempts.doubles import Message, Rows, Time, attempt, ticket
from wazo_webhookd.attempts.inhand import Attempt, InHand
from wazo_webhookd.attempts.lives import Contact, Life
from wazo_webhookd.database.processes import LifeForgotten
from wazo_webhookd.domain.delivery import Word
from wazo_webhookd.exceptions import DatabaseUnavailable, SchemaBehind


class Register:
    def __init__(self, time: Time) -> None:
        self.time = time
        self.calls: list[tuple[object, ...]] = []
        self.trouble: Exception | None = None
        self.ahead = 0.0

    def _say(self, *call: object) -> datetime:
        if self.trouble is not None:
            raise self.trouble
        self.calls.append(call)
        return datetime.fromtimestamp(self.time.database() + self.ahead, UTC)

    def check(self) -> None:
        self._say('check')

    def begin(self, hands: int) -> datetime:
        return self._say('begin', hands)

    def renew(self, hands: int, written_off: int) -> datetime:
        if self.calls == [('forget',)]:
            self.calls.clear()
            raise LifeForgotten
        return self._say('renew', hands, written_off)

    def end(self) -> None:
        self._say('end')


class Watched:
    def __init__(self) -> None:
        self.in_hand = InHand()
        self.calls: list[str] = []
        self.trouble: Exception | None = None

    def overdue(self) -> None:
        self.calls.append('overdue')
        if self.trouble is not None:
            raise self.trouble

    def serve_claims(self) -> None:
        self.calls.append('claims')


class World:
    def __init__(self) -> None:
        self.time, self.rows, self.desk = Time(), Rows(), Watched()
        self.register = Register(self.time)
        self.capacity = (8, 0)
        self.away: list[bool] = []
        self.misfits: list[Exception] = []
        self.told: list[Word] = []
        self.life = Life(
            'me', self.register, self.rows, self.time.clock, Contact(self.away.append).of('life'),
            capacity=lambda: self.capacity, on_misfit=self.misfits.append, tell=self.told.extend,
        )  # fmt: skip
        self.life.watch(self.desk)

    def tick(self, seconds: float = 0.0) -> None:
        self.time.passes(seconds)
        self.life.tick()

    def take(self, delivery: str, started: bool = True) -> Attempt:
        taken = attempt(ticket(delivery), Message(), self.time.now)
        if started:
            taken.started = self.time.now
        self.desk.in_hand.take(taken)
        return taken


@pytest.fixture
def world() -> World:
    return World()


def test_work_begins_with_the_registration(world: World) -> None:
    before = list(world.away)
    world.tick()

    assert before == [True]
    assert world.away == [True, False]
    assert world.register.calls == [('check',), ('begin', 8)]


def test_life_is_renewed_every_five_seconds_and_when_its_capacity_changes(world: World) -> None:
    world.tick()
    world.tick(4.9)
    world.tick(0.2)
    world.capacity = (8, 1)
    world.tick(0.2)

    assert world.register.calls[2:] == [('renew', 8, 0), ('renew', 8, 1)]


def test_forgotten_life_begins_again(world: World) -> None:
    world.tick()
    world.register.calls = [('forget',)]
    world.tick(5)

    assert world.register.calls == [('begin', 8)]


def test_clock_follows_the_database(world: World) -> None:
    world.register.ahead = 3600.0
    world.tick()

    assert world.time.clock.now() == pytest.approx(world.time.database() + 3600)


def test_only_what_takes_longer_than_a_second_is_held_once(world: World) -> None:
    world.tick()
    slow, unstarted = world.take('slow'), world.take('unstarted', started=False)
    world.tick(0.7)
    early = list(world.rows.held)
    world.take('quick')
    world.tick(0.3)
    world.tick(0.2)

    assert early == []
    assert world.rows.held == sorted([slow.send, unstarted.send])
    assert world.rows.words == [Word('slow', 1, 1, 'running', 1.0)]
    assert world.told == world.rows.words


def test_what_has_to_ask_is_not_taken_for_ours(world: World) -> None:
    """Holding is how a claim is made: marked too early, another's attempt would be made twice."""
    world.tick()
    world.take('copy', started=False).asks = True
    world.life.hold_all_soon()
    world.tick(2)

    assert world.rows.held == []


def test_lost_broker_connection_holds_everything_at_once(world: World) -> None:
    world.tick()
    world.take('quick')
    world.life.hold_all_soon()
    world.tick(0.1)

    assert [send.delivery for send in world.rows.held] == ['quick']


def test_what_has_its_outcome_is_not_held(world: World) -> None:
    world.tick()
    world.take('done').settle()
    world.tick(2)

    assert world.rows.held == []


def test_database_away_is_told_and_tried_again_soon(world: World) -> None:
    world.tick()
    slow = world.take('slow')
    world.rows.away = True
    world.register.trouble = DatabaseUnavailable()
    world.tick(2)
    world.rows.away, world.register.trouble = False, None
    world.tick(0.6)

    assert world.away == [True, False, True, False]
    assert world.rows.held == [slow.send]
    assert world.desk.calls.count('overdue') == 3  # whatever the database does


@pytest.mark.parametrize('trouble', [SchemaBehind(), DatabaseUnavailable()])
def test_first_contact_waits_for_the_database_and_its_schema(world: World, trouble: Exception) -> None:
    world.register.trouble = trouble
    world.tick()
    world.tick(0.6)
    world.register.trouble = None
    world.tick(0.6)

    assert world.misfits == ([trouble] * 2 if isinstance(trouble, SchemaBehind) else [])
    assert world.away == [True, False]


def test_unexpected_trouble_does_not_end_the_life(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.desk.trouble = RuntimeError('a bug')
    world.tick()
    world.desk.trouble = None
    world.tick(0.2)

    assert world.away == [True, False]
    assert 'in the life of this worker' in caplog.text


def test_thread_ends_the_life(world: World) -> None:
    world.life.tick()
    world.take('hanging')
    world.tick(2)
    world.life.start()
    world.life.stop(5)

    assert world.register.calls[-1] == ('end',)
    assert world.rows.held == []  # what it leaves is nobody's


def test_change_of_capacity_is_said_without_waiting_for_the_next_round(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr('wazo_webhookd.attempts.lives.TICK_SECONDS', 60.0)
    said = threading.Event()
    renew = world.register.renew
    monkeypatch.setattr(world.register, 'renew', lambda *capacity: (renew(*capacity), said.set())[0])
    world.life.tick()
    world.life.start()
    world.capacity = (9, 0)
    world.life.look()
    heard = said.wait(5)
    world.life.stop(5)

    assert heard
    assert ('renew', 9, 0) in world.register.calls


class Switchable:
    def __init__(self) -> None:
        self.said: list[bool] = []
        self.contact = Contact(self.said.append)
        self.parties = [self.contact.of('recorder'), self.contact.of('life')]


def test_contact_is_there_when_nobody_complains() -> None:
    switch = Switchable()
    recorder, life = switch.parties
    steps: list[Callable[[], None]] = [recorder.lost, life.lost, recorder.found, recorder.found, life.found, life.found]
    for step in steps:
        step()

    assert switch.said == [True, False]


def test_database_away_is_told_once_and_so_is_its_return(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """A worker with a wrong db_uri waited without a word."""
    caplog.set_level('INFO')
    world.register.trouble = DatabaseUnavailable('database "x" does not exist')
    for _ in range(3):
        world.tick(1)
    world.register.trouble = None
    world.tick(1)
    world.register.trouble = DatabaseUnavailable('connection lost')
    for _ in range(3):
        world.tick(5)
    world.register.trouble = None
    world.tick(5)

    assert caplog.messages == [
        'waiting for the database: database "x" does not exist',
        'the database is back',
        'the database is away: connection lost',
        'the database is back',
    ]


def test_database_that_renews_but_does_not_hold_is_still_away(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level('INFO')
    world.tick()
    world.take('slow')
    world.rows.away = True
    for _ in range(4):
        world.tick(5)

    assert [line.partition(':')[0] for line in caplog.messages] == ['the database is away']
