"""Adds the API document and its page below ``/api``."""

from __future__ import annotations

from typing import Any

from .http import AssetResource, OpenAPIResource, PageResource, StartResource, SwaggerResource


class Plugin:
    def load(self, dependencies: dict[str, Any]) -> None:
        api = dependencies['api']
        api.add_resource(SwaggerResource, '/api/api.yml')
        api.add_resource(OpenAPIResource, '/api/openapi.json')
        api.add_resource(PageResource, '/api/', strict_slashes=False)
        api.add_resource(StartResource, '/api/start.js')
        api.add_resource(AssetResource, '/api/assets/<name>')
