"""PostgreSQL and RabbitMQ: those that already run here, or private ones that a test may ill-treat.

A private server listens on 127.0.0.1 on a port of its own, keeps everything in one folder, and is
gone with it. PostgreSQL refuses to run as root, so it is started as another user then.
"""

from __future__ import annotations

import json
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import uuid
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

import psutil
import psycopg2

from integration_tests.support.ports import answers, free_port
from integration_tests.support.programs import Program
from integration_tests.support.until import until

RABBITMQ = Path('/usr/lib/rabbitmq/bin')


class Postgres:
    """A PostgreSQL server that one may use: create databases, drop them."""

    def __init__(self, port: int = 5432, host: str = '127.0.0.1', user: str = 'postgres', password: str = '') -> None:
        self.host, self.port, self.user, self.password = host, port, user, password

    def uri(self, database: str) -> str:
        password = f':{quote(self.password, safe="")}' if self.password else ''
        return f'postgresql://{quote(self.user, safe="")}{password}@{self.host}:{self.port}/{database}'

    def usable(self) -> bool:
        try:
            self.run('SELECT 1')
        except psycopg2.OperationalError:
            return False
        return True

    def run(self, statement: str, *values: object, database: str = 'postgres') -> list[tuple[object, ...]]:
        """Execute one statement outside of any transaction; its rows, if it has any."""
        connection = psycopg2.connect(self.uri(database), connect_timeout=3)
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(statement, values)
                return list(cursor.fetchall()) if cursor.description else []
        finally:
            connection.close()

    def create_database(self, prefix: str = 'webhookd_test', template: str | None = None) -> str:
        name = f'{prefix}_{uuid.uuid4().hex[:12]}'
        self.run(f'CREATE DATABASE {name}' + (f' TEMPLATE {template}' if template else ''))
        return name

    def drop_database(self, name: str) -> None:
        self.run(f'DROP DATABASE IF EXISTS {name} WITH (FORCE)')

    def stop(self) -> None:
        """Somebody else's server: left alone."""


class PrivatePostgres(Postgres):
    """A server of our own."""

    def __init__(self) -> None:
        super().__init__(port=free_port())
        self.folder = Path(tempfile.mkdtemp(prefix='webhookd-pg-'))
        self.data = self.folder / 'data'
        self._bin = _postgres_programs()
        self._user = _other_user('postgres') if os.geteuid() == 0 else None
        if self._user:
            account = pwd.getpwnam(self._user)
            os.chown(self.folder, account.pw_uid, account.pw_gid)
        self.program: Program | None = None
        self._init()

    def _init(self) -> None:
        command = [
            self._bin / 'initdb',
            '--no-sync',
            '--auth=trust',
            '-U',
            'postgres',
            '-E',
            'UTF8',
            '--locale=C',
            '-D',
            self.data,
        ]
        done = subprocess.run(
            list(map(str, command)),
            capture_output=True,
            text=True,
            check=False,
            cwd=self.folder,
            user=self._user,
            group=self._user,
            extra_groups=[] if self._user else None,
        )
        assert done.returncode == 0, done.stderr

    def start(self) -> None:
        """Listen; returns when connections are accepted."""
        settings = {
            'port': self.port,
            'listen_addresses': '127.0.0.1',
            'unix_socket_directories': '',
            'fsync': 'off',
            'max_connections': 200,
        }
        options = [word for key, value in settings.items() for word in ('-c', f'{key}={value}')]

        def attempt() -> bool:
            # Right after a kill -9 the shared memory of the last run may still be held.
            if self.program is None or not self.program.alive():
                command = [str(self._bin / 'postgres'), '-D', str(self.data), *options]
                self.program = Program(command, self.folder / 'log', directory=self.folder, user=self._user)
            return self.usable()

        until(attempt, 30, every=0.1, what='PostgreSQL accepts connections', catching=psycopg2.Error)

    def stop(self) -> None:
        """Fast shutdown: clients are disconnected."""
        if self.program is not None and self.program.alive():
            self.program.stop(30, signal.SIGINT)

    def kill(self) -> None:
        """kill -9 of all its processes."""
        assert self.program is not None
        self.program.kill_all()

    def restart(self) -> None:
        self.stop()
        self.start()

    def wipe(self) -> None:
        """Everything gone: an empty server afterwards (stopped before, started again)."""
        self.stop()
        shutil.rmtree(self.data)
        self._init()
        self.start()

    def remove(self) -> None:
        if self.program is not None:
            self.program.clean_up()
        shutil.rmtree(self.folder, ignore_errors=True)


class Rabbit:
    """A RabbitMQ server that one may use: create virtual hosts, delete them."""

    def __init__(self, port: int = 5672, host: str = '127.0.0.1', environment: dict[str, str] | None = None) -> None:
        self.host, self.port = host, port
        self._environment = environment  # of rabbitmqctl, when the server is a private one

    def url(self, vhost: str = '/') -> str:
        return f'amqp://guest:guest@{self.host}:{self.port}/{quote(vhost, safe="")}'

    def usable(self) -> bool:
        """Whether it listens and we may administer it."""
        return answers(self.port) and shutil.which('rabbitmqctl') is not None and self._try('-q', 'list_vhosts')

    def ctl(self, *words: str) -> str:
        done = self._ctl(words)
        assert done.returncode == 0, f'rabbitmqctl {" ".join(words)}: {done.stdout}{done.stderr}'
        return done.stdout

    @classmethod
    def described(cls, text: str) -> Rabbit:
        return cls(**json.loads(text))

    def create_vhost(self, prefix: str = 'webhookd-test') -> str:
        name = f'{prefix}-{uuid.uuid4().hex[:12]}'
        self.ctl('add_vhost', name)
        self.ctl('set_permissions', '-p', name, 'guest', '.*', '.*', '.*')
        return name

    def delete_vhost(self, name: str) -> None:
        self._try('delete_vhost', name)

    def close_connections(self, vhost: str, reason: str = 'cut by a test') -> None:
        """Cut every client of the virtual host off."""
        self.ctl('close_all_connections', '--vhost', vhost, reason)

    def stop(self) -> None:
        """Somebody else's server: left alone."""

    def _try(self, *words: str) -> bool:
        return self._ctl(words).returncode == 0

    def _ctl(self, words: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
        program = str(RABBITMQ / 'rabbitmqctl') if self._environment else 'rabbitmqctl'
        return subprocess.run(
            [program, *words], capture_output=True, text=True, check=False, env=self._environment, timeout=60
        )


class PrivateRabbit(Rabbit):
    """A server of our own, with its own Erlang port mapper, which is stopped with it."""

    def __init__(self) -> None:
        super().__init__(port=free_port())
        self.folder = Path(tempfile.mkdtemp(prefix='webhookd-mq-'))
        (self.folder / 'plugins').write_text('[].\n')
        (self.folder / 'conf').write_text(
            f'listeners.tcp.local = 127.0.0.1:{self.port}\nvm_memory_high_watermark.relative = 0.2\n'
        )
        (self.folder / 'env').write_text('')
        self._epmd_port = free_port()
        self._environment = {
            'PATH': os.environ['PATH'],
            'HOME': str(self.folder),
            'LANG': 'C.UTF-8',
            'RABBITMQ_NODENAME': f'webhookd-{self.port}@localhost',
            'RABBITMQ_BASE': str(self.folder),
            'RABBITMQ_MNESIA_BASE': str(self.folder / 'mnesia'),
            'RABBITMQ_LOG_BASE': str(self.folder / 'log'),
            'RABBITMQ_CONFIG_FILE': str(self.folder / 'conf'),
            'RABBITMQ_CONF_ENV_FILE': str(self.folder / 'env'),
            'RABBITMQ_ENABLED_PLUGINS_FILE': str(self.folder / 'plugins'),
            'RABBITMQ_PID_FILE': str(self.folder / 'pid'),
            'RABBITMQ_GENERATED_CONFIG_DIR': str(self.folder / 'generated'),
            'RABBITMQ_SCHEMA_DIR': str(self.folder / 'schema'),
            'RABBITMQ_DIST_PORT': str(free_port()),
            'RABBITMQ_CTL_DIST_PORT_MIN': '20000',
            'RABBITMQ_CTL_DIST_PORT_MAX': '60000',
            'ERL_EPMD_PORT': str(self._epmd_port),
            'ERL_EPMD_ADDRESS': '127.0.0.1',
            'RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS': '-kernel inet_dist_use_interface {127,0,0,1}',
        }
        self.program: Program | None = None

    def describe(self) -> str:
        """What another process needs to use it (``Rabbit.described``)."""
        return json.dumps({'port': self.port, 'environment': self._environment})

    def start(self) -> None:
        """Listen; returns when connections are accepted (about seven seconds)."""
        assert RABBITMQ.is_dir(), 'RabbitMQ is not installed: apt-get install rabbitmq-server'
        self.program = Program(
            [str(RABBITMQ / 'rabbitmq-server')],
            self.folder / 'output',
            environment=self._environment,
            directory=self.folder,
        )
        program = self.program
        until(lambda: answers(self.port) or not program.alive(), 60, every=0.1, what='RabbitMQ listens')
        assert program.alive(), program.tail()
        until(lambda: self._try('-q', 'await_startup'), 30, what='RabbitMQ is ready')

    def stop(self) -> None:
        if self.program is not None and self.program.alive():
            self.program.stop(60)

    def kill(self) -> None:
        """kill -9 of all its processes."""
        assert self.program is not None
        self.program.kill_all()

    def restart(self) -> None:
        self.stop()
        self.start()

    def wipe(self) -> None:
        """Everything gone: an empty server afterwards (stopped before, started again; virtual hosts too)."""
        self.stop()
        shutil.rmtree(self.folder / 'mnesia')
        self.start()

    def remove(self) -> None:
        if self.program is not None:
            self.program.clean_up()
        for process in psutil.process_iter(['name', 'environ']):
            if process.info['name'] == 'epmd' and (process.info['environ'] or {}).get('HOME') == str(self.folder):
                process.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


def find_postgres() -> Postgres:
    """The server that WEBHOOKD_TEST_POSTGRESQL names (a URI), else the one on the usual port, else a private one."""
    asked = os.environ.get('WEBHOOKD_TEST_POSTGRESQL')
    if asked:
        parts = urlsplit(asked)
        return Postgres(
            parts.port or 5432,
            parts.hostname or '127.0.0.1',
            unquote(parts.username or 'postgres'),
            unquote(parts.password or ''),
        )
    server = Postgres()
    if server.usable():
        return server
    private = PrivatePostgres()
    private.start()
    return private


def find_rabbit() -> Rabbit:
    """The server that WEBHOOKD_TEST_RABBITMQ describes, else the one on the usual port, else a private one."""
    asked = os.environ.get('WEBHOOKD_TEST_RABBITMQ')
    if asked:
        return Rabbit.described(asked)
    server = Rabbit()
    if server.usable():
        return server
    private = PrivateRabbit()
    private.start()
    return private


def _postgres_programs() -> Path:
    found = sorted(Path('/usr/lib/postgresql').glob('*/bin/postgres'), key=lambda path: int(path.parts[-3]))
    assert found, 'PostgreSQL is not installed: apt-get install postgresql'
    return found[-1].parent


def _other_user(*names: str) -> str:
    for name in (*names, 'nobody'):
        try:
            return pwd.getpwnam(name).pw_name
        except KeyError:
            continue
    raise AssertionError('PostgreSQL refuses to run as root, and there is no other user')
