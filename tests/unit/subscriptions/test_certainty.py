"""The catalog is believed for a second, by one question, and never beyond a doubt."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from typing import Any

import pytest

from wazo_webhookd.database import position
from wazo_webhookd.database.position import Position
from wazo_webhookd.domain.subscription import Subscription
from wazo_webhookd.exceptions import DatabaseUnavailable
from wazo_webhookd.subscriptions.catalog import Catalog
from wazo_webhookd.subscriptions.certainty import SECONDS, Certainty
from wazo_webhookd.subscriptions.feed import Change


class World:
    """A catalog at version 5 with one subscription, a clock that stands, and what the database would say."""

    def __init__(self) -> None:
        self.now = 100.0
        self.asked = 0
        self.position: Position | None = Position(5, others=False)
        self.meanwhile: Any = lambda: None
        self.catalog = Catalog()
        self.catalog.version = 4
        subscription = Subscription(
            's', 'n', 'http', ['a'], {}, 't', created_at=datetime(2026, 1, 1, tzinfo=UTC)
        )  # fmt: skip
        self.catalog.on_change(Change('created', 5, ('s',), (subscription,)))
        self.certainty = Certainty(self.catalog, None, 'life', clock=lambda: self.now)  # type: ignore[arg-type]

    def read(self, database: object, life: str) -> Position | None:
        self.asked += 1
        self.meanwhile()
        return self.position

    def is_certain(self) -> bool:
        return self.certainty.card('s') is not None


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    world = World()
    monkeypatch.setattr(position, 'read', world.read)
    return world


def test_one_question_is_enough_for_a_second(world: World) -> None:
    assert [world.is_certain() for _ in range(100)] == [True] * 100
    world.now += SECONDS - 0.001
    assert world.is_certain()
    assert world.asked == 1
    world.now += 0.001
    assert world.is_certain()
    assert world.asked == 2


def test_the_second_begins_before_the_question(world: World) -> None:
    def slow() -> None:
        world.now += SECONDS / 2

    world.meanwhile = slow
    assert world.is_certain()
    world.now += SECONDS / 2
    world.is_certain()

    assert world.asked == 2


@pytest.mark.parametrize('said', [None, Position(6, others=False), Position(4, others=False), Position(5, others=True)])
def test_the_database_is_asked_when_in_doubt(world: World, said: Position | None) -> None:
    world.position = said

    assert not world.is_certain()
    assert not world.is_certain()
    assert world.asked == 2


def test_what_is_not_in_the_catalog_is_asked_of_the_database(world: World) -> None:
    assert world.certainty.card('unknown') is None


def test_a_change_ends_certainty_at_once(world: World) -> None:
    assert world.is_certain()
    world.certainty.doubt(Change('reload', 0))
    world.position = Position(6, others=False)

    assert not world.is_certain()


def test_a_change_while_the_question_travels_is_not_overlooked(world: World) -> None:
    world.meanwhile = world.certainty.doubt

    assert not world.is_certain()
    world.meanwhile = lambda: None
    assert world.is_certain()
    assert world.asked == 2


def test_nobody_waits_for_the_question_of_another(world: World) -> None:
    travels, arrived = threading.Event(), threading.Event()

    def slow() -> None:
        travels.set()
        assert arrived.wait(10)

    world.meanwhile = slow
    asking = threading.Thread(target=world.is_certain)
    asking.start()
    assert travels.wait(10)

    assert not world.is_certain()
    assert world.asked == 1
    arrived.set()
    asking.join(10)
    assert world.is_certain()
    assert world.asked == 1


def test_a_database_that_is_away_is_not_taken_for_an_answer(world: World) -> None:
    def away() -> None:
        raise DatabaseUnavailable('away')

    world.meanwhile = away
    for _ in range(2):
        with pytest.raises(DatabaseUnavailable):
            world.is_certain()
    world.meanwhile = lambda: None

    assert world.is_certain()
