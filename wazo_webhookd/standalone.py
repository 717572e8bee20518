"""Runs everything in one process with nothing else installed: embedded database, no bus, one generated token."""

from __future__ import annotations

import fcntl
import logging
import os
from pathlib import Path
from typing import Final
from uuid import NAMESPACE_URL, uuid5

from sqlalchemy.exc import DatabaseError

from wazo_webhookd import __version__, celery
from wazo_webhookd.auth import auth_verifier
from wazo_webhookd.auth.master_tenant import MasterTenant
from wazo_webhookd.auth.static import FixedToken, NoAuthClient, StaticAuthority, admin_token
from wazo_webhookd.bus.inert import InertBusPublisher, LocalBus
from wazo_webhookd.config import Config
from wazo_webhookd.controller import Controller
from wazo_webhookd.database import schema
from wazo_webhookd.database.session import Database
from wazo_webhookd.exceptions import ConfigError
from wazo_webhookd.status_components import bus_component
from wazo_webhookd.worker import InProcessWorker

logger = logging.getLogger(__name__)

HANDS: Final = 32
TENANT: Final = str(uuid5(NAMESPACE_URL, 'wazo-webhookd:standalone#tenant'))
USER: Final = str(uuid5(NAMESPACE_URL, 'wazo-webhookd:standalone#user'))


def run(config: Config) -> int:
    """Serve until SIGTERM or SIGINT; returns the exit code. Raises ConfigError when the data directory is in use."""
    folder = config.data_dir
    assert folder is not None
    os.umask(0o077)  # subscriptions, events and the token are nobody else's business
    folder.mkdir(parents=True, exist_ok=True)
    lock = lock_directory(folder)
    try:
        return Standalone(config, folder).run()
    finally:
        os.close(lock)


def lock_directory(folder: Path) -> int:
    """Keep others out for as long as the returned descriptor is open. Raises ConfigError."""
    lock = os.open(folder / 'lock', os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise ConfigError(
            [f'--data-dir: {folder} is in use by another wazo-webhookd: stop that one, or name another directory']
        ) from None
    return lock


class Standalone(Controller):
    """The daemon with other parts handed in."""

    def __init__(self, config: Config, folder: Path) -> None:
        super().__init__(config)
        self._folder = folder
        self.token = admin_token(folder)

    def make_workers(self) -> None:
        """The worker lives in this process (``make_deliveries``); guests may touch the Celery app before that."""
        celery.configure(celery.app, self.config, standalone=True)

    def make_database(self) -> Database:
        """Raises ConfigError when the file is damaged, or none of SQLite's."""
        try:
            schema.upgrade(self.config.db_uri)
        except DatabaseError as error:
            file = self._folder / 'webhookd.sqlite'
            fault = f'{file}: {error.orig}: put a backup in its place, or name another directory'
            raise ConfigError([f'--data-dir: {fault}']) from error
        return super().make_database()

    def make_auth(self) -> None:
        self.auth_client = NoAuthClient()
        self.master_tenant = MasterTenant(pinned=TENANT)
        self.renewer = FixedToken(self.token)
        self.status.add_provider(self.renewer.provide_status)
        auth_verifier.configure(StaticAuthority(self.token, TENANT, USER, self.config.uuid), self.master_tenant)

    def make_deliveries(self) -> None:
        self.worker = InProcessWorker(
            self.config,
            self.database,
            self.services,
            lambda words: self.admitter.hear(words),
            on_hands=lambda: self.admitter.workers_changed(),
            hands=HANDS,
        )
        self.workers = self.worker
        super().make_deliveries()

    def make_bus(self) -> None:
        self.bus = LocalBus()
        self.status.add_provider(bus_component(self.bus))
        self.publisher = InertBusPublisher()

    def start_outbox(self) -> None:
        """Nobody is told of life-cycle events: there is no bus."""

    def wake_outbox(self) -> None:
        """See ``start_outbox``."""

    def start_listening(self) -> None:
        """Changes are made in this process only, and events come in over REST."""
        self.catalog.load(self.database)

    def start_deliveries(self) -> None:
        super().start_deliveries()
        self.worker.start()
        self._undo.callback(self._stop_worker)

    def _stop_worker(self) -> None:
        self.worker.stop()
        self.admitter.give_all_back()

    def announce(self, address: tuple[str, int]) -> None:
        host, port = address
        base = f'http://{"127.0.0.1" if host in ("0.0.0.0", "::", "") else host}:{port}/1.0'
        print(GREETING.format(version=__version__, base=base, token=self.token, folder=self._folder), flush=True)
        super().announce(address)


GREETING: Final = """\
wazo-webhookd {version}, standalone
  listens on   {base}
  token        {token}
  data         {folder}
  API for people: {base}/api/

Create a subscription (put the URL of your receiver in it):
  curl -s {base}/subscriptions -H 'X-Auth-Token: {token}' -H 'Content-Type: application/json' \\
    -d '{{"name": "first", "service": "http", "events": ["user_created"], "config": {{"method": "post", "url": "http://127.0.0.1:8000/"}}}}'

Send an event:
  curl -s {base}/events -H 'X-Auth-Token: {token}' -H 'Content-Type: application/json' \\
    -d '{{"name": "user_created", "data": {{"uuid": "c1ab1b8c-4a5b-4d6e-9b7a-6f1e0c3d2a10"}}}}'

Ctrl-C stops it.
"""
