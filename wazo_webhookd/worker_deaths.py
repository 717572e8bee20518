"""Ends the lives of the daemon's own workers that died: what they held can be given to others now."""

from __future__ import annotations

import logging
import socket
import threading

from wazo_webhookd.database import processes
from wazo_webhookd.database.session import Database
from wazo_webhookd.exceptions import DatabaseUnavailable

logger = logging.getLogger(__name__)


class WorkerDeaths:
    def __init__(self) -> None:
        self._database: Database | None = None

    def attach(self, database: Database) -> None:
        """Workers start before there is a database; one that dies earlier has held nothing."""
        self._database = database

    def report(self, pid: int, code: int) -> None:
        """From the thread of the supervisor, which shall not wait for the database."""
        if self._database is not None:
            threading.Thread(target=_end_life, args=(self._database, pid), name='worker-death', daemon=True).start()


def _end_life(database: Database, pid: int) -> None:
    try:
        with database.transaction() as connection:
            processes.end_worker(connection, socket.gethostname(), pid)
            processes.tell_hands(connection)
    except DatabaseUnavailable:
        logger.debug('the end of worker %d is noticed by its silence', pid)
