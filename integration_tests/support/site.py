"""One installation under test: its database, bus, wazo-auth and receiver, and the processes started for it."""

from __future__ import annotations

import os
import sys
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import psutil
import requests
import yaml

from integration_tests.support.auth_double import MASTER, SERVICE, AuthDouble
from integration_tests.support.bus import WAZO_UUID, Bus
from integration_tests.support.ports import free_port
from integration_tests.support.programs import Program
from integration_tests.support.receiver import Receiver
from integration_tests.support.servers import Postgres, Rabbit
from integration_tests.support.until import until

AnyProgram = TypeVar('AnyProgram', bound=Program)

COMMANDS = Path(sys.executable).parent


def lay_over(low: Mapping[str, Any], high: Mapping[str, Any]) -> dict[str, Any]:
    """Both trees in one, ``high`` winning."""
    both = dict(low)
    for key, value in high.items():
        below = both.get(key)
        both[key] = lay_over(below, value) if isinstance(value, Mapping) and isinstance(below, Mapping) else value
    return both


class Rest:
    """The REST API as a client with one token sees it."""

    def __init__(self, base: str, token: str) -> None:
        self.base = base
        self.token = token
        self._session = requests.Session()
        self._session.trust_env = False

    def close(self) -> None:
        self._session.close()

    def call(
        self, method: str, path: str, body: Any = None, *, tenant: str | None = None, **more: Any
    ) -> requests.Response:
        headers = {'X-Auth-Token': self.token, **({'Wazo-Tenant': tenant} if tenant else {}), **more.pop('headers', {})}
        return self._session.request(
            method, self.base + path, json=body, headers=headers, timeout=more.pop('timeout', 20), **more
        )

    def get(self, path: str, **more: Any) -> Any:
        """The JSON answer; AssertionError unless it is 200."""
        answer = self.call('GET', path, **more)
        assert answer.status_code == 200, f'GET {path}: {answer.status_code} {answer.text}'
        return answer.json()

    def status(self) -> dict[str, Any]:
        return self.get('/status', timeout=5)

    def subscribe(self, url: str, events: list[str], **more: Any) -> str:
        """Create a subscription of the http service; its uuid. ``more``: other keys, ``config`` is completed."""
        config = {'url': url, 'method': 'post', **more.pop('config', {})}
        return self.create({'name': 'test', 'service': 'http', 'events': events, 'config': config, **more})['uuid']

    def create(self, subscription: dict[str, Any], tenant: str | None = None) -> dict[str, Any]:
        answer = self.call('POST', '/subscriptions', subscription, tenant=tenant)
        assert answer.status_code == 201, f'{answer.status_code} {answer.text}'
        return answer.json()

    def logs(self, subscription: str, **query: Any) -> list[dict[str, Any]]:
        return self.get(f'/subscriptions/{subscription}/logs', params={'limit': 1000, **query})['items']

    def deliveries(self, subscription: str, **query: Any) -> list[dict[str, Any]]:
        return self.get(f'/subscriptions/{subscription}/deliveries', params={'limit': 1000, **query})['items']

    def send(self, name: str, data: Any = None, **more: Any) -> dict[str, Any]:
        answer = self.call('POST', '/events', {'name': name, 'data': data, **more})
        assert answer.status_code == 202, f'{answer.status_code} {answer.text}'
        return answer.json()


class Daemon(Program):
    """A running ``wazo-webhookd``; ``rest`` speaks to it as the administrator."""

    def __init__(self, command: list[str], log: Path, environment: Mapping[str, str], port: int, token: str) -> None:
        super().__init__(command, log, environment=environment)
        self.port = port
        self.rest = Rest(f'http://127.0.0.1:{port}/1.0', token)

    def workers(self) -> list[psutil.Process]:
        """Its own worker processes."""
        return [child for child in self.children() if any('worker' in word for word in _command_of(child))]

    def listens(self, seconds: float = 20) -> Daemon:
        """Wait until REST answers (whatever it answers)."""

        def answered() -> bool:
            assert self.alive(), f'ended with {self.process.returncode}\n{self.tail()}'
            return bool(self.rest.call('GET', '/status', timeout=5).status_code)

        try:
            until(answered, seconds, what='REST answers', catching=requests.RequestException)
        except AssertionError as error:
            raise AssertionError(f'{error}\n{self.tail()}') from None
        return self

    def ready(self, seconds: float = 30) -> Daemon:
        """Wait until every component of /status is ok."""
        self.listens(seconds)
        until(self.all_ok, seconds, what='all components ok', catching=requests.RequestException)
        return self

    def all_ok(self) -> bool:
        status = self.rest.status()
        bad = {name: value for name, value in status.items() if value.get('status') == 'fail' and name != 'services'}
        assert not bad, bad
        return True

    def clean_up(self) -> None:
        self.rest.close()
        super().clean_up()


def _command_of(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.NoSuchProcess:
        return []


class Site:
    """Start processes from it; everything is gone after ``clean_up``."""

    def __init__(
        self,
        folder: Path,
        postgres: Postgres,
        database: str,
        rabbit: Rabbit,
        vhost: str,
        auth: AuthDouble,
        receiver: Receiver,
    ) -> None:
        self.folder, self.postgres, self.database = folder, postgres, database
        self.rabbit, self.vhost, self.auth, self.receiver = rabbit, vhost, auth, receiver
        self.token = auth.add_token(MASTER)
        self.bus = Bus(rabbit.host, rabbit.port, vhost)
        self.python_path: list[Path] = []
        self.environment: dict[str, str] = {}
        self.programs: list[Program] = []
        name = uuid.uuid4().hex[:8]
        self.queue = f'wazo_webhookd.{name}'
        self.tasks_queue = f'celery-webhookd-{name}'
        (folder / 'conf.d').mkdir()
        self.config: dict[str, Any] = {
            'extra_config_files': str(folder / 'conf.d'),
            'user': None,
            'log_file': str(folder / 'daemon-file.log'),
            'db_uri': f'{postgres.uri(database)}?application_name=webhookd-{name}',
            'auth': {
                'host': '127.0.0.1', 'port': auth.port, 'prefix': auth.prefix or None,
                'username': SERVICE[0], 'password': SERVICE[1], 'cache_seconds': 0,
            },
            'bus': {'host': rabbit.host, 'port': rabbit.port, 'vhost': vhost, 'queue': {'name': self.queue}},
            'celery': {
                'broker': rabbit.url(vhost), 'exchange_name': self.tasks_queue, 'queue_name': self.tasks_queue,
                'processes': 1, 'hands': 32, 'worker_pid_file': str(folder / 'worker.pid'),
            },
            'rest_api': {'listen': '127.0.0.1'},
        }  # fmt: skip

    def another_bus(self) -> Bus:
        """A second connection, for another thread."""
        return Bus(self.rabbit.host, self.rabbit.port, self.vhost)

    def configure(self, **sections: Any) -> None:
        """Lay these keys over the configuration of processes started from now on."""
        self.config = lay_over(self.config, sections)

    def write_config(self, name: str, **sections: Any) -> Path:
        path = self.folder / f'{name}.yml'
        path.write_text(yaml.safe_dump(lay_over(self.config, sections)))
        return path

    def daemon(self, name: str = 'daemon', *args: str, port: int | None = None, **sections: Any) -> Daemon:
        """Start a daemon; not waited for: say ``.ready()`` or ``.listens()``."""
        port = port or free_port()
        path = self.write_config(name, **lay_over({'rest_api': {'port': port}}, sections))
        command = [str(COMMANDS / 'wazo-webhookd'), '-c', str(path), *args]
        return self._keep(Daemon(command, self.folder / f'{name}.log', self._environment(), port, self.token))

    def worker(self, name: str = 'worker', *args: str, **sections: Any) -> Program:
        """Start a worker of its own (the daemon should have ``celery={'start_workers': False}``)."""
        path = self.write_config(name, **sections)
        command = [str(COMMANDS / 'wazo-webhookd-worker'), '-c', str(path), *args]
        return self._keep(Program(command, self.folder / f'{name}.log', environment=self._environment()))

    def standalone(
        self, name: str = 'standalone', *args: str, port: int | None = None, data: Path | None = None
    ) -> Daemon:
        """Start standalone and wait until it listens; the token is the one it stored."""
        port = port or free_port()
        data = data or self.folder / 'data'
        command = [str(COMMANDS / 'wazo-webhookd'), '--standalone', '--data-dir', str(data), '--port', str(port), *args]
        program = self._keep(Daemon(command, self.folder / f'{name}.log', self._environment(), port, ''))
        stored = data / 'token'

        def token() -> str:
            assert program.alive(), program.tail()
            return stored.read_text().strip()

        program.rest.token = until(token, 20, what='the token is stored')
        return program.listens()

    def command(self, name: str, *args: str) -> str:
        """Run one of our commands to its end; its output. AssertionError unless it ends with 0."""
        program = Program([str(COMMANDS / name), *args], self.folder / f'{name}.log', environment=self._environment())
        code = program.wait(60)
        program.clean_up()
        assert code == 0, f'{name} ended with {code}\n{program.output}'
        return program.output

    def query(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """Rows of the database."""
        return self.postgres.run(statement, *values, database=self.database)

    def clean_up(self) -> None:
        for program in reversed(self.programs):
            program.clean_up()
        self.bus.close()

    def story(self) -> str:
        """The last lines of every process, for the report of a failure."""
        return '\n'.join(f'----- {program.log.name}\n{program.tail(40)}' for program in self.programs)

    def _environment(self) -> dict[str, str]:
        own = {key: value for key, value in os.environ.items() if key not in ('XIVO_UUID', 'PYTHONPATH')}
        own |= {'XIVO_UUID': WAZO_UUID, 'PYTHONUNBUFFERED': '1', 'PYTHONFAULTHANDLER': '1'}
        if self.python_path:
            own['PYTHONPATH'] = os.pathsep.join(map(str, self.python_path))
        return own | self.environment

    def _keep(self, program: AnyProgram) -> AnyProgram:
        self.programs.append(program)
        return program
