"""Adds ``/egress/check``."""

from __future__ import annotations

from typing import Any

from .http import EgressCheckResource


class Plugin:
    def load(self, dependencies: dict[str, Any]) -> None:
        settings = dependencies['house'].config.egress
        dependencies['api'].add_resource(EgressCheckResource, '/egress/check', resource_class_args=[settings])
