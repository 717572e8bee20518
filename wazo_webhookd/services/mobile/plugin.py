"""The ``mobile`` service: an event becomes a push notification for the user of the subscription."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from ...exceptions import DatabaseUnavailable
from ...subscriptions.service import SubscriptionService
from ..helpers import HookExpectedError
from . import notification
from .push import push
from .subscriptions import MobileSubscriptions

logger = logging.getLogger(__name__)

ADDED: Final = 'auth_user_external_auth_added'
UPDATED: Final = 'auth_user_external_auth_updated'
DELETED: Final = 'auth_user_external_auth_deleted'

AGAIN_SECONDS: Final = 2.0


class Service:
    """Loaded in the daemon, where it keeps the subscriptions of mobile users; ``run`` is called in workers."""

    def load(self, dependencies: Mapping[str, Any]) -> None:
        subscriptions = MobileSubscriptions(SubscriptionService(dependencies['config']))
        bus = dependencies['bus_consumer']
        bus.subscribe_internal(ADDED, subscriptions.on_mobile_account)
        bus.subscribe_internal(UPDATED, subscriptions.on_mobile_account)
        bus.subscribe_internal(DELETED, subscriptions.on_mobile_account_gone)
        threading.Thread(target=_complete, args=(subscriptions,), name='mobile-complete', daemon=True).start()

    @classmethod
    def run(
        cls, task: Any, config: Mapping[str, Any], subscription: Mapping[str, Any], event: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Returns the detail to remember; raises HookRetry or HookExpectedError."""
        user_uuid = subscription.get('events_user_uuid')
        if not user_uuid:
            raise HookExpectedError({'error': 'the subscription has no events_user_uuid, so there is nobody to notify'})
        try:
            wanted = notification.of_event(event, user_uuid, datetime.now(UTC))
        except notification.Skipped as reason:
            return {'skipped': str(reason)}
        except notification.Incomplete as reason:
            raise HookExpectedError({'error': str(reason)}) from reason
        return push.send(config, user_uuid, wanted, task.app.runtime.http)


def _complete(subscriptions: MobileSubscriptions) -> None:
    """Once per start, when the database is there."""
    pause = threading.Event()
    while True:
        try:
            subscriptions.complete_all()
            return
        except DatabaseUnavailable:
            pause.wait(AGAIN_SECONDS)
        except Exception:
            logger.exception('the events of mobile subscriptions could not be completed')
            return
