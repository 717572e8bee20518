"""Every test here runs on PostgreSQL and on SQLite: ``database`` is one with our tables, ``empty`` one without.

PostgreSQL is the server of WEBHOOKD_TEST_POSTGRESQL (the URI of a database where a superuser may create others), else
the one on 127.0.0.1:5432, else a private one that is started for the tests. When there is none of them, tests fail.
"""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import insert
from sqlalchemy.engine import make_url

from wazo_webhookd.database import schema
from wazo_webhookd.database.models import Base, Fact
from wazo_webhookd.database.session import Database
from wazo_webhookd.exceptions import DatabaseUnavailable

KINDS = ('postgresql', 'sqlite')


@pytest.fixture(scope='session')
def server_uri() -> Iterator[str]:
    """A PostgreSQL server, by the URI of its administrative database."""
    asked = os.environ.get('WEBHOOKD_TEST_POSTGRESQL')
    uri = asked or 'postgresql://postgres@127.0.0.1:5432/postgres'
    if asked or _answers(uri):
        yield uri
        return
    from integration_tests.support.servers import PrivatePostgres

    private = PrivatePostgres()
    try:
        private.start()
        yield private.uri('postgres')
    finally:
        private.remove()


def _answers(uri: str) -> bool:
    database = Database.from_uri(uri, pool_size=1)
    try:
        with database.reading():
            return True
    except DatabaseUnavailable:
        return False
    finally:
        database.dispose()


@pytest.fixture(scope='session')
def new_postgresql(server_uri: str) -> Iterator[Callable[[], str]]:
    """Creates a database and returns its URI; all are dropped at the end."""
    server = Database.from_uri(server_uri, pool_size=1)
    names: list[str] = []

    def create() -> str:
        name = f'webhookd_test_{uuid.uuid4().hex[:12]}'
        with server.own_connection(autocommit=True) as connection:
            connection.exec_driver_sql(f'CREATE DATABASE {name}')
        names.append(name)
        return make_url(server_uri).set(database=name).render_as_string(hide_password=False)

    yield create
    with server.own_connection(autocommit=True) as connection:
        for name in names:
            connection.exec_driver_sql(f'DROP DATABASE IF EXISTS {name} WITH (FORCE)')
    server.dispose()


@pytest.fixture(scope='session')
def postgresql_with_tables(new_postgresql: Callable[[], str]) -> str:
    uri = new_postgresql()
    schema.upgrade(uri)
    return uri


@pytest.fixture(scope='session')
def sqlite_with_tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp('sqlite') / 'template.sqlite'
    schema.upgrade(f'sqlite:///{path}')
    return path


@pytest.fixture(params=KINDS)
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """With our tables, empty."""
    if request.param == 'postgresql':
        database = Database.from_uri(request.getfixturevalue('postgresql_with_tables'))
        yield database
        _empty(database)
    else:
        path = tmp_path / 'webhookd.sqlite'
        shutil.copy(request.getfixturevalue('sqlite_with_tables'), path)
        database = Database.from_uri(f'sqlite:///{path}')
        yield database
    database.dispose()


@pytest.fixture
def postgresql(postgresql_with_tables: str) -> Iterator[Database]:
    """The same, for what only PostgreSQL has."""
    database = Database.from_uri(postgresql_with_tables)
    yield database
    _empty(database)
    database.dispose()


@pytest.fixture(params=KINDS)
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """Without any table."""
    if request.param == 'postgresql':
        uri = request.getfixturevalue('new_postgresql')()
    else:
        uri = f'sqlite:///{tmp_path / "empty.sqlite"}'
    database = Database.from_uri(uri)
    yield database
    database.dispose()


@pytest.fixture
def empty_postgresql(new_postgresql: Callable[[], str]) -> Iterator[Database]:
    database = Database.from_uri(new_postgresql())
    yield database
    database.dispose()


def _empty(database: Database) -> None:
    with database.transaction() as connection:
        for table in reversed(Base.metadata.sorted_tables):
            connection.execute(table.delete())
        connection.execute(insert(Fact.__table__).values(name='schema', number=schema.LEVEL))
