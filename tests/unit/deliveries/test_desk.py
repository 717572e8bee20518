"""What intake and admitter share."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any
from uuid import RFC_4122, UUID

import pytest

from wazo_webhookd.deliveries import desk as module
from wazo_webhookd.deliveries.batch import next_sequence
from wazo_webhookd.deliveries.clock import DatabaseClock, Outage
from wazo_webhookd.deliveries.desk import Bodies, heard_lanes, say_lanes, say_resumed
from wazo_webhookd.domain.uuids import new_uuid


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    said: list[str] = []
    notify = lambda connection, channel, payload: said.append(payload)  # noqa: E731  # a stand-in of one line
    monkeypatch.setattr(module, 'admission_rows', SimpleNamespace(notify=notify))
    return said


def test_lanes_are_told_in_pieces_that_postgresql_takes(said: list[str]) -> None:
    lanes = [new_uuid() for _ in range(1000)]
    connection: Any = None
    say_lanes(connection, [*lanes, *lanes])

    assert all(len(piece) < 7500 for piece in said)
    assert [lane for piece in said for lane in heard_lanes(piece)[0]] == sorted(lanes)


def test_a_resume_is_told_too(said: list[str]) -> None:
    connection: Any = None
    say_resumed(connection, 'sub')

    assert heard_lanes(said[0]) == ([], ['sub'])


@pytest.mark.parametrize('payload', ['', '[]', '3', '{"wrote": 3}'])
def test_other_words_on_the_channel_are_refused(payload: str) -> None:
    with pytest.raises((ValueError, TypeError)):
        heard_lanes(payload)


def test_bodies_are_kept_up_to_a_size_the_oldest_going_first() -> None:
    bodies = Bodies(10)
    bodies.put('a', 'xxxx')
    bodies.put('b', 'xxxx')
    bodies.put('a', 'another')
    bodies.put('huge', 'x' * 11)
    assert (bodies.get('a'), bodies.get('b'), bodies.get('huge')) == ('xxxx', 'xxxx', None)

    bodies.put('c', 'xxxx')
    assert (bodies.get('a'), bodies.get('b'), bodies.get('c')) == (None, 'xxxx', 'xxxx')


def test_the_clock_goes_by_the_database() -> None:
    clock = DatabaseClock()
    clock.set(5000.0)

    assert clock.now() == pytest.approx(5000.0, abs=1)


def test_after_an_outage_there_is_a_time_of_quiet() -> None:
    outage = Outage(45.0)
    assert outage.over
    outage.began()
    assert outage.away
    outage.answered()
    assert not outage.away
    assert not outage.over
    outage.answered()  # does not end the quiet
    assert not outage.over
    outage.ended(44.0)
    assert not outage.over
    outage.ended(46.0)
    assert outage.over


def test_uuids_are_random_ones_of_version_4() -> None:
    uuids = {new_uuid() for _ in range(1000)}
    assert len(uuids) == 1000
    assert {UUID(uuid).version for uuid in uuids} == {4}
    assert {str(UUID(uuid)) for uuid in uuids} == uuids
    assert {UUID(uuid).variant for uuid in uuids} == {RFC_4122}


def test_sequences_grow_even_within_a_microsecond() -> None:
    numbers = [next_sequence() for _ in range(5000)]

    assert numbers == sorted(set(numbers))
