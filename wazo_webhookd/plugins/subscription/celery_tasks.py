"""The task under whose name deliveries of the run contract travel (kept for guests: module, name and arguments)."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Final

from celery.exceptions import Reject

from wazo_webhookd.celery import HOOK_RUNNER, app
from wazo_webhookd.exceptions import DatabaseUnavailable

AGAIN_SECONDS: Final = 2.0


@app.task(bind=True, name=HOOK_RUNNER)  # type: ignore[untyped-decorator]  # Celery has no types
def hook_runner_task(
    self: Any, hook_uuid: str, ep_name: str, config: Any, subscription: Mapping[str, Any], event: Mapping[str, Any]
) -> None:
    """What a message without our header means: one of yesterday's program, or of a guest that calls this task.

    It becomes a delivery like any other (a row, which the admitter sends as such): nothing is lost by an upgrade, and
    its attempts go on where they were. ``config`` is not used: it was the whole configuration, secrets included.
    """
    try:
        self.app.runtime.adopt(hook_uuid, subscription, event, self.request.retries + 1)
    except DatabaseUnavailable as error:
        time.sleep(AGAIN_SECONDS)
        raise Reject(str(error), requeue=True) from error
