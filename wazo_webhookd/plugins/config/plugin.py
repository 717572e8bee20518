"""Adds ``/config``."""

from __future__ import annotations

from typing import Any

from .http import ConfigResource
from .service import ConfigService


class Plugin:
    def load(self, dependencies: dict[str, Any]) -> None:
        service = ConfigService(dependencies['house'].config)
        dependencies['api'].add_resource(ConfigResource, '/config', resource_class_args=[service])
