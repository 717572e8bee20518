"""Knows which tenant is the master tenant.

Confirmed in this run (named by the configuration, or by a service token), or remembered from an
earlier one: matching and plugins that create subscriptions go by what is remembered, while
``/config`` and ``/status`` only believe what is confirmed.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, MutableMapping
from typing import Any

from .errors import MasterTenantNotInitialized

logger = logging.getLogger(__name__)

Observer = Callable[[str], object]


class MasterTenant:
    def __init__(self, pinned: str | None = None, remembered: str | None = None) -> None:
        """``pinned``: from the configuration, nothing overrides it."""
        self._pinned = pinned
        self._confirmed = pinned
        self._remembered = remembered
        self._observers: list[Observer] = []
        self._lock = threading.Lock()

    @property
    def confirmed(self) -> str | None:
        return self._confirmed

    @property
    def best_known(self) -> str | None:
        return self._confirmed or self._remembered

    def require(self) -> str:
        """The confirmed one. Raises MasterTenantNotInitialized."""
        if self._confirmed is None:
            raise MasterTenantNotInitialized
        return self._confirmed

    def subscribe(self, observer: Observer) -> None:
        """Call ``observer(uuid)`` at every change of the best known, and now if one is known."""
        with self._lock:
            self._observers.append(observer)
            known = self.best_known
        if known is not None:
            _tell(observer, known)

    def remember(self, uuid: str | None) -> None:
        """What the database remembers, once it can be read. A confirmed one stays."""
        self._change(lambda: setattr(self, '_remembered', uuid))

    def confirm(self, uuid: str) -> None:
        """A service token says so. A pinned one stays."""
        if self._pinned is None:
            self._change(lambda: setattr(self, '_confirmed', uuid))

    def on_token(self, details: MutableMapping[str, Any]) -> None:
        """Read it off a new service token."""
        uuid = (details.get('metadata') or {}).get('tenant_uuid')
        if isinstance(uuid, str) and uuid:
            self.confirm(uuid)
        else:
            logger.warning('The service token names no tenant: the master tenant stays as it is')

    def provide_status(self, status: MutableMapping[str, Any]) -> None:
        status['master_tenant']['status'] = 'ok' if self._confirmed else 'fail'

    def _change(self, change: Callable[[], object]) -> None:
        with self._lock:
            before = self.best_known
            change()
            after = self.best_known
            observers = list(self._observers)
        if after is not None and after != before:
            for observer in observers:
                _tell(observer, after)


def _tell(observer: Observer, uuid: str) -> None:
    try:
        observer(uuid)
    except Exception:
        logger.exception('An observer of the master tenant failed')
