from __future__ import annotations

import threading
import types
from typing import Any

from wazo_webhookd.attempts.departure import Departure


class World:
    """A runtime whose hands end when the test says so."""

    def __init__(self, busy: int = 0, flushed: bool = True) -> None:
        self.calls: list[str] = []
        self.busy = busy
        self.idle = threading.Event()
        if not busy:
            self.idle.set()
        self.stopped = threading.Event()
        hands = types.SimpleNamespace(busy=busy, wait_idle=lambda timeout: self.idle.wait(min(timeout, 0.02)))
        desk = types.SimpleNamespace(hands=hands, leave=lambda: self.calls.append('leave'))
        front = types.SimpleNamespace(
            desk=desk,
            loop=types.SimpleNamespace(empty=True),
            switch=types.SimpleNamespace(set_on=lambda on: self.calls.append(f'switch {on}')),
        )
        recorder = types.SimpleNamespace(
            flush=lambda timeout: self.calls.append('flush') or flushed, stop=lambda timeout: self.calls.append('stop')
        )
        keeper = types.SimpleNamespace(stop=lambda: self.calls.append('life ends'))
        runtime: Any = types.SimpleNamespace(front=front, recorder=recorder, keeper=keeper)
        self.departure = Departure(runtime, self.stopped.set, grace=30.0)


def test_everything_is_recorded_before_the_life_ends() -> None:
    world = World()
    world.departure.begin(0)

    assert world.departure.wait(5) == 0
    assert world.stopped.wait(5)
    assert world.calls == ['switch False', 'leave', 'flush', 'life ends', 'stop']


def test_attempts_get_their_time() -> None:
    world = World(busy=1)
    world.departure.begin(7)
    early = world.stopped.wait(0.1)
    world.idle.set()

    assert not early
    assert world.departure.wait(5) == 7


def test_grace_period_ends() -> None:
    world = World(busy=1)
    world.departure.begin(0, grace=0.05)

    assert world.stopped.wait(5)
    assert 'flush' in world.calls


def test_second_signal_cuts_it_short() -> None:
    world = World(busy=1)
    world.departure.begin(0, signal=True)
    early = world.stopped.wait(0.05)
    world.departure.begin(0, signal=True)

    assert not early
    assert world.stopped.wait(5)


def test_signal_to_a_worker_that_leaves_already_gives_it_the_usual_time() -> None:
    world = World(busy=1)
    world.departure.begin(75, grace=300)
    world.departure.begin(0, signal=True, grace=0.2)
    early = world.stopped.wait(0.05)

    assert not early
    assert world.departure.wait(5) == 75


def test_beginning_twice_for_another_reason_changes_nothing() -> None:
    world = World(busy=1)
    world.departure.begin(75)
    world.departure.begin(0)
    early = world.stopped.wait(0.05)
    world.idle.set()

    assert not early
    assert world.departure.wait(5) == 75
    assert world.calls.count('leave') == 1


def test_database_that_stays_away_does_not_keep_the_process() -> None:
    world = World(flushed=False)

    assert world.departure.wait(5) == 0
    assert world.calls[-1] == 'stop'
