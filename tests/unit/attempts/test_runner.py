from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from celery import Celery
from celery.exceptions import Ignore, MaxRetriesExceededError, Retry

from tests.unit.attempts.doubles import ticket
from wazo_webhookd.attempts import runner as runners
from wazo_webhookd.attempts.parcel import Parcel
from wazo_webhookd.attempts.runner import Outcome, Runner, overdue
from wazo_webhookd.domain.outcome import HookExpectedError, HookRetry
from wazo_webhookd.domain.retry import Schedule

SUBSCRIPTION = {'uuid': 's1', 'config': {'time_sleep': 10}}
EVENT = {'name': 'user_created', 'data': {'uuid': 'u1'}}


class Services:
    def runner(self, name: str) -> Any:
        return None

    def why_not(self, name: str) -> str:
        return f'no {name}'


@pytest.fixture
def app() -> Iterator[Celery]:
    """An application of its own, with our tasks."""
    application = Celery('guests', task_cls='wazo_webhookd.attempts.task:HookTask', set_as_current=False)
    application.conf.update(broker_url='memory://')
    yield application
    application.close()


def attempt(app: Celery, task: Any, attempt: int = 1) -> Outcome:
    """Run a guest's task as a delivery."""
    runner = Runner(app, Services(), {}, Schedule((0.0, 5.0, 30.0)), lambda: 0.5)
    parcel = Parcel([SUBSCRIPTION, EVENT], SUBSCRIPTION, EVENT, '{}')
    return runner.run(ticket(service='example', attempt=attempt, send=attempt), task.name, parcel)


def test_documented_example_says_what_was_missing(app: Celery) -> None:
    @app.task(shared=False)
    def example_callback(subscription: Any, event: Any) -> None:
        subscription['config']['sleep_time']

    outcome = attempt(app, example_callback)

    assert (outcome.status, outcome.detail) == ('error', {'error': "missing key: 'sleep_time'"})


def test_task_gets_subscription_and_event_and_its_result_is_the_detail(app: Celery) -> None:
    @app.task(shared=False)
    def deliver(subscription: Any, event: Any) -> Any:
        return {'subscription': subscription, 'event': event}

    assert attempt(app, deliver).detail == {'subscription': SUBSCRIPTION, 'event': EVENT}


def test_bound_task_sees_its_request(app: Celery) -> None:
    @app.task(shared=False, bind=True)
    def deliver(self: Any, subscription: Any, event: Any) -> Any:
        request = self.request
        return {'id': request.id, 'retries': request.retries, 'direct': request.called_directly, 'name': self.name}

    seen = attempt(app, deliver, attempt=2).detail

    assert seen == {'id': 'd1', 'retries': 1, 'direct': False, 'name': deliver.name}
    assert deliver.request.id is None


def retrying(app: Celery, **options: Any) -> Any:
    """A task that asks for a retry in the way given."""

    @app.task(shared=False, bind=True, **options.pop('task', {}))
    def deliver(self: Any, subscription: Any, event: Any) -> Any:
        raise self.retry(**options)

    return deliver


@pytest.mark.parametrize(
    ('options', 'wait', 'error'),
    [
        ({'countdown': 7}, 7.0, 'the task asked for a retry'),
        ({'exc': ValueError('busy'), 'countdown': 0}, 0.0, 'busy'),
        ({'exc': ValueError('busy')}, 5.0, 'busy'),
        ({}, 5.0, 'the task asked for a retry'),
        ({'task': {'default_retry_delay': 12}}, 12.0, 'the task asked for a retry'),
        ({'countdown': 3, 'throw': False}, 3.0, 'the task asked for a retry'),
    ],
)
def test_self_retry_becomes_a_failure_with_that_delay(
    app: Celery, options: dict[str, Any], wait: float, error: str
) -> None:
    outcome = attempt(app, retrying(app, **options))

    assert (outcome.status, outcome.wait, outcome.detail) == ('failure', wait, {'error': error})


@pytest.mark.parametrize(('ahead', 'wait'), [(90, 90.0), (-90, 0.0)])
def test_self_retry_with_eta(app: Celery, monkeypatch: pytest.MonkeyPatch, ahead: float, wait: float) -> None:
    now = datetime(2026, 11, 24, tzinfo=UTC)
    monkeypatch.setattr(runners.time, 'time', now.timestamp)

    assert attempt(app, retrying(app, eta=now + timedelta(seconds=ahead))).wait == wait


def test_self_retry_ends_with_the_schedule(app: Celery) -> None:
    assert attempt(app, retrying(app, countdown=1), attempt=3).status == 'error'


@pytest.mark.parametrize(('attempts', 'status'), [(1, 'failure'), (2, 'error')])
def test_guests_own_max_retries_is_kept(app: Celery, attempts: int, status: str) -> None:
    task = retrying(app, task={'max_retries': 1}, exc=ValueError('busy'))

    assert attempt(app, task, attempt=attempts).status == status
    assert attempt(app, task, attempt=attempts).detail == {'error': 'busy'}


def test_retries_used_up_without_a_reason_say_so(app: Celery) -> None:
    outcome = attempt(app, retrying(app, max_retries=0))

    assert outcome.status == 'error'
    assert 'more than 0 times' in outcome.detail['error']


def test_celerys_default_of_three_retries_is_not_ours(app: Celery) -> None:
    task = retrying(app, countdown=1)

    assert task.max_retries == 3
    assert attempt(app, task, attempt=2).status == 'failure'


def test_autoretry_for_works_like_self_retry(app: Celery) -> None:
    @app.task(shared=False, autoretry_for=(ValueError,), retry_kwargs={'countdown': 4})
    def deliver(subscription: Any, event: Any) -> None:
        raise ValueError('busy')

    outcome = attempt(app, deliver)

    assert (outcome.status, outcome.wait, outcome.detail) == ('failure', 4.0, {'error': 'busy'})


def test_autoretry_for_everything_leaves_hook_exceptions_alone(app: Celery) -> None:
    @app.task(shared=False, bind=True, autoretry_for=(Exception,), retry_kwargs={'countdown': 4})
    def deliver(self: Any, subscription: Any, event: Any) -> None:
        raise HookExpectedError('for good') if self.request.retries else HookRetry('again', delay=9.0)

    assert (attempt(app, deliver).status, attempt(app, deliver).wait) == ('failure', 9.0)
    assert attempt(app, deliver, attempt=2).detail == {'error': 'for good'}


def test_retry_of_celery_raised_by_hand_is_understood(app: Celery) -> None:
    @app.task(shared=False)
    def deliver(subscription: Any, event: Any) -> None:
        raise Retry('later', exc=ValueError('busy'), when=6)

    outcome = attempt(app, deliver)

    assert (outcome.status, outcome.wait, outcome.detail) == ('failure', 6.0, {'error': 'busy'})


def test_ignore_is_a_success_without_a_detail(app: Celery) -> None:
    @app.task(shared=False)
    def deliver(subscription: Any, event: Any) -> None:
        raise Ignore

    assert attempt(app, deliver) == Outcome('success', {}, 'success')


def test_task_that_is_not_registered_is_an_error(app: Celery) -> None:
    class Unknown:
        name = 'guest.unknown'

    assert attempt(app, Unknown).detail == {'error': 'no example'}


def test_retry_outside_of_deliveries_is_celerys_own(app: Celery) -> None:
    @app.task(shared=False, bind=True)
    def plain(self: Any) -> Any:
        raise self.retry(exc=ValueError('busy'), countdown=1, max_retries=0)

    with pytest.raises(ValueError, match='busy'):
        plain.apply(throw=True)
    assert isinstance(MaxRetriesExceededError(), Exception)


def test_plain_task_runs_as_ever(app: Celery) -> None:
    @app.task(shared=False)
    def add(one: int, two: int) -> int:
        return one + two

    assert add(1, 2) == 3
    assert add.apply(args=(1, 2)).get() == 3


def test_overdue_attempt_says_how_long_it_was_given() -> None:
    outcome = overdue(ticket(service='slow'), 300.0, Schedule((0.0, 5.0, 30.0)), 0.5)

    assert (outcome.status, outcome.wait, outcome.verdict) == ('failure', 5.0, 'silent')
    assert outcome.detail['error'].startswith("The service 'slow' did not return within 300 seconds")
