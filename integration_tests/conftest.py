"""Fixtures: servers once per session, a clean installation per test."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from integration_tests.support.auth_double import AuthDouble
from integration_tests.support.bus import WAZO_UUID
from integration_tests.support.figures import Note, noter, show
from integration_tests.support.receiver import Receiver
from integration_tests.support.servers import (
    Postgres,
    PrivatePostgres,
    PrivateRabbit,
    Rabbit,
    find_postgres,
    find_rabbit,
)
from integration_tests.support.site import COMMANDS, Site

PLUGINS = Path(__file__).parent / 'plugins'


@pytest.fixture(scope='session')
def postgres() -> Iterator[Postgres]:
    server = find_postgres()
    yield server
    if isinstance(server, PrivatePostgres):
        server.remove()


@pytest.fixture(scope='session')
def rabbit() -> Iterator[Rabbit]:
    server = find_rabbit()
    yield server
    if isinstance(server, PrivateRabbit):
        server.remove()


@pytest.fixture(scope='session')
def template(postgres: Postgres) -> Iterator[str]:
    """A database with our schema, made by our own command; every test gets a copy."""
    name = postgres.create_database('webhookd_template')
    prepare(postgres, name)
    yield name
    postgres.drop_database(name)


def prepare(postgres: Postgres, database: str) -> None:
    """Bring the schema of a database up to date with wazo-webhookd-init-db."""
    command = [str(COMMANDS / 'wazo-webhookd-init-db'), '--pg_db_uri', postgres.uri('postgres')]
    command += ['--webhookd_db_uri', postgres.uri(database), '--db', database, '--owner', postgres.user]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope='session')
def vhost(rabbit: Rabbit) -> Iterator[str]:
    name = rabbit.create_vhost()
    yield name
    rabbit.delete_vhost(name)


@pytest.fixture
def auth() -> Iterator[AuthDouble]:
    double = AuthDouble(wazo_uuid=WAZO_UUID)
    double.start()
    yield double
    double.stop()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as listening:
        yield listening


@pytest.fixture
def site(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    postgres: Postgres,
    template: str,
    rabbit: Rabbit,
    vhost: str,
    auth: AuthDouble,
    receiver: Receiver,
) -> Iterator[Site]:
    """A clean installation: own database, own queues, nothing running yet."""
    database = postgres.create_database(template=template)
    installation = Site(tmp_path, postgres, database, rabbit, vhost, auth, receiver)
    installation.bus.declare_exchange()
    yield installation
    _close(installation, request)
    for queue in (installation.queue, installation.tasks_queue):
        installation.bus.delete_queue(queue)
    installation.bus.close()
    postgres.drop_database(database)


@pytest.fixture
def private_site(
    request: pytest.FixtureRequest, tmp_path: Path, auth: AuthDouble, receiver: Receiver
) -> Iterator[Site]:
    """A clean installation on servers of its own, which the test may stop, kill and wipe (five seconds to start)."""
    private_postgres, private_rabbit = PrivatePostgres(), PrivateRabbit()
    try:
        private_postgres.start()
        private_rabbit.start()
        database = private_postgres.create_database()
        prepare(private_postgres, database)
        installation = Site(tmp_path, private_postgres, database, private_rabbit, '/', auth, receiver)
        installation.bus.declare_exchange()
        yield installation
        _close(installation, request)
    finally:
        private_rabbit.remove()
        private_postgres.remove()


@pytest.fixture
def note(request: pytest.FixtureRequest) -> Note:
    """``note('p50 …')``: a line that is printed at the end of the session."""
    return noter(request)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    show(terminalreporter)


def _close(installation: Site, request: pytest.FixtureRequest) -> None:
    """End all processes; after a failure, print what they had to say."""
    story = installation.story()
    installation.clean_up()
    if hasattr(request.node, 'rep_call') and request.node.rep_call.failed:
        print(story)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[pytest.TestReport]:
    """Let fixtures know whether their test failed."""
    report = yield
    setattr(item, f'rep_{report.when}', report)
    return report


@pytest.fixture(scope='session')
def install(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Install a package of ``plugins/`` with pip into a folder of its own; the folder, for ``site.python_path``."""
    installed: dict[str, Path] = {}

    def install_once(name: str) -> Path:
        if name not in installed:
            source = tmp_path_factory.mktemp('source') / name
            _copy(PLUGINS / name, source)
            target = tmp_path_factory.mktemp('installed')
            command = [
                sys.executable,
                '-m',
                'pip',
                'install',
                '-q',
                '--no-deps',
                '--no-build-isolation',
                '--target',
                str(target),
            ]
            done = subprocess.run([*command, str(source)], capture_output=True, text=True, check=False, timeout=120)
            assert done.returncode == 0, done.stdout + done.stderr
            installed[name] = target
        return installed[name]

    return install_once


def _copy(source: Path, target: Path) -> None:
    """pip builds inside the source folder: keep ours clean."""
    import shutil

    shutil.copytree(source, target, ignore=shutil.ignore_patterns('__pycache__', '*.egg-info', 'build'))
