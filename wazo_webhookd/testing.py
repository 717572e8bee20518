"""A bench for tests of services and plugins: loads and runs them as the program does, in one process, without servers.

In ``conftest.py``: ``pytest_plugins = ['wazo_webhookd.testing']``; tests then ask for the fixture ``webhookd``, and
override the fixture ``webhookd_settings`` to have a configuration of their own. Needs pytest.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import entry_points
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final
from uuid import uuid4

import pytest
from celery import _state as celery_state

from wazo_webhookd import celery, config, rest_api
from wazo_webhookd.attempts.parcel import open_parcel
from wazo_webhookd.attempts.runner import Runner
from wazo_webhookd.auth import auth_verifier
from wazo_webhookd.auth.master_tenant import MasterTenant
from wazo_webhookd.auth.static import FixedToken, NoAuthClient, StaticAuthority
from wazo_webhookd.bus.events import PlatformEvent
from wazo_webhookd.bus.inert import LocalBus
from wazo_webhookd.bus.publisher import BusPublisher
from wazo_webhookd.database import schema
from wazo_webhookd.database.session import Database
from wazo_webhookd.deliveries.message import Parcel, Writer
from wazo_webhookd.domain.delivery import TICKET_HEADER, Ticket
from wazo_webhookd.domain.detail import remembered
from wazo_webhookd.domain.event import Event
from wazo_webhookd.domain.retry import Schedule
from wazo_webhookd.domain.subscription import Subscription
from wazo_webhookd.egress.client import EgressClient
from wazo_webhookd.plugins.events.event import posted_event
from wazo_webhookd.plugins.events.raw_json import Member
from wazo_webhookd.services.loader import GROUP, Services
from wazo_webhookd.status import StatusAggregator
from wazo_webhookd.subscriptions import schema as rest_schema
from wazo_webhookd.subscriptions.feed import feed
from wazo_webhookd.subscriptions.service import SubscriptionService
from wazo_webhookd.worker_guests import import_tasks, set_max_retries

TENANT: Final = '2c34c282-433e-4bb8-8d56-fec14ff7e1e9'
"""The master tenant, and the owner of every subscription unless a test says otherwise."""
USER: Final = '5b7c5c0e-0f0a-4e0c-9a2f-5d1e3b6a7c88'
TOKEN: Final = 'token-of-the-bench'


@dataclass(frozen=True, slots=True)
class Attempt:
    """What the log would show. ``status``: success, failure (tried again after ``wait`` seconds) or error (final)."""

    number: int
    status: str
    detail: dict[str, Any]
    wait: float | None


class Bench:
    """What the fixture ``webhookd`` is.

    ``config``: the mapping that guests are given. ``published``: bus events that guests published. ``rest``: a client
    (of Flask) of the resources that plugins added, with a token that may do everything.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any], database_file: Path) -> None:
        self._settings = config.from_tree(settings, standalone=True, data_dir=folder)
        shutil.copy(database_file, folder / 'webhookd.sqlite')
        self._database = Database.from_uri(self._settings.db_uri, pool_size=2)
        self._loading = False
        self._http = EgressClient(self._settings.egress)
        self._schedule = Schedule.from_config(self._settings)
        self._services = Services(SimpleNamespace(enabled_services={}), ())
        self._name = ''
        self._bus = _Bus()
        self._status = StatusAggregator()
        self._publisher = _Publisher(self._settings.uuid, self._settings.bus)
        self.published: list[PlatformEvent] = self._publisher.published
        self.config: dict[str, Any] = self._settings.tree
        application, self._api = rest_api.new_application()
        rest_api.configure(self._settings.rest_api, application)
        self.rest: Any = application.test_client()
        self.rest.environ_base['HTTP_X_AUTH_TOKEN'] = TOKEN
        self._start()

    def _start(self) -> None:
        celery.configure(celery.app, self._settings, standalone=True)
        import_tasks(self._settings)
        set_max_retries(self._schedule.max_attempts)
        self._tasks = set(celery.app.tasks)
        self._shared_tasks = set(celery_state._on_app_finalizers)
        feed.attach(database=self._database, master_tenant=lambda: TENANT, loading=lambda: self._loading)
        auth_verifier.configure(StaticAuthority(TOKEN, TENANT, USER, self._settings.uuid), MasterTenant(pinned=TENANT))

    def close(self) -> None:
        """Nothing of it stays, tasks that guests registered included."""
        self._forget_tasks()
        feed.detach()
        self._bus.stop()
        self._http.close()
        self._database.dispose()

    # -- loading -----------------------------------------------------------------------------------

    def load(self, service: Any) -> Any:
        """Load a service: a class, or the name of an installed entry point. Returns the object that was loaded.

        AssertionError when it cannot be loaded; the log has the traceback.
        """
        entry: Any = _installed(service) if isinstance(service, str) else _Named('tested', service)
        self._forget_tasks()
        name = entry.name
        self._services = Services(SimpleNamespace(enabled_services={name: True}), [entry])
        self._name = name
        with self._load():
            self._services.load(self.dependencies)
        celery.app.runtime = SimpleNamespace(
            config=self._settings, guest_config=self.config, services=self._services, http=self._http
        )
        if self._services.broken:
            raise AssertionError(self._services.broken[name])
        return self._services[name].obj

    def load_plugin(self, plugin: Callable[[], Any]) -> Any:
        """Load a REST plugin (its class); its resources answer ``rest`` from then on."""
        loaded = plugin()
        with self._load():
            loaded.load({**self.dependencies, 'service_manager': self._services})
        return loaded

    @property
    def dependencies(self) -> dict[str, Any]:
        """What ``load`` is given: real parts, but for the buses and wazo-auth, which are in this process or absent."""
        tokens = FixedToken(TOKEN)
        return {
            'api': self._api,
            'auth_client': NoAuthClient(),
            'bus_consumer': self._bus,
            'bus_publisher': self._publisher,
            'celery': celery.app,
            'config': self.config,
            'service_manager': self._services,
            'status_aggregator': self._status,
            'token_change_subscribe': tokens.subscribe_to_token_change,
            'next_token_change_subscribe': tokens.subscribe_to_next_token_change,
        }

    # -- delivering --------------------------------------------------------------------------------

    def deliver(
        self,
        event: str,
        data: Any = None,
        *,
        config: Mapping[str, Any] | None = None,
        headers: Mapping[str, str | bool] | None = None,
        attempt: int = 1,
        **subscription: Any,
    ) -> Attempt:
        """One attempt to deliver an event to the loaded service.

        ``config`` is the subscription's, ``headers`` are what the bus message would carry, ``subscription`` takes the
        other keys that REST takes. Raises marshmallow's ValidationError for what REST would refuse.
        """
        wish = self._wish(event, config, subscription)
        return self._attempt(wish, self._event(event, data, headers), str(uuid4()), attempt)

    def deliver_to_the_end(
        self,
        event: str,
        data: Any = None,
        *,
        config: Mapping[str, Any] | None = None,
        headers: Mapping[str, str | bool] | None = None,
        **subscription: Any,
    ) -> list[Attempt]:
        """All attempts of a delivery, without the waits between them."""
        wish, happened, uuid = self._wish(event, config, subscription), self._event(event, data, headers), str(uuid4())
        attempts = [self._attempt(wish, happened, uuid, 1)]
        while attempts[-1].status == 'failure':
            attempts.append(self._attempt(wish, happened, uuid, attempts[-1].number + 1))
        return attempts

    def tell(self, event: str, data: Any = None, headers: Mapping[str, str | bool] | None = None) -> int:
        """Let an event happen on the bus: handlers are called, one after the other. Returns how many; raises what they
        raise (in the daemon that is a line in the log)."""
        return self._bus.tell(self._event(event, data, headers))

    # -- looking -----------------------------------------------------------------------------------

    @property
    def subscriptions(self) -> list[Subscription]:
        """Those that guests created with SubscriptionService."""
        return SubscriptionService(self.config).list()

    @property
    def status(self) -> dict[str, Any]:
        """What guests add to ``GET /status``."""
        return self._status.status()

    # -- parts -------------------------------------------------------------------------------------

    def _wish(self, event: str, config: Mapping[str, Any] | None, more: Mapping[str, Any]) -> Subscription:
        if not self._name:
            raise AssertionError('no service to deliver with: call webhookd.load(…) first')
        given = {'name': 'test', 'service': self._name, 'events': [event], 'config': dict(config or {}), **more}
        tenant = given.pop('owner_tenant_uuid', TENANT)
        loaded: dict[str, Any] = rest_schema.Subscription().load(given)
        return Subscription(uuid=str(uuid4()), owner_tenant_uuid=tenant, **loaded)

    def _event(self, name: str, data: Any, headers: Mapping[str, str | bool] | None) -> Event:
        return posted_event(
            {'name': name, 'origin_uuid': None, 'headers': dict(headers or {})},
            Member(data, json.dumps(data)),
            uuid=str(uuid4()),
            scope_tenant=TENANT,
            in_master_tenant=True,
            origin_uuid=self._settings.uuid,
            received_at=datetime.now(UTC),
            max_bytes=self._settings.bus.max_event_bytes,
        )

    def _attempt(self, wish: Subscription, event: Event, uuid: str, attempt: int) -> Attempt:
        """Over the same message that crosses the queue."""
        card = SimpleNamespace(service=self._name, endpoint=f'sub:{wish.uuid}', document=wish.document())
        most = self._schedule.max_attempts
        parcel = Parcel(uuid, wish.uuid, event.uuid, card, event.text, attempt, attempt, most, time.time())
        message = Writer(self._services.route).write(parcel, 0.0)
        ticket = Ticket.from_header(json.loads(message.headers[TICKET_HEADER]))
        runner = Runner(celery.app, self._services, self.config, self._schedule, chance=lambda: 0.5)
        outcome = runner.run(ticket, message.headers['task'], open_parcel(message.body))
        return Attempt(attempt, outcome.status, json.loads(remembered(outcome.detail)), outcome.wait)

    @contextmanager
    def _load(self) -> Iterator[None]:
        self._loading = True
        try:
            yield
        finally:
            self._loading = False

    def _forget_tasks(self) -> None:
        """Celery gives a task of a known name its first body for ever: the next ``load()`` shall have its own."""
        for name in set(celery.app.tasks) - self._tasks:
            celery.app.tasks.unregister(name)
        # Celery shares tasks with every application that is made later, such as the next test's.
        celery_state._on_app_finalizers.intersection_update(self._shared_tasks)


@dataclass(frozen=True)
class _Named:
    """An entry point of a class that no package has to announce."""

    name: str
    cls: Any
    group: str = GROUP

    @property
    def value(self) -> str:
        return f'{self.cls.__module__}:{self.cls.__qualname__}'

    def load(self) -> Any:
        return self.cls


def _installed(name: str) -> Any:
    found = [entry for entry in entry_points(group=GROUP) if entry.name == name]
    if not found:
        raise AssertionError(f'no installed package has the entry point {name} in group {GROUP}')
    return found[0]


class _Bus(LocalBus):
    """Calls handlers at once, so that tests need not wait."""

    def tell(self, event: Event) -> int:
        registrations = self._desk.wanting(event)
        for registration in registrations:
            registration.call(event)
        return len(registrations)


class _Publisher(BusPublisher):
    """Keeps what would be published."""

    def __init__(self, service_uuid: str, bus: Any) -> None:
        super().__init__(service_uuid, bus)
        self.published: list[PlatformEvent] = []

    def send(self, event: PlatformEvent) -> None:
        self.published.append(event)


@pytest.fixture(scope='session')
def webhookd_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty database with our schema, to be copied."""
    path = tmp_path_factory.mktemp('webhookd') / 'empty.sqlite'
    schema.upgrade(f'sqlite:///{path}')
    return path


@pytest.fixture
def webhookd_settings() -> dict[str, Any]:
    """Override it: settings of the program, and sections of your own."""
    return {}


@pytest.fixture
def webhookd(tmp_path: Path, webhookd_settings: dict[str, Any], webhookd_database: Path) -> Iterator[Bench]:
    """A bench of its own for every test."""
    folder = tmp_path / 'webhookd'
    folder.mkdir()
    bench = Bench(folder, webhookd_settings, webhookd_database)
    yield bench
    bench.close()
