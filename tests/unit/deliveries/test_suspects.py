"""Deliveries that were in workers that died go one at a time."""

from __future__ import annotations

import pytest

from wazo_webhookd.database.deliveries import Marked
from wazo_webhookd.database.returns import OutRow
from wazo_webhookd.deliveries.suspects import Suspects
from wazo_webhookd.domain.admission.rules import DEATHS


def row(uuid: str, deaths: int) -> OutRow:
    return OutRow(uuid, 'sub', 'tenant', 1, 2, deaths, 0.0, None, None, None)


def marked(uuid: str) -> Marked:
    return Marked(uuid, 'sub', 'event', 1, 2, 3, 0.0)


@pytest.fixture
def told() -> list[int]:
    return []


@pytest.fixture
def suspects(told: list[int]) -> Suspects:
    suspects = Suspects(told.append, standalone=False)
    suspects.runs = True
    return suspects


@pytest.mark.parametrize('deaths', range(DEATHS + 1))
def test_who_is_a_suspect(suspects: Suspects, deaths: int) -> None:
    suspects.came_back([row('a', deaths)], ['a'] if deaths == DEATHS else [])

    assert ('a' in suspects.waiting) == (2 <= deaths < DEATHS)


def test_one_goes_at_a_time_in_order(suspects: Suspects, told: list[int]) -> None:
    suspects.found([('a', 'sub'), ('b', 'sub')])
    suspects.tell()
    assert suspects.next(7) == 'a'

    suspects.sent('a', marked('a'))
    assert suspects.next(7) is None
    assert suspects.ended('a')
    assert not suspects.ended('a')
    assert suspects.next(7) == 'b'
    suspects.sent('b', None)  # it did not wait any more
    suspects.tell()
    suspects.tell()
    assert told == [2, 0]


def test_nobody_goes_while_there_is_no_process_for_them(suspects: Suspects) -> None:
    suspects.runs = False
    suspects.found([('a', 'sub')])

    assert suspects.next(0) is None


def test_in_standalone_they_go_while_nothing_else_is_out(monkeypatch: pytest.MonkeyPatch) -> None:
    suspects = Suspects(lambda number: None, standalone=True)
    suspects.runs = True
    suspects.found([('a', 'sub')])
    assert suspects.next(1) is None
    assert not suspects.want_silence()

    monkeypatch.setattr('wazo_webhookd.deliveries.suspects.PATIENCE_SECONDS', -1.0)
    assert suspects.want_silence()
    assert suspects.next(0) == 'a'
    suspects.sent('a', marked('a'))
    assert suspects.want_silence()
    suspects.ended('a')
    assert not suspects.want_silence()


def test_the_rows_say_which_are_out(suspects: Suspects) -> None:
    suspects.found([('a', 'sub'), ('b', 'sub')])
    suspects.are_out([row('a', 2)])

    assert list(suspects.waiting) == ['b']
    suspects.found([('a', 'sub')])
    assert list(suspects.waiting) == ['b']
    suspects.came_back([row('a', 3)], [])
    assert list(suspects.waiting) == ['b', 'a']
