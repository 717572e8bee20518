from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wazo_webhookd.domain.retry import LONGEST_REST, LONGEST_WAIT, Schedule, retry_after

NOW = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)
DEFAULT = (0, 5, 30, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400)


@dataclass(frozen=True)
class Config:
    hook_retry_schedule: tuple[float, ...] = DEFAULT
    hook_retry_jitter: float = 0.2
    hook_max_attempts: int | None = None
    hook_http_retry_countdown_factor: float | None = None


def test_default_schedule_is_eleven_attempts_over_a_weekend() -> None:
    schedule = Schedule.from_config(Config())

    assert schedule.max_attempts == 11
    assert [schedule.wait_before(attempt, 0.5) for attempt in range(1, 12)] == list(DEFAULT)
    assert 75 < sum(schedule.waits) / 3600 < 77


@pytest.mark.parametrize(('random', 'factor'), [(0.0, 0.8), (0.5, 1.0), (1.0, 1.2)])
def test_jitter_is_a_share_of_the_wait(random: float, factor: float) -> None:
    schedule = Schedule.from_config(Config())

    assert schedule.wait_before(4, random) == pytest.approx(300 * factor)
    assert schedule.wait_before(1, random) == 0


@pytest.mark.parametrize(
    ('attempts', 'factor', 'waits'),
    [
        (10, None, [0, 1, 2, 4, 8, 16, 32, 64, 128, 256]),  # reference, delivery 4.2
        (None, 2.0, [0, 1, 2, 4, 8, 16, 32, 64, 128, 256]),
        (5, 1.0, [0, 1, 1, 1, 1]),
        (1, None, [0]),
        (2, None, [0, 1]),
        (4, 1.5, [0, 1, 1, 2]),
        (3, 0.0, [0, 1, 0]),
    ],
)
def test_old_keys_bring_back_the_formula(attempts: int | None, factor: float | None, waits: list[float]) -> None:
    schedule = Schedule.from_config(Config(hook_max_attempts=attempts, hook_http_retry_countdown_factor=factor))

    assert schedule.max_attempts == len(waits)
    assert [schedule.wait_before(attempt, 0.0) for attempt in range(1, len(waits) + 1)] == waits


def test_formula_ends_growing() -> None:
    schedule = Schedule.from_config(Config(hook_max_attempts=1000, hook_http_retry_countdown_factor=1000.0))

    assert schedule.wait_before(1000, 0.5) == LONGEST_WAIT


def test_attempt_beyond_a_shortened_schedule_waits_as_the_last() -> None:
    schedule = Schedule((0.0, 5.0, 30.0))

    assert schedule.wait_before(9, 0.5) == 30.0


@pytest.mark.parametrize(
    ('delay', 'rest', 'wait'),
    [
        (None, None, 5.0),
        (None, 60.0, 60.0),
        (None, 1.0, 5.0),  # a receiver cannot use up its attempts by asking for less
        (None, 10**9, LONGEST_REST),
        (2.0, None, 2.0),  # a service's own wish is exact
        (0.0, None, 0.0),
        (-3.0, None, 0.0),
        (10**9, None, LONGEST_WAIT),
        (2.0, 60.0, 60.0),
    ],
)
def test_wait_after_a_failure(delay: float | None, rest: float | None, wait: float) -> None:
    assert Schedule((0.0, 5.0, 30.0)).wait_after_failure(1, 0.5, delay=delay, rest=rest) == wait


@pytest.mark.parametrize(
    ('text', 'seconds'),
    [
        ('120', 120.0),
        (' 0 ', 0.0),
        ('86401', LONGEST_REST),
        ('9' * 400, LONGEST_REST),
        ('Tue, 24 Nov 2026 08:01:30 GMT', 90.0),
        ('Tue, 24 Nov 2026 09:01:30 +0100', 90.0),
        ('Tue, 24 Nov 2026 07:00:00 GMT', 0.0),
        ('Wed, 25 Nov 2099 08:00:00 GMT', LONGEST_REST),
        ('Tuesday, 24-Nov-26 08:00:10 GMT', 10.0),
        ('Tue Nov 24 08:00:10 2026', 10.0),
        ('', None),
        (None, None),
        ('-5', None),
        ('1.5', None),
        ('soon', None),
        ('١٢', None),
        ('Tue, 99 Nov 2026 08:00:00 GMT', None),
    ],
)
def test_retry_after(text: str | None, seconds: float | None) -> None:
    assert retry_after(text, NOW) == seconds


def test_retry_after_is_taken_relative_to_any_time_zone() -> None:
    now = NOW.astimezone(timezone(timedelta(hours=-5)))

    assert retry_after('Tue, 24 Nov 2026 08:00:30 GMT', now) == 30.0


@given(st.text(max_size=60))
def test_no_header_breaks_it(text: str) -> None:
    seconds = retry_after(text, NOW)

    assert seconds is None or 0 <= seconds <= LONGEST_REST


@given(
    st.lists(st.floats(0, LONGEST_WAIT), min_size=1, max_size=20),
    st.floats(0, 1),
    st.integers(-5, 40),
    st.floats(0, 1),
)
def test_no_wait_is_negative_or_beyond_the_jitter(
    waits: list[float], jitter: float, attempt: int, random: float
) -> None:
    schedule = Schedule(tuple(waits), jitter)

    assert 0 <= schedule.wait_before(attempt, random) <= max(waits) * (1 + jitter) * (1 + 1e-9)
