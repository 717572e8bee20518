"""The task that sends what was asked for over REST; workers import this module for its side effect."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Final

from ...celery import app
from ...services.helpers import HookExpectedError, HookRetry
from ...services.mobile.notification import of_request
from ...services.mobile.push import NoApplication, push

logger = logging.getLogger(__name__)

NAME: Final = 'wazo_webhookd.plugins.mobile.celery_tasks.send_notification'
RETRIES: Final = 3
PUBLISH_POLICY: Final = {'max_retries': 2, 'interval_start': 0, 'interval_step': 0.2, 'interval_max': 0.5}


@app.task(bind=True, name=NAME, max_retries=RETRIES)  # type: ignore[untyped-decorator]  # Celery's are
def send_notification(task: Any, config: Any, notification: Mapping[str, Any]) -> bool:
    """``config`` is not used (kept for those who pass it): a worker has its own. False: the user has no application.

    Tried again at once, a few times, when wazo-auth or the push service cannot be reached.
    """
    user_uuid = notification['user_uuid']
    runtime = task.app.runtime
    try:
        detail = push.send(runtime.guest_config, user_uuid, of_request(notification), runtime.http)
    except NoApplication:
        logger.info('user %s has no mobile application to notify', user_uuid)
        return False
    except HookRetry as failure:
        if task.request.retries >= RETRIES:
            logger.warning('user %s could not be notified: %s', user_uuid, _short(failure.detail))
            return False
        raise task.retry(countdown=0) from failure
    except HookExpectedError as failure:
        logger.warning('user %s could not be notified: %s', user_uuid, _short(failure.detail))
        return False
    return bool(detail.get('success'))


def queue_notification(notification: Mapping[str, Any]) -> None:
    """Raises kombu's OperationalError or OSError when the broker is away."""
    send_notification.apply_async(
        args=[None, dict(notification)], argsrepr='(…)', retry=True, retry_policy=PUBLISH_POLICY
    )


def _short(detail: Any) -> str:
    error = detail.get('error') or detail.get('message') if isinstance(detail, Mapping) else detail
    return str(error)[:250]
