"""``/config``, for the master tenant only."""

from __future__ import annotations

from typing import Any

from ...auth import required_acl, required_master_tenant
from ...rest_api import AuthResource, json_body
from .schema import config_patch
from .service import ConfigService


class ConfigResource(AuthResource):
    def __init__(self, service: ConfigService) -> None:
        self._service = service

    @required_master_tenant
    @required_acl('webhookd.config.read')
    def get(self) -> tuple[dict[str, Any], int]:
        return self._service.show(), 200

    @required_master_tenant
    @required_acl('webhookd.config.update')
    def patch(self) -> tuple[dict[str, Any], int]:
        for operation in config_patch.load(json_body(any_content_type=True)):
            self._service.set_debug(operation['value'])
        return self._service.show(), 200
