"""The daemon's own thread for what needs the database now and then: first contact, life, retention."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

from wazo_webhookd.database import processes, retention, schema
from wazo_webhookd.database.session import Database
from wazo_webhookd.exceptions import DatabaseUnavailable, SchemaBehind
from wazo_webhookd.subscriptions.feed import tell_of_a_daemon

logger = logging.getLogger(__name__)

RENEW_SECONDS = 5.0
RETRY_SECONDS = (0.2, 0.5, 1.0, 2.0)
SWEEP_SECONDS = 3600.0
FIRST_SWEEP_SECONDS = 60.0


class Housekeeper(threading.Thread):
    """Waits for the database, then keeps this daemon's life renewed and old rows away.

    ``on_contact`` are called once each, in order, when the database is there and its schema fits; one that
    raises DatabaseUnavailable is called again. ``do_later`` adds one at any time. ``on_misfit`` is called with the
    reason when the schema does not fit: the daemon ends.
    """

    def __init__(
        self,
        database: Database,
        life: str,
        retention_config: retention.RetentionConfig,
        *,
        on_contact: Sequence[Callable[[], None]],
        on_misfit: Callable[[SchemaBehind], None],
    ) -> None:
        super().__init__(name='housekeeper', daemon=True)
        self._database = database
        self._life = life
        self._retention = retention_config
        self._errands = deque(on_contact)
        self._on_misfit = on_misfit
        self._stopping = threading.Event()
        self._reachable = False
        self.ready = threading.Event()

    def do_later(self, errand: Callable[[], None]) -> None:
        """Call it on this thread once the database answers. From any thread."""
        self._errands.append(errand)

    def stop(self) -> None:
        self._stopping.set()
        if self.is_alive():
            self.join(timeout=10)
        if self.ready.is_set():
            try:
                with self._database.transaction() as connection:
                    processes.end(connection, self._life)
            except DatabaseUnavailable:
                logger.info('the database is away: this life ends there by itself')

    def run(self) -> None:
        if self._make_contact():
            self.ready.set()
            self._keep_house()

    def _make_contact(self) -> bool:
        """True once the schema is known to fit and everybody who waited for it was told."""
        waits = iter(RETRY_SECONDS)
        wait = 0.0
        told_away = False
        while not self._stopping.wait(wait):
            wait = next(waits, RETRY_SECONDS[-1])
            try:
                schema.check(self._database)
                self._register()
                self._reachable = True
                self._run_errands()
                return True
            except SchemaBehind as misfit:
                self._on_misfit(misfit)
                return False
            except DatabaseUnavailable as error:
                self._reachable = False
                if not told_away:
                    logger.warning('waiting for the database: %s', error)
                    told_away = True
        return False

    def _run_errands(self) -> None:
        while self._errands:
            try:
                self._errands[0]()
            except (DatabaseUnavailable, SchemaBehind):
                raise
            except Exception:  # a thread that ends here would end this daemon's life
                logger.exception('while the database was reached')
            self._errands.popleft()

    def _register(self) -> None:
        with self._database.transaction() as connection:
            processes.register(connection, self._life, 'daemon', socket.gethostname(), os.getpid(), 0)
            tell_of_a_daemon(connection, self._life)

    def _renew(self) -> None:
        try:
            with self._database.transaction() as connection:
                processes.renew(connection, self._life, 0, 0)
        except processes.LifeForgotten:
            self._register()

    def _keep_house(self) -> None:
        next_sweep = time.monotonic() + FIRST_SWEEP_SECONDS
        while not self._stopping.wait(RENEW_SECONDS if self._reachable else 1.0):
            try:
                self._renew()
                if not self._reachable:
                    logger.info('the database is back')
                self._reachable = True
                self._run_errands()
                if time.monotonic() >= next_sweep:
                    next_sweep = time.monotonic() + SWEEP_SECONDS
                    swept = retention.sweep(self._database, self._retention)
                    logger.info('old rows removed: %s', swept)
            except SchemaBehind as misfit:
                self._on_misfit(misfit)
                return
            except DatabaseUnavailable as error:
                if self._reachable:
                    logger.warning('the database is away: %s', error)
                self._reachable = False
