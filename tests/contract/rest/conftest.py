"""``rest``: the REST application with all our rooms, an embedded database and an authority that tests instruct."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from flask import Flask
from flask.testing import FlaskClient

from wazo_webhookd import rest_api
from wazo_webhookd.auth import auth_verifier
from wazo_webhookd.auth.errors import AuthServerUnreachable, MissingPermission, UnknownToken
from wazo_webhookd.auth.master_tenant import MasterTenant
from wazo_webhookd.config import Config, from_tree
from wazo_webhookd.database import schema
from wazo_webhookd.database.session import Database
from wazo_webhookd.exceptions import DatabaseUnavailable
from wazo_webhookd.plugins.house import House
from wazo_webhookd.plugins.loader import load_plugins
from wazo_webhookd.status import StatusAggregator
from wazo_webhookd.subscriptions.feed import feed
from wazo_webhookd.subscriptions.service import SubscriptionService

MASTER = '11111111-0000-4000-8000-000000000001'
TENANT = '11111111-0000-4000-8000-000000000002'
OTHER = '11111111-0000-4000-8000-000000000003'
USER = '22222222-0000-4000-8000-000000000001'
WAZO = '33333333-0000-4000-8000-000000000001'
PLUGINS = ('api', 'config', 'services', 'status', 'subscriptions', 'events', 'deliveries', 'egress')


@dataclass
class KnownToken:
    tenant_uuid: str | None
    user_uuid: str | None = None
    visible: frozenset[str] = frozenset()
    refused: bool = False


@dataclass
class FakeAuthority:
    """The master tenant has two tenants below it; tests add tokens."""

    tokens: dict[str, KnownToken] = field(default_factory=dict)
    down: bool = False
    asked: list[tuple[str, str | None]] = field(default_factory=list)

    def check(self, token: str, access: str, tenant_uuid: str | None) -> None:
        self.asked.append((access, tenant_uuid))
        if self.down:
            raise self.unreachable('Connection refused')
        known = self.tokens.get(token)
        if known is None:
            raise UnknownToken(token, access)
        if known.refused or tenant_uuid not in (None, *known.visible):
            raise MissingPermission(token, access, tenant_uuid)

    def details(self, token: str) -> dict[str, Any]:
        known = self.tokens[token]
        metadata = {'uuid': known.user_uuid, 'tenant_uuid': known.tenant_uuid}
        return {'token': token, 'xivo_uuid': WAZO, 'session_uuid': 's', 'metadata': metadata}

    def visible_tenants(self, token: str, tenant_uuid: str) -> frozenset[str]:
        return (
            self.tokens[token].visible if tenant_uuid == self.tokens[token].tenant_uuid else frozenset((tenant_uuid,))
        )

    def unreachable(self, reason: str) -> Exception:
        return AuthServerUnreachable('auth.example', 9497, reason)

    def forget_session(self, session_uuid: str) -> None:
        pass


class FakeIntake:
    def __init__(self) -> None:
        self.events: list[Any] = []
        self.answer: int | Exception | None = 0

    def submit(self, arrival: Any) -> None:
        self.events.append(arrival.event)
        if self.answer is not None:
            threading.Thread(target=arrival.done, args=(self.answer,)).start()


class FakeAdmitter:
    def __init__(self) -> None:
        self.resumed: list[str] = []

    def resume(self, subscription_uuid: str) -> None:
        self.resumed.append(subscription_uuid)


class FakeCatalog:
    def card(self, uuid: str) -> None:
        return None


class FakeServices:
    def names(self) -> list[str]:
        return ['http', 'mobile']


@dataclass
class Rest:
    app: Flask
    client: FlaskClient
    authority: FakeAuthority
    house: House
    intake: FakeIntake
    admitter: FakeAdmitter
    guests_heard: list[Any]
    database: Database
    master_tenant: MasterTenant

    def call(self, method: str, path: str, *, token: str | None = 'master', **options: Any) -> Any:
        headers = dict(options.pop('headers', {}))
        if token is not None:
            headers['X-Auth-Token'] = token
        return self.client.open(f'/1.0{path}', method=method, headers=headers, buffered=True, **options)

    def create(self, token: str = 'master', **changes: Any) -> dict[str, Any]:
        body = {'name': 'n', 'service': 'http', 'config': {'url': 'http://x', 'method': 'get'}, 'events': ['a']}
        response = self.call('POST', '/subscriptions', token=token, json=body | changes)
        assert response.status_code == 201, response.text
        created: dict[str, Any] = response.json
        return created


@pytest.fixture(scope='session')
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp('rest') / 'empty.sqlite'
    schema.upgrade(f'sqlite:///{path}')
    return path


@pytest.fixture
def config() -> Config:
    return from_tree(
        {
            'uuid': WAZO,
            'auth': {'username': 'webhookd', 'password': 'secret'},
            'rest_api': {'port': 0},
            'guest': {'api_key': 'k', 'nice': 1},
        }
    )


@pytest.fixture
def rest(tables: Path, tmp_path: Path, config: Config) -> Iterator[Rest]:
    path = tmp_path / 'webhookd.sqlite'
    shutil.copy(tables, path)
    database = Database.from_uri(f'sqlite:///{path}', pool_size=20)
    master_tenant = MasterTenant()
    master_tenant.confirm(MASTER)
    authority = FakeAuthority(
        {
            'master': KnownToken(MASTER, USER, frozenset((MASTER, TENANT, OTHER))),
            'tenant': KnownToken(TENANT, USER, frozenset((TENANT,))),
            'other': KnownToken(OTHER, None, frozenset((OTHER,))),
            'refused': KnownToken(MASTER, None, frozenset((MASTER,)), refused=True),
        }
    )
    auth_verifier.configure(authority, master_tenant)
    feed.attach(database=database, master_tenant=lambda: master_tenant.best_known)
    app, api = rest_api.new_application()
    rest_api.configure(config.rest_api, app)
    intake, admitter, heard = FakeIntake(), FakeAdmitter(), []
    status = StatusAggregator()
    status.add_provider(master_tenant.provide_status)
    house = House(
        config=config, database=database, catalog=FakeCatalog(), intake=intake, admitter=admitter,
        service=SubscriptionService(config.tree), status=status, tell_guests=heard.append, life=str(uuid4()),
    )  # fmt: skip
    dependencies = {
        'api': api, 'config': config.tree, 'house': house, 'status_aggregator': status,
        'service_manager': FakeServices(),
    }  # fmt: skip
    load_plugins(dict.fromkeys(PLUGINS, True), dependencies)
    yield Rest(app, app.test_client(), authority, house, intake, admitter, heard, database, master_tenant)
    feed.detach()
    database.dispose()


@pytest.fixture
def away(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Call it to take the database away."""

    def take_away() -> None:
        def fail(*_: Any, **__: Any) -> Any:
            raise DatabaseUnavailable

        monkeypatch.setattr(Database, 'reading', fail)
        monkeypatch.setattr(Database, 'transaction', fail)

    return take_away
