"""Keeps the master tenant in the database, so that the next start knows it before the first token."""

from __future__ import annotations

import logging
import threading
from typing import Final

from ..database import facts
from ..database.session import Database
from ..exceptions import DatabaseUnavailable
from .master_tenant import MasterTenant

logger = logging.getLogger(__name__)

FACT: Final = 'master_tenant'


class MasterTenantMemory:
    def __init__(self, database: Database, master_tenant: MasterTenant) -> None:
        self._database = database
        self._master_tenant = master_tenant
        self._stored: str | None = None
        self._loaded = False
        self._lock = threading.Lock()

    def load(self) -> None:
        """Read it, then keep it up to date from here on. Raises DatabaseUnavailable."""
        with self._database.reading() as connection:
            _, stored = facts.get(connection, FACT)
        with self._lock:
            self._stored, first = stored, not self._loaded
            self._loaded = True
        self._master_tenant.remember(stored)
        if first:
            self._master_tenant.subscribe(lambda _uuid: self.save())

    def save(self) -> None:
        """Store what is confirmed, if it differs; when the database is away, the next call does it."""
        with self._lock:
            confirmed = self._master_tenant.confirmed
            if not self._loaded or confirmed is None or confirmed == self._stored:
                return
            try:
                with self._database.transaction() as connection:
                    facts.put(connection, FACT, confirmed)
                self._stored = confirmed
            except DatabaseUnavailable as error:
                logger.info('The master tenant could not be stored yet: %s', error)


def stored_or_new(database: Database, name: str, new: str) -> str:
    """The text of a fact, which becomes ``new`` where there is none (standalone's tenant and user)."""
    with database.transaction() as connection:
        _, stored = facts.get(connection, name)
        if stored is None:
            facts.put(connection, name, new)
        return stored or new
