"""Adds ``/events``."""

from __future__ import annotations

from typing import Any

from .http import EventsResource


class Plugin:
    def load(self, dependencies: dict[str, Any]) -> None:
        dependencies['api'].add_resource(EventsResource, '/events', resource_class_args=[dependencies['house']])
