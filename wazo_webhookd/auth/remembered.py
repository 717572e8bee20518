"""Keeps the master tenant in the database, so that the next start knows it before the first token."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Final

from ..database import facts
from ..database.session import Database
from ..exceptions import DatabaseUnavailable
from .master_tenant import MasterTenant

logger = logging.getLogger(__name__)

FACT: Final = 'master_tenant'


class MasterTenantMemory:
    """``keep(uuid)`` stores a confirmed master tenant, and what waited for it; it may raise DatabaseUnavailable."""

    def __init__(self, database: Database, master_tenant: MasterTenant, keep: Callable[[str], object]) -> None:
        self._database = database
        self._master_tenant = master_tenant
        self._keep = keep
        self._kept: str | None = None
        self._loaded = False
        self._lock = threading.Lock()

    def load(self) -> None:
        """Read what was stored, then store what is confirmed from here on. Raises DatabaseUnavailable."""
        with self._database.reading() as connection:
            _, stored = facts.get(connection, FACT)
        self._master_tenant.remember(stored)
        with self._lock:
            first, self._loaded = not self._loaded, True
        if first:
            self._master_tenant.subscribe(lambda _uuid: self.save())
        self.save()

    def save(self) -> None:
        """Store what is confirmed, once; when the database is away, the next call does it."""
        with self._lock:
            confirmed = self._master_tenant.confirmed
            if not self._loaded or confirmed is None or confirmed == self._kept:
                return
            try:
                self._keep(confirmed)
                self._kept = confirmed
            except DatabaseUnavailable as error:
                logger.info('The master tenant could not be stored yet: %s', error)


def stored_or_new(database: Database, name: str, new: str) -> str:
    """The text of a fact, which becomes ``new`` where there is none (standalone's tenant and user)."""
    with database.transaction() as connection:
        _, stored = facts.get(connection, name)
        if stored is None:
            facts.put(connection, name, new)
        return stored or new
