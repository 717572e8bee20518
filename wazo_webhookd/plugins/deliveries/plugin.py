"""Adds the deliveries of a subscription, its health, and single deliveries."""

from __future__ import annotations

from typing import Any

from .http import DeliveriesResource, DeliveryResource, HealthResource, ResumeResource
from .service import HistoryService


class Plugin:
    def load(self, dependencies: dict[str, Any]) -> None:
        house = dependencies['house']
        history = HistoryService(house.database, house.catalog)
        for resource, path in (
            (DeliveriesResource, '/subscriptions/<subscription_uuid>/deliveries'),
            (HealthResource, '/subscriptions/<subscription_uuid>/health'),
            (ResumeResource, '/subscriptions/<subscription_uuid>/resume'),
            (DeliveryResource, '/deliveries/<delivery_uuid>'),
        ):
            dependencies['api'].add_resource(resource, path, resource_class_args=[house, history])
