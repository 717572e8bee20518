"""The base class of every task of the application: deliveries become attempts, all else are plain Celery tasks."""

from __future__ import annotations

from datetime import datetime
from typing import Any, NoReturn

from celery import Task
from celery.exceptions import MaxRetriesExceededError

from wazo_webhookd.domain.delivery import TICKET_HEADER
from wazo_webhookd.domain.outcome import HookExpectedError, HookRetry

from .parcel import BadParcel, parcel_of, ticket_of
from .runner import DeliveryRetry, seconds_until


class HookTask(Task):  # type: ignore[misc]  # Celery has no types
    """In a process with hands the desk runs deliveries; here they arrive in processes of the prefork pool only."""

    abstract = True

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        request = self.request
        if request.called_directly or getattr(request, TICKET_HEADER, None) is None:
            return super().__call__(*args, **kwargs) if request.called_directly else self.run(*args, **kwargs)
        return self._deliver(args)

    def retry(
        self,
        args: Any = None,
        kwargs: Any = None,
        exc: BaseException | None = None,
        throw: bool = True,
        eta: datetime | None = None,
        countdown: float | None = None,
        max_retries: int | None = None,
        **options: Any,
    ) -> Any:
        """Inside a delivery: the attempt fails and the next one is a row that falls due (no countdown of Celery's).

        ``args`` and ``kwargs`` are not changed by it then. Elsewhere: Celery's own retry.
        """
        if getattr(self.request, TICKET_HEADER, None) is None:
            return super().retry(args, kwargs, exc, throw, eta, countdown, max_retries, **options)
        if isinstance(exc, (HookRetry, HookExpectedError)):
            raise exc
        own = type(self).__dict__.get('max_retries', _UNSET)
        limit = max_retries if max_retries is not None else own
        if limit is not _UNSET and limit is not None and self.request.retries >= limit:
            _give_up(self.name, limit, exc)
        detail = (
            {'error': str(exc) or type(exc).__name__} if exc is not None else {'error': 'the task asked for a retry'}
        )
        if countdown is None and eta is None and 'default_retry_delay' in type(self).__dict__:
            countdown = self.default_retry_delay
        retry = DeliveryRetry(detail, seconds_until(countdown, eta), exc)
        if throw:
            raise retry from exc
        return retry

    def _deliver(self, args: Any) -> None:
        request = self.request
        header = getattr(request, TICKET_HEADER)
        try:
            ticket = ticket_of({TICKET_HEADER: header})
            parcel = parcel_of(args)
        except BadParcel:
            return
        if ticket is not None:
            redelivered = bool((request.delivery_info or {}).get('redelivered'))
            self.app.runtime.solo.deliver(ticket, self.name, parcel, redelivered)


_UNSET: Any = object()


def _give_up(name: str, limit: int, exc: BaseException | None) -> NoReturn:
    if exc is not None:
        raise exc
    raise MaxRetriesExceededError(f'{name} asked for a retry more than {limit} times')
