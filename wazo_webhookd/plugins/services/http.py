"""``/subscriptions/services``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

from ...auth import required_acl
from ...rest_api import AuthResource


class ServiceManager(Protocol):
    def names(self) -> Iterable[str]:
        """The services that are enabled and loaded."""


class ServicesResource(AuthResource):
    def __init__(self, manager: ServiceManager | None) -> None:
        self._manager = manager

    @required_acl('webhookd.subscriptions.services.read')
    def get(self) -> tuple[dict[str, Any], int]:
        names = self._manager.names() if self._manager is not None else ()
        return {'services': {name: {} for name in names}}, 200
