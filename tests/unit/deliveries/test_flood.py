"""While more comes in than is taken in, intake goes first; for a moment."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from wazo_webhookd.deliveries import intake as intakes
from wazo_webhookd.deliveries.desk import Desk
from wazo_webhookd.deliveries.ears import Ears
from wazo_webhookd.deliveries.intake import FLOOD_SECONDS, Intake


@pytest.fixture
def ears() -> Ears:
    nobody: Any = None
    return Ears(nobody, lambda: True, lambda: None, lambda: None)


class Watch:
    """A clock that the test sets."""

    now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Watch:
    watch = Watch()
    monkeypatch.setattr(intakes, 'time', watch)
    return watch


def test_a_flood_is_one_until_a_batch_has_room_again_but_not_for_long(watch: Watch) -> None:
    intake = Intake.__new__(Intake)
    desk = intake._desk = Desk.__new__(Desk)
    intake._flood_since = None

    def after(seconds: float, full: bool) -> bool:
        watch.now += seconds
        intake._see_flood(full)
        return desk.flooded

    assert not after(0.0, False)
    assert after(0.0, True)
    assert after(FLOOD_SECONDS - 0.1, True)
    assert not after(0.2, True)
    assert not after(60.0, True)
    assert not after(0.1, False)
    assert after(0.1, True)


def test_who_is_asked_to_be_quiet_sleeps_though_something_is_said(ears: Ears) -> None:
    until = time.monotonic() + 0.2
    ears.wake()

    assert ears.wait(0.0, 0.0, lambda: until)
    assert time.monotonic() >= until


def test_quiet_ends_when_its_reason_does(ears: Ears) -> None:
    quiet: list[float] = [time.monotonic() + 60]
    ended = threading.Thread(target=lambda: (quiet.clear(), ears.wake()))
    ended.start()

    assert ears.wait(60.0, 0.0, lambda: quiet[0] if quiet else None)
    ended.join()


def test_quiet_ends_with_the_program(ears: Ears) -> None:
    ears.end()

    assert not ears.wait(60.0, 0.0, lambda: time.monotonic() + 60)
