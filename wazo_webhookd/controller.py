"""Builds the daemon in order, runs it, and undoes it in reverse."""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any, Final, Protocol
from uuid import uuid4

from wazo_webhookd import __version__, celery, logs, rest_api
from wazo_webhookd.auth import auth_verifier
from wazo_webhookd.auth.cache import TokenCache
from wazo_webhookd.auth.client import AuthClient
from wazo_webhookd.auth.master_tenant import MasterTenant
from wazo_webhookd.auth.renewer import TokenRenewer
from wazo_webhookd.auth.static import NoAuthClient
from wazo_webhookd.auth.wazo_auth import WazoAuthority
from wazo_webhookd.bus.bindings import Bindings
from wazo_webhookd.bus.consumer import BusConsumer
from wazo_webhookd.bus.inert import InertBusPublisher, LocalBus
from wazo_webhookd.bus.outbox import ConfirmedChannel, OutboxSender
from wazo_webhookd.bus.publisher import BusPublisher
from wazo_webhookd.config import Config
from wazo_webhookd.database import schema
from wazo_webhookd.database.session import Database
from wazo_webhookd.deliveries.admitter import Admitter
from wazo_webhookd.deliveries.desk import Desk
from wazo_webhookd.deliveries.intake import Arrival, Intake
from wazo_webhookd.deliveries.sender import Sender
from wazo_webhookd.discovery import ServiceDiscovery
from wazo_webhookd.domain.admission import Rules
from wazo_webhookd.domain.event import Event
from wazo_webhookd.domain.retry import Schedule
from wazo_webhookd.egress.environment import warn_of_environment
from wazo_webhookd.exceptions import DatabaseUnavailable, SchemaBehind
from wazo_webhookd.housekeeper import Housekeeper
from wazo_webhookd.http_server import AcceptFailed, HttpServer, check_address
from wazo_webhookd.plugins.house import House
from wazo_webhookd.plugins.loader import load_plugins
from wazo_webhookd.reload import Reload
from wazo_webhookd.services.loader import Services
from wazo_webhookd.signals import Stop
from wazo_webhookd.status import StatusAggregator
from wazo_webhookd.status_components import (
    TaskBrokerComponent,
    bus_component,
    component,
    database_component,
    database_probe,
    services_component,
    task_workers_component,
)
from wazo_webhookd.subscriptions.catalog import Catalog
from wazo_webhookd.subscriptions.certainty import Certainty
from wazo_webhookd.subscriptions.cleanup import Cleanup
from wazo_webhookd.subscriptions.feed import Change, ChangeListener, feed
from wazo_webhookd.subscriptions.service import SubscriptionService
from wazo_webhookd.supervisor import Supervisor
from wazo_webhookd.systemd import Manager, Watchdog
from wazo_webhookd.tenant_memory import TenantMemory
from wazo_webhookd.worker_deaths import WorkerDeaths

logger = logging.getLogger(__name__)

EXIT_SCHEMA: Final = 3
EXIT_ACCEPT: Final = 71
STATEMENT_SECONDS: Final = 20.0
"""A database that takes longer over a statement counts as away: it would keep one thread of REST after the other."""

LATE_SECONDS: Final = 15.0
"""How long after the grace period the process ends whatever still runs."""


class Workers(Protocol):
    """What makes the attempts: processes of the daemon's own, or a thread in standalone."""

    def want_suspects(self, count: int) -> None: ...
    def stop(self, grace: float | None = None) -> None: ...


class Tokens(Protocol):
    """Who knows our own token and tells of a new one."""

    def subscribe_to_token_change(self, callback: Callable[[str], object]) -> None: ...
    def subscribe_to_next_token_change(self, callback: Callable[[str], object]) -> None: ...
    def session_deleted(self, session_uuid: str) -> None: ...
    def start(self) -> None: ...
    def stop(self) -> None: ...


class Controller:
    """The daemon. ``run()`` returns the exit code after SIGTERM or SIGINT.

    Standalone is a subclass that hands in other parts (``standalone.py``): the ``make_…`` methods.
    """

    workers: Workers
    renewer: Tokens
    auth_client: AuthClient | NoAuthClient
    bus: BusConsumer | LocalBus
    publisher: BusPublisher | InertBusPublisher
    housekeeper: Housekeeper | None = None

    def __init__(self, config: Config, reread: Callable[[], Config] | None = None) -> None:
        """``reread`` reads the configuration again, for SIGHUP; without it SIGHUP ends the daemon."""
        self.config = config
        self.life = str(uuid4())
        self.manager = Manager.from_environment()
        self.reload = Reload(config, reread)
        self.reload.subscribe(logs.reload)
        self.stop = Stop(on_hurry=self._hurry, on_hangup=self._on_hangup if reread is not None else None)
        self.status = StatusAggregator()
        self.catalog = Catalog()
        self.worker_deaths = WorkerDeaths()
        self.set_debug_of_workers: Callable[[bool], object] = lambda debug: None
        self._undo = ExitStack()
        self._loading = threading.local()

    def run(self) -> int:
        """Raises ConfigError, SchemaBehind or OSError (cannot listen) when it cannot start."""
        self.stop.listen()
        with self._undo:
            self._undo.callback(logger.info, 'stopped')
            warn_of_environment(os.environ)
            rest_api.configure(self.config.rest_api)
            check_address(self.config.rest_api)
            self.build()
            server = HttpServer(self.config.rest_api, rest_api.app)
            server.prepare()
            self._undo.callback(server.stop)
            threading.Thread(target=self._serve, args=(server,), name='http', daemon=True).start()
            self.announce(server.address)
            self.manager.ready(self.sentence())
            watchdog = Watchdog(self.manager, {**self.beats(), 'http': lambda: server.beat}, self.sentence)
            watchdog.start()
            code = self.stop.wait()
            logger.info('stopping')
            watchdog.let_end()
            self.manager.stopping(self.config.shutdown_grace + LATE_SECONDS + 5)
            self._end_in_time()
        return code

    # -- building --------------------------------------------------------------------------------

    def build(self) -> None:
        """Everything but the HTTP server; each part says how it is undone as soon as it runs."""
        config = self.config
        self.make_workers()
        self.database = self.make_database()
        self.database_answers = database_probe(self.database)
        self._undo.callback(self.database.dispose)
        self.worker_deaths.attach(self.database)
        self._check_schema()
        self.make_auth()
        self.status.add_provider(self.master_tenant.provide_status)
        self.master_tenant.subscribe(self.catalog.set_master_tenant)
        feed.attach(
            database=self.database,
            life=self.life,
            master_tenant=lambda: self.master_tenant.best_known,
            loading=lambda: getattr(self._loading, 'now', False),
        )
        self._undo.callback(feed.detach)
        feed.observe(self.catalog.on_change)
        self.certainty = Certainty(self.catalog, self.database, self.life)
        feed.observe(self.certainty.doubt)
        self.service = SubscriptionService(config.tree, known=self.certainty.card)
        self.tenant_memory = TenantMemory(self.database, self.service, self.master_tenant, self._do_later)
        self.master_tenant.subscribe(self.tenant_memory.write_down)
        self.services = Services(config)
        self.status.add_provider(services_component(lambda: self.services.broken))
        self.make_deliveries()
        self.make_bus()
        self.load_guests()
        self.start()

    def make_workers(self) -> None:
        """Start the workers before any socket or engine of the daemon exists."""
        celery.configure(celery.app, self.config)
        self.workers = supervisor = Supervisor(self.config, on_death=self.worker_deaths.report)
        supervisor.start()
        self.set_debug_of_workers = supervisor.set_debug
        self.reload.subscribe(lambda config: supervisor.reload())
        self._undo.callback(self.workers.stop)

    def make_database(self) -> Database:
        return Database.from_uri(
            self.config.db_uri,
            pool_size=self.config.pool_size,
            application_name=self.config.process_title,
            statement_seconds=STATEMENT_SECONDS,
        )

    def make_auth(self) -> None:
        auth = self.config.auth
        settings = auth.model_dump(exclude={'key_file', 'master_tenant_uuid', 'cache_seconds'})
        self.auth_client = AuthClient(**settings)
        self._undo.callback(self.auth_client.close)
        self.master_tenant = MasterTenant(pinned=auth.master_tenant_uuid)
        self.renewer = TokenRenewer(self.auth_client)
        self.renewer.subscribe_to_token_details_change(self.master_tenant.on_token)
        self.status.add_provider(self.renewer.provide_status)
        auth_verifier.configure(WazoAuthority(self.auth_client, TokenCache(auth.cache_seconds)), self.master_tenant)
        feed.on_relay('auth_session_deleted', self._forget_session)

    def make_deliveries(self) -> None:
        config = self.config
        self.desk = Desk(self.database, self.catalog, Rules.from_config(config.circuit), life=self.life)
        self.sender = Sender(
            celery.app, self.services.route, self.desk.clock, celery.suspects_queue(config.celery.queue_name)
        )
        self.intake = Intake(
            self.desk,
            self.sender,
            Schedule.from_config(config),
            retention_days=config.retention.deliveries_days,
            on_trouble=self._on_database_trouble,
        )
        self.admitter = Admitter(
            self.desk,
            self.sender,
            origin_uuid=config.uuid,
            retention_days=config.retention.deliveries_days,
            on_suspects=self.workers.want_suspects,
            on_outbox=lambda: self.wake_outbox(),
        )
        feed.observe(self._kick_lanes)
        answers = self.database_answers
        self.status.add_provider(component('deliveries', lambda: self.admitter.status(away=not answers())))

    def make_bus(self) -> None:
        config = self.config
        self.bus = BusConsumer(config.bus, self._on_event, self.catalog.names, self.database)
        self.publisher = BusPublisher(config.uuid, config.bus)
        self._undo.callback(self.publisher.close)
        self.bindings = Bindings(self.database, self.bus)
        self.outbox = OutboxSender(
            self.database, self.life, ConfirmedChannel(config.bus), admits=lambda: self.desk.lease.held
        )
        feed.observe(self.bindings.on_change)
        feed.observe(lambda change: self.outbox.wake())
        self.status.add_provider(bus_component(self.bus))
        Cleanup(self.service).subscribe(self.bus)
        self.bus.subscribe_internal('auth_session_deleted', self._on_session_deleted)

    # -- guests and our own rooms -----------------------------------------------------------------

    def load_guests(self) -> None:
        dependencies = self._dependencies()
        with self._load():
            self.services.load(dependencies)
        house = House(
            config=self.config,
            database=self.database,
            catalog=self.catalog,
            intake=self.intake,
            admitter=self.admitter,
            service=self.service,
            status=self.status,
            tell_guests=self.bus.tell_guests,
            life=self.life,
            reload=self.reload,
            on_debug=self.set_debug_of_workers,
        )
        with self._load():
            load_plugins(self.config.enabled_plugins, {**dependencies, 'house': house})

    def _dependencies(self) -> Mapping[str, Any]:
        """What every guest is handed."""
        return {
            'api': rest_api.api,
            'auth_client': self.auth_client,
            'bus_consumer': self.bus,
            'bus_publisher': self.publisher,
            'celery': celery.app,
            'config': self.config.tree,
            'service_manager': self.services,
            'status_aggregator': self.status,
            'token_change_subscribe': self.renewer.subscribe_to_token_change,
            'next_token_change_subscribe': self.renewer.subscribe_to_next_token_change,
        }

    @contextmanager
    def _load(self) -> Iterator[None]:
        """While it lasts, ``create()`` on this thread returns an identical existing subscription."""
        self._loading.now = True
        try:
            yield
        finally:
            self._loading.now = False

    # -- starting ---------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the threads; what they need outside may come later."""
        self.status.add_provider(database_component(self.database_answers))
        self.status.add_provider(component('events', lambda: {'status': 'ok', **self.bus.counters}))
        self.status.add_provider(task_workers_component(self.database, self.database_answers))
        self.status.add_provider(TaskBrokerComponent(celery.app).provide_status)
        admit_now = self.admitter.wake  # who has no life cannot admit, and looks again after seconds
        self.start_housekeeper([admit_now, self.tenant_memory.recall, self._load_late_guests])
        self.start_outbox()
        self.start_deliveries()
        self.start_listening()
        self.renewer.start()
        self._undo.callback(self.renewer.stop)
        if self.config.service_discovery.enabled and isinstance(self.publisher, BusPublisher):
            discovery = ServiceDiscovery(self.config, self.publisher.send)
            discovery.start()
            self._undo.callback(discovery.stop)

    def start_housekeeper(self, on_contact: list[Callable[[], None]]) -> None:
        self.housekeeper = Housekeeper(
            self.database, self.life, self.config.retention, on_contact=on_contact, on_misfit=self._on_misfit
        )
        self.housekeeper.start()
        self._undo.callback(self.housekeeper.stop)

    def start_outbox(self) -> None:
        self.outbox.start()
        self._undo.callback(self.outbox.stop)

    def start_deliveries(self) -> None:
        """Undone in the order: what receives (started after this), intake, admitter, sender."""
        self.sender.start()
        self._undo.callback(self.sender.stop)
        self.admitter.start()
        self._undo.callback(self.admitter.stop)
        self.intake.start()
        self._undo.callback(self.intake.stop)

    def start_listening(self) -> None:
        """Hear of changes made elsewhere, then of events."""
        listener = ChangeListener(self.database, feed, self._on_listening, self.certainty.doubt)
        listener.start()
        self._undo.callback(listener.stop)
        self.bus.start()
        self._undo.callback(self.bus.stop)
        self.bindings.start()
        self._undo.callback(self.bindings.stop)

    def announce(self, address: tuple[str, int]) -> None:
        """Say that it runs."""
        logger.info('wazo-webhookd %s listens on %s, port %d', __version__, *address)

    def beats(self) -> dict[str, Callable[[], float]]:
        """For each main loop, when it last came round."""
        beats = {'intake': lambda: self.intake.beat, 'admitter': lambda: self.admitter.beat}
        if isinstance(self.bus, BusConsumer):
            bus = self.bus
            beats['bus consumer'] = lambda: bus.beat
        return beats

    def sentence(self) -> str:
        """How things are, for ``systemctl status``."""
        known = self.catalog.version >= 0
        subscriptions = f'{len(self.catalog)} subscriptions' if known else 'waiting for the database'
        return f'{subscriptions}, bus {"connected" if self.bus.consumer_connected() else "away"}'

    # -- what is told ------------------------------------------------------------------------------

    def wake_outbox(self) -> None:
        self.outbox.wake()

    def _on_event(self, event: Event, done: Callable[[int | Exception], None]) -> None:
        self.intake.submit(Arrival(event, done))

    def _kick_lanes(self, change: Change) -> None:
        """What waits for a subscription that leads elsewhere now need not wait for the endpoint it led to."""
        if change.uuids:
            self.admitter.kick(change.uuids)

    def _on_database_trouble(self, away: bool) -> None:
        if not away:
            self.bus.resume()

    def _on_listening(self) -> None:
        if self.catalog.version < 0:
            self.catalog.load(self.database)
        else:
            self.catalog.refresh()

    def _on_hangup(self) -> None:
        logger.info('reading the configuration again')
        self.manager.reloading()
        self.reload()
        self.manager.ready(self.sentence())

    def _on_session_deleted(self, body: Mapping[str, Any]) -> None:
        data = body.get('data')
        session_uuid = data.get('uuid') if isinstance(data, Mapping) else None
        if isinstance(session_uuid, str):
            feed.relay('auth_session_deleted', {'uuid': session_uuid})

    def _forget_session(self, payload: Mapping[str, Any]) -> None:
        auth_verifier.forget_session(str(payload.get('uuid')))
        self.renewer.session_deleted(str(payload.get('uuid')))

    def _do_later(self, errand: Callable[[], None]) -> None:
        """Once the database answers; what first contact with it brings needs no saying."""
        if self.housekeeper is not None:
            self.housekeeper.do_later(errand)

    def _load_late_guests(self) -> None:
        with self._load():
            self.services.retry_failed()

    def _check_schema(self) -> None:
        """A schema that does not fit ends the daemon now; a database that is away is waited for."""
        try:
            schema.check(self.database)
        except DatabaseUnavailable as error:
            logger.warning('the database is awaited: %s', error)

    def _on_misfit(self, misfit: SchemaBehind) -> None:
        print(f'wazo-webhookd: {misfit}', file=sys.stderr, flush=True)
        logger.critical('%s', misfit)
        self.stop.ask(EXIT_SCHEMA)

    def _serve(self, server: HttpServer) -> None:
        try:
            server.serve()
        except AcceptFailed:
            self.stop.ask(EXIT_ACCEPT)

    def _hurry(self) -> None:
        """Told a second time to end, within the signal's handler: everything that matters is in the database."""
        workers = getattr(self, 'workers', None)
        if isinstance(workers, Supervisor):
            workers.hurry()
        os._exit(0)

    def _end_in_time(self) -> None:
        """Whatever hangs, the process ends: everything that matters is in the database."""
        timer = threading.Timer(self.config.shutdown_grace + LATE_SECONDS, os._exit, (0,))
        timer.daemon = True
        timer.start()
