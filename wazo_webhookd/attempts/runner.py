"""One attempt: call the service, and say what came of it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from random import random
from typing import Any, Final, Protocol

from celery.app.task import Context
from celery.exceptions import Ignore, Retry

from wazo_webhookd.celery import HOOK_RUNNER
from wazo_webhookd.domain import detail as details
from wazo_webhookd.domain.delivery import TICKET_HEADER, Ticket, Verdict
from wazo_webhookd.domain.outcome import Blame, HookExpectedError, HookRetry
from wazo_webhookd.domain.retry import Schedule

from .parcel import BadParcel, Parcel

logger = logging.getLogger(__name__)

_VERDICTS: Final[dict[Blame | None, Verdict]] = {'endpoint': 'silent', 'subscription': 'refused', None: 'crashed'}


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an attempt ended. ``status``: success, failure (again after ``wait`` seconds) or error."""

    status: str
    detail: dict[str, Any]
    verdict: Verdict
    wait: float | None = None
    rest: float | None = None


class ServiceBook(Protocol):
    """The services of this process (services.loader.Services)."""

    def runner(self, name: str) -> Callable[[Any, Any, Any, Any], Any] | None: ...
    def why_not(self, name: str) -> str: ...


def succeeded(value: Any) -> Outcome:
    return Outcome('success', details.of_success(value), 'success')


def failed(ticket: Ticket, error: BaseException, schedule: Schedule, chance: float) -> Outcome:
    """The table of the reference (delivery, 4.2). ``chance``: between 0 and 1, for the jitter."""
    if isinstance(error, Retry) and not isinstance(error, HookRetry):
        error = DeliveryRetry({'error': str(error.exc or error)}, seconds_until(None, error.when), error.exc)
    if isinstance(error, HookRetry):
        detail, verdict = details.of_failure(error.detail), _VERDICTS.get(error.blame, 'crashed')
        if ticket.attempt >= ticket.max_attempts:
            return Outcome('error', detail, verdict, rest=error.rest)
        wait = schedule.wait_after_failure(ticket.attempt, chance, delay=error.delay, rest=error.rest)
        return Outcome('failure', detail, verdict, wait, error.rest)
    if isinstance(error, HookExpectedError):
        return Outcome('error', details.of_failure(error.detail), _VERDICTS.get(error.blame, 'crashed'))
    return Outcome('error', details.of_exception(error), 'crashed')


def overdue(ticket: Ticket, seconds: float, schedule: Schedule, chance: float) -> Outcome:
    """The outcome of an attempt whose service did not return in time."""
    sentence = f'The service {ticket.service!r} did not return within {seconds:g} seconds; its attempt was given up.'
    return failed(ticket, HookRetry({'error': sentence}, blame='endpoint'), schedule, chance)


class Runner:
    """Runs attempts in the calling thread; one for all threads of a process."""

    def __init__(
        self,
        app: Any,
        services: ServiceBook,
        guest_config: Mapping[str, Any],
        schedule: Schedule,
        chance: Callable[[], float] = random,
    ) -> None:
        self._app = app
        self._services = services
        self._config = guest_config
        self.schedule = schedule
        self._chance = chance

    def run(self, ticket: Ticket, task_name: str, parcel: Parcel) -> Outcome:
        """Never raises: a guest's ``sys.exit()`` is a failure like any other."""
        try:
            return succeeded(self._deliver(ticket, task_name, parcel))
        except Ignore:
            return succeeded(None)
        except BaseException as error:
            outcome = failed(ticket, error, self.schedule, self._chance())
            if not isinstance(error, (HookRetry, HookExpectedError, Retry)):
                logger.info(
                    'service %s raised %s in delivery %s',
                    ticket.service, type(error).__name__, ticket.delivery, exc_info=logger.isEnabledFor(logging.DEBUG),
                )  # fmt: skip
            return outcome

    def unreadable(self, ticket: Ticket, error: BadParcel) -> Outcome:
        return failed(ticket, HookExpectedError({'error': str(error)}), self.schedule, 0.5)

    def overdue(self, ticket: Ticket, seconds: float) -> Outcome:
        return overdue(ticket, seconds, self.schedule, self._chance())

    def _deliver(self, ticket: Ticket, task_name: str, parcel: Parcel) -> Any:
        if not isinstance(parcel.event, Mapping) or not isinstance(parcel.subscription, Mapping):
            raise HookExpectedError({'error': 'The event is not an object.'})
        task = self._app.tasks.get(task_name)
        if task_name == HOOK_RUNNER:
            # An empty entry point says that the daemon has no such service, whatever this worker has.
            run = self._services.runner(ticket.service) if parcel.args[1] else None
            if run is None or task is None:
                raise HookExpectedError({'error': self._services.why_not(ticket.service)})
            with _request(task, ticket, parcel):
                return run(task, self._config, parcel.subscription, parcel.event)
        if task is None:
            raise HookExpectedError({'error': self._services.why_not(ticket.service)})
        with _request(task, ticket, parcel):
            return task.run(*parcel.args)


class _request:  # reads as what it does: `with _request(…)`
    """While it is entered, the task's ``request`` is that of this delivery, as a guest's task expects."""

    __slots__ = ('_context', '_task')

    def __init__(self, task: Any, ticket: Ticket, parcel: Parcel) -> None:
        self._task = task
        self._context = Context(
            {
                'id': ticket.delivery,
                'task': task.name,
                'args': parcel.args,
                'kwargs': {},
                'retries': ticket.attempt - 1,
                TICKET_HEADER: ticket,
                'called_directly': False,
                'is_eager': False,
                'root_id': ticket.delivery,
                'correlation_id': ticket.delivery,
            }
        )

    def __enter__(self) -> None:
        self._task.request_stack.push(self._context)

    def __exit__(self, *exception: object) -> None:
        self._task.request_stack.pop()


def seconds_until(countdown: float | None, eta: Any) -> float | None:
    """The delay that a guest's ``self.retry(countdown=…, eta=…)`` asks for; None when it does not say."""
    if countdown is None and isinstance(eta, (int, float)):
        countdown = eta
    if countdown is not None:
        return max(float(countdown), 0.0)
    if not isinstance(eta, datetime):
        return None
    return max(eta.timestamp() - time.time(), 0.0)


class DeliveryRetry(HookRetry, Retry):  # type: ignore[misc]  # Celery has no types
    """A guest's ``self.retry()`` inside a delivery: HookRetry for us, Celery's Retry for ``except Retry`` of guests."""

    def __init__(self, detail: Any, delay: float | None, exc: BaseException | None) -> None:
        HookRetry.__init__(self, detail, delay)
        self.exc = exc
        self.when = delay
        self.message = None

    def __str__(self) -> str:
        return f'retry in {self.delay} s' if self.delay is not None else 'retry'
