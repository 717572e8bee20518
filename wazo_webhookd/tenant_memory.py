"""Keeps the master tenant in the database, for the start of the next run."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Protocol

from wazo_webhookd.auth.master_tenant import MasterTenant
from wazo_webhookd.database import facts
from wazo_webhookd.database.session import Database
from wazo_webhookd.exceptions import DatabaseUnavailable

logger = logging.getLogger(__name__)


class Ledger(Protocol):
    def remember_master_tenant(self, tenant_uuid: str) -> None: ...


class TenantMemory:
    """Writes down what this run learns, and knows from the start what an earlier one learnt."""

    def __init__(
        self,
        database: Database,
        ledger: Ledger,
        master_tenant: MasterTenant,
        later: Callable[[Callable[[], None]], object],
    ) -> None:
        """``later`` calls what it is given once the database answers."""
        self._database = database
        self._ledger = ledger
        self._master_tenant = master_tenant
        self._later = later

    def write_down(self, uuid: str) -> None:
        """Now, or once the database is there."""
        try:
            self._ledger.remember_master_tenant(uuid)
        except DatabaseUnavailable:
            logger.info('the master tenant is written down when the database is there')
            self._later(self.recall)

    def recall(self) -> None:
        """What an earlier run knew, or write down what this one knows better. Raises DatabaseUnavailable."""
        with self._database.reading() as connection:
            _, known = facts.get(connection, 'master_tenant')
        if self._master_tenant.confirmed is not None:
            self._ledger.remember_master_tenant(self._master_tenant.confirmed)
        elif known:
            self._master_tenant.remember(known)
