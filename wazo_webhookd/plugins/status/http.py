"""``/status``."""

from __future__ import annotations

from typing import Any

from ...auth import required_acl
from ...rest_api import AuthResource
from ...status import StatusAggregator


class StatusResource(AuthResource):
    def __init__(self, aggregator: StatusAggregator) -> None:
        self._aggregator = aggregator

    @required_acl('webhookd.status.read')
    def get(self) -> tuple[dict[str, Any], int]:
        return self._aggregator.status(), 200
