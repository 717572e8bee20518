"""Adds ``/subscriptions`` and ``/users/me/subscriptions``."""

from __future__ import annotations

from typing import Any

from ...subscriptions.service import build_subscription_service
from .http import (
    SubscriptionLogsResource,
    SubscriptionResource,
    SubscriptionsResource,
    UserSubscriptionResource,
    UserSubscriptionsResource,
)


class Plugin:
    def load(self, dependencies: dict[str, Any]) -> None:
        house = dependencies.get('house')
        service = build_subscription_service(dependencies) if house is None else house.service
        for resource, path in (
            (SubscriptionsResource, '/subscriptions'),
            (SubscriptionResource, '/subscriptions/<subscription_uuid>'),
            (SubscriptionLogsResource, '/subscriptions/<subscription_uuid>/logs'),
            (UserSubscriptionsResource, '/users/me/subscriptions'),
            (UserSubscriptionResource, '/users/me/subscriptions/<subscription_uuid>'),
        ):
            dependencies['api'].add_resource(resource, path, resource_class_args=[service])
