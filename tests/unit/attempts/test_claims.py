from __future__ import annotations

import pytest

from tests.unit.attempts.doubles import START, Rows, Time, attempt, ticket
from wazo_webhookd.attempts.claims import WAIT_SECONDS, Claims, fresh
from wazo_webhookd.attempts.inhand import Attempt
from wazo_webhookd.domain.delivery import Word
from wazo_webhookd.exceptions import DatabaseUnavailable

NOW = START + 100


@pytest.mark.parametrize(
    ('case', 'of', 'redelivered', 'now', 'expected'),
    [
        ('first send, at once', ticket(), False, NOW + 0.01, True),
        ('first send, just young enough', ticket(), False, NOW + 29.9, True),
        ('first send, expired', ticket(), False, NOW + 30, False),
        ('handed out before', ticket(), True, NOW, False),
        ('second send', ticket(send=2), False, NOW, False),
        ('second attempt, each sent once', ticket(attempt=2, send=2), False, NOW, True),
        ('second attempt, sent again', ticket(attempt=2, send=3), False, NOW, False),
        ('clock of the daemon ahead', ticket(), False, NOW - 2, True),
    ],
)
def test_only_the_usual_case_asks_nobody(case: str, of: object, redelivered: bool, now: float, expected: bool) -> None:
    assert fresh(of, redelivered, now) is expected, case  # type: ignore[arg-type]


class Desk:
    def __init__(self) -> None:
        self.time, self.rows = Time(), Rows()
        self.started: list[Attempt] = []
        self.dropped: list[Attempt] = []
        self.told: list[Word] = []
        self.claims = Claims(
            self.rows, 'me', self.time.clock, self.started.append, self.dropped.append, self.told.extend
        )


def test_claim_waits_until_others_had_time_to_say_that_they_hold_it() -> None:
    desk = Desk()
    asking = attempt()
    desk.claims.ask(asking)
    desk.time.passes(WAIT_SECONDS - 0.1)
    desk.claims.serve()
    early = list(desk.started)
    desk.time.passes(0.1)
    desk.claims.serve()

    assert early == []
    assert desk.started == [asking]
    assert asking.claimed
    assert asking.held
    assert len(desk.claims) == 0


def test_refused_claim_is_dropped_and_told() -> None:
    desk = Desk()
    asking = attempt()
    desk.rows.refused.add(asking.send)
    desk.claims.ask(asking, 0)
    desk.claims.serve()

    assert (desk.started, desk.dropped) == ([], [asking])
    assert desk.told == [Word('d1', 1, 1, 'dropped', 0.0)]


def test_many_are_claimed_in_one_statement() -> None:
    desk = Desk()
    asking = [attempt(ticket(f'd{number}')) for number in range(5)]
    desk.rows.refused.add(asking[3].send)
    for one in asking:
        desk.claims.ask(one, 0)
    desk.claims.serve()

    assert len(desk.started) == 4
    assert desk.dropped == [asking[3]]


def test_everything_waits_on_while_the_database_is_away() -> None:
    desk = Desk()
    desk.claims.ask(attempt(), 0)
    desk.rows.away = True
    with pytest.raises(DatabaseUnavailable):
        desk.claims.serve()
    still = len(desk.claims)
    desk.rows.away = False
    desk.claims.serve()

    assert still == 1
    assert len(desk.started) == 1


def test_what_was_taken_away_is_not_started() -> None:
    desk = Desk()
    asking = attempt()
    desk.claims.ask(asking, 0)
    taken = desk.claims.take_all()
    desk.claims.serve()

    assert taken == [asking]
    assert desk.started == []
