"""Adds ``/status``."""

from __future__ import annotations

from typing import Any

from .http import StatusResource


class Plugin:
    def load(self, dependencies: dict[str, Any]) -> None:
        aggregator = dependencies['status_aggregator']
        dependencies['api'].add_resource(StatusResource, '/status', resource_class_args=[aggregator])
