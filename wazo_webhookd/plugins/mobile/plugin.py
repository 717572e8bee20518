"""Adds ``/mobile/notifications``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .celery_tasks import queue_notification
from .http import NotificationResource


class Plugin:
    def load(self, dependencies: Mapping[str, Any]) -> None:
        dependencies['api'].add_resource(
            NotificationResource,
            '/mobile/notifications',
            resource_class_args=[dependencies['auth_client'], queue_notification],
        )
