"""Adds ``/config``."""

from __future__ import annotations

from typing import Any

from .http import ConfigResource
from .service import ConfigService


class Plugin:
    def load(self, dependencies: dict[str, Any]) -> None:
        house = dependencies['house']
        service = ConfigService(house.config, on_debug=house.on_debug)
        if house.reload is not None:
            house.reload.subscribe(service.reload)
        dependencies['api'].add_resource(ConfigResource, '/config', resource_class_args=[service])
