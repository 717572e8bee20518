"""What guests find in a worker: their task modules imported, their tasks registered, nothing that writes or listens."""

from __future__ import annotations

import importlib
import importlib.metadata
import logging
import socket
import threading
from collections.abc import Mapping
from typing import Any, Final

from wazo_webhookd import celery
from wazo_webhookd.config import Config
from wazo_webhookd.database import facts
from wazo_webhookd.database.session import Database
from wazo_webhookd.exceptions import DatabaseUnavailable
from wazo_webhookd.services.loader import Services
from wazo_webhookd.subscriptions.feed import feed

logger = logging.getLogger(__name__)

LOAD_SECONDS: Final = 15.0
"""A guest whose ``load()`` takes longer does not keep the worker from starting."""

TASKS_GROUP: Final = 'wazo_webhookd.celery_tasks'


def prepare(config: Config, services: Services, database: Database, life: str) -> None:
    """Import the task modules, and load the services whose tasks exist only then; neither can stop the worker."""
    import_tasks(config)
    feed.attach(database=database, life=life, master_tenant=lambda: _master_tenant(config, database), writable=False)
    services.import_all()
    loading = threading.Thread(
        target=services.load_tasks, args=(lambda: dependencies(config),), name='guests', daemon=True
    )
    loading.start()
    loading.join(LOAD_SECONDS)
    if loading.is_alive():
        logger.warning('guests are still loading after %g s; working without them until they are', LOAD_SECONDS)


def import_tasks(config: Config) -> None:
    """Import the modules of the entry point group ``wazo_webhookd.celery_tasks`` that are enabled."""
    importlib.import_module('wazo_webhookd.plugins.subscription.celery_tasks')  # deliveries need it in any case
    found = {entry.name: entry for entry in importlib.metadata.entry_points(group=TASKS_GROUP)}
    for name in sorted(name for name, on in config.enabled_celery_tasks.items() if on):
        entry = found.get(name)
        if entry is None:
            logger.warning('celery task module %s is enabled but not installed', name)
            continue
        try:
            entry.load()
        except Exception:
            logger.exception('celery task module %s (%s) cannot be imported', name, entry.value)


def dependencies(config: Config) -> Mapping[str, Any]:
    """What ``load()`` of a service of the task contract is given here. Built only for a worker that has one."""
    from wazo_webhookd import rest_api
    from wazo_webhookd.auth.client import AuthClient
    from wazo_webhookd.auth.renewer import TokenRenewer
    from wazo_webhookd.bus.inert import InertBusConsumer
    from wazo_webhookd.bus.publisher import BusPublisher
    from wazo_webhookd.status import StatusAggregator

    auth_client = AuthClient(**config.auth.model_dump())
    TokenRenewer(auth_client).start()
    return {
        'api': rest_api.api,
        'auth_client': auth_client,
        'bus_consumer': InertBusConsumer(),
        'bus_publisher': BusPublisher.from_config(config.uuid, config.bus),
        'celery': celery.app,
        'config': config.tree,
        'status_aggregator': StatusAggregator(),
        'token_change_subscribe': lambda callback: None,
    }


def set_max_retries(max_attempts: int) -> None:
    """``task.max_retries`` of the hook runner, as guests of the run contract read it (reference, delivery 4.1)."""
    task = celery.app.tasks.get(celery.HOOK_RUNNER)
    if task is not None:
        task.max_retries = max_attempts - 1


def name_process(config: Config, role: str) -> None:
    """As ``ps`` shows it, in the form that operators of today's program look for."""
    try:
        from setproctitle import setproctitle
    except ImportError:
        return
    setproctitle(f'[celeryd: webhookd@{socket.gethostname()}:MainProcess] {config.process_title}-worker, {role}')


def _master_tenant(config: Config, database: Database) -> str | None:
    if config.auth.master_tenant_uuid:
        return config.auth.master_tenant_uuid
    try:
        with database.reading() as connection:
            return facts.get(connection, 'master_tenant')[1]
    except DatabaseUnavailable:
        return None
