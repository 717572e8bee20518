"""Adds ``/subscriptions/services``."""

from __future__ import annotations

from typing import Any

from .http import ServicesResource


class Plugin:
    def load(self, dependencies: dict[str, Any]) -> None:
        manager = dependencies['service_manager']
        dependencies['api'].add_resource(ServicesResource, '/subscriptions/services', resource_class_args=[manager])
