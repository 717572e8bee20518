"""Circuits: when an endpoint or a subscription rests, and when it is given up."""

from __future__ import annotations

import pytest

from wazo_webhookd.domain.admission import CLOSED, HALF_OPEN, OPEN, Health, Rules

RULES = Rules(open_after=3, rest=30, rest_max=100, disable_after=1000)


@pytest.fixture
def health() -> Health:
    return Health('sub:1', 'tenant')


def fail(health: Health, times: int, now: float = 0.0) -> None:
    for _ in range(times):
        health.failed(now, 'no answer', RULES)


def test_a_circuit_opens_after_so_many_failures_in_a_row(health: Health) -> None:
    fail(health, 2)
    assert health.circuit == CLOSED

    assert health.failed(5.0, 'no answer', RULES)

    assert (health.circuit, health.until, health.limit()) == (OPEN, 35.0, 0)
    assert health.since == 5.0
    assert health.reason == 'no answer, 3 times in a row'


def test_a_success_between_failures_starts_the_count_again(health: Health) -> None:
    fail(health, 2)
    health.succeeded(1.0)
    fail(health, 2)

    assert health.circuit == CLOSED


def test_after_the_rest_one_probe_may_go(health: Health) -> None:
    fail(health, 3)

    assert not health.wake(29.9)
    assert health.wake(30.0)
    assert (health.circuit, health.limit()) == (HALF_OPEN, 1)


def test_each_further_rest_is_twice_as_long_up_to_the_longest(health: Health) -> None:
    fail(health, 3)
    rests, now = [], 0.0
    for _ in range(4):
        assert health.until is not None
        rests.append(health.until - now)
        now = health.until
        health.wake(now)
        assert not health.failed(now, 'no answer', RULES)

    assert rests == [30, 60, 100, 100]


def test_failures_of_what_was_out_when_it_opened_change_nothing(health: Health) -> None:
    fail(health, 3)
    until = health.until
    fail(health, 5, now=10.0)

    assert health.until == until


@pytest.mark.parametrize('state', [OPEN, HALF_OPEN])
def test_an_answer_closes_the_circuit_and_forgets_the_long_rest(health: Health, state: str) -> None:
    fail(health, 3)
    if state == HALF_OPEN:
        health.wake(30.0)

    assert health.succeeded(31.0)

    assert (health.circuit, health.until, health.rest, health.reason, health.since) == (CLOSED, None, None, None, None)
    fail(health, 3, now=40.0)
    assert health.until == 70.0


def test_what_looks_again_does_not_say_that_it_rests(health: Health) -> None:
    health.pause(0.0, 600, 'asked', RULES)

    assert health.look_again()
    assert (health.limit(), health.until) == (1, None)
    assert not health.look_again()


def test_retry_after_pauses_even_a_closed_circuit(health: Health) -> None:
    assert health.pause(10.0, 50.0, 'asked', RULES)

    assert (health.circuit, health.until) == (OPEN, 60.0)


def test_retry_after_is_honoured_up_to_a_day(health: Health) -> None:
    health.pause(0.0, 10 * 86_400.0, 'asked', RULES)

    assert health.until == 86_400.0


def test_a_shorter_pause_does_not_shorten_a_rest(health: Health) -> None:
    fail(health, 3)
    health.pause(0.0, 1.0, 'asked', RULES)

    assert health.until == 30.0


def test_warnings_come_at_the_quarters_and_then_the_end(health: Health) -> None:
    said = []
    for now in range(0, 1101, 50):
        health.failed(float(now), 'no answer', RULES)
        said.append((now, health.doom(float(now), RULES)))

    assert [pair for pair in said if pair[1]] == [
        (250, 'disabling'),
        (500, 'disabling'),
        (750, 'disabling'),
        (1000, 'disabled'),
    ]
    assert health.limit() == 0
    assert health.reason == 'disabled after 0.0115741 days of nothing but failures'


def test_nobody_is_disabled_without_a_warning_however_seldom_deliveries_are(health: Health) -> None:
    health.failed(0.0, 'no answer', RULES)
    health.failed(5000.0, 'no answer', RULES)

    assert health.doom(5000.0, RULES) == 'disabling'
    health.failed(9000.0, 'no answer', RULES)
    assert health.doom(9000.0, RULES) == 'disabled'


def test_one_success_ends_the_road_to_the_end(health: Health) -> None:
    fail(health, 1)
    health.doom(600.0, RULES)
    health.succeeded(700.0)
    fail(health, 1, now=900.0)

    assert health.doom(1500.0, RULES) == 'disabling'
    assert health.failing_since == 900.0


def test_zero_days_means_never_disabled(health: Health) -> None:
    rules = Rules(disable_after=0)
    health.failed(0.0, 'no answer', rules)

    assert health.doom(1e9, rules) is None


def test_a_success_that_comes_late_does_not_end_a_disabling(health: Health) -> None:
    for now in (0.0, 800.0, 1000.0):
        health.failed(now, 'no answer', RULES)
        health.doom(now, RULES)
    assert health.disabled

    health.succeeded(1001.0)

    assert health.disabled
    assert health.reason is not None
    assert health.limit() == 0


def test_a_resume_forgets_everything(health: Health) -> None:
    fail(health, 3)
    health.disabled = True
    health.resume()

    assert health.limit() is None
    assert health.forgettable
