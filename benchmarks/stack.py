"""What every benchmark stands on: a whole installation as it comes, a fast receiver, a bare loop beside it."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import amqp
import psutil

from integration_tests.conftest import prepare
from integration_tests.support.auth_double import AuthDouble
from integration_tests.support.bus import WAZO_UUID, event
from integration_tests.support.receiver import Receiver as RecordingReceiver
from integration_tests.support.servers import PrivatePostgres, PrivateRabbit, find_postgres, find_rabbit
from integration_tests.support.site import Daemon, Site

HERE = Path(__file__).parent


class FastReceiver:
    """``receiver.py`` in its process."""

    def __init__(self, delay: float = 0.0) -> None:
        command = [sys.executable, str(HERE / 'receiver.py'), '--delay', str(delay)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline())

    def url(self, path: str = '/x') -> str:
        return f'http://127.0.0.1:{self.port}{path}'

    def _ask(self, path: str) -> Any:
        with urllib.request.urlopen(self.url(path), timeout=30) as answer:
            return json.load(answer)

    def count(self) -> int:
        return int(self._ask('/_count'))

    def reset(self) -> None:
        self._ask('/_reset')

    def arrivals(self) -> list[tuple[str, float]]:
        return [(path, at) for path, at in self._ask('/_arrivals')]

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()


class Stack:
    """A running daemon with its workers, in the default configuration but for where things are."""

    def __init__(self, site: Site, daemon: Daemon) -> None:
        self.site, self.daemon, self.rest = site, daemon, daemon.rest
        self._connection = amqp.Connection(
            host=f'{site.rabbit.host}:{site.rabbit.port}', userid='guest', password='guest', virtual_host=site.vhost
        )
        self._connection.connect()
        self._channel = self._connection.channel()

    def publish(self, name: str, count: int, *, tenant: str | None = None, first: int = 0) -> None:
        """Publish ``count`` events in a row, unconfirmed, as fast as it goes."""
        headers = event(name, tenant=tenant)
        for number in range(first, first + count):
            self.publish_one(headers, number)

    def publish_one(self, headers: dict[str, Any], number: int) -> None:
        data = {'call_id': '1719345600.42', 'caller_id_number': '1001', 'caller_id_name': 'Alice', 'n': number}
        body = json.dumps({**headers, 'data': data})
        message = amqp.Message(
            body,
            application_headers=headers,
            content_type='application/json',
            content_encoding='utf-8',
            delivery_mode=2,
        )
        self._channel.basic_publish(message, self.site.bus.exchange, headers['name'])

    def publish_past_exchange(self, body: str, headers: dict[str, Any]) -> None:
        """Straight into the queue, as if its name were bound."""
        message = amqp.Message(
            body, application_headers=headers, content_type='application/json', content_encoding='utf-8'
        )
        self._channel.basic_publish(message, '', self.site.queue)

    def succeeded(self) -> int:
        """Attempts that ended well."""
        statement = "SELECT count(*) FROM webhookd_subscription_log WHERE status = 'success'"
        return int(self.site.query(statement)[0][0])

    def attempts(self) -> int:
        """Rows in the log of attempts."""
        return int(self.site.query('SELECT count(*) FROM webhookd_subscription_log')[0][0])

    def wait_for_attempts(self, count: int, seconds: float = 120) -> float:
        """Wait until so many attempts are recorded; the time (time.perf_counter) at which they were seen."""
        deadline = time.monotonic() + seconds
        while (seen := self.attempts()) < count:
            if time.monotonic() > deadline:
                raise SystemExit(f'only {seen} of {count} attempts were recorded within {seconds:g} s')
            time.sleep(0.02 if count - seen < 500 else 0.1)
        return time.perf_counter()

    def processes(self) -> list[psutil.Process]:
        return [psutil.Process(self.daemon.pid), *self.daemon.children()]

    def cpu(self) -> dict[int, float]:
        """Processor seconds used so far, by process id."""
        return {process.pid: sum(process.cpu_times()[:2]) for process in self.processes()}

    def memory(self) -> float:
        """MiB that all our processes together have for themselves (unique set size)."""
        return sum(process.memory_full_info().uss for process in self.processes()) / 2**20


@contextmanager
def stack(**sections: Any) -> Iterator[Stack]:
    """Run the whole program; ``sections`` are laid over its configuration."""
    postgres, rabbit = find_postgres(), find_rabbit()
    vhost = rabbit.create_vhost()
    database = postgres.create_database('webhookd_bench')
    prepare(postgres, database)
    auth = AuthDouble(wazo_uuid=WAZO_UUID)
    auth.start()
    try:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder, RecordingReceiver() as unused:
            site = Site(Path(folder), postgres, database, rabbit, vhost, auth, unused)
            for key in ('processes', 'hands'):
                del site.config['celery'][key]
            del site.config['auth']['cache_seconds']
            site.bus.declare_exchange()
            daemon = site.daemon(**sections).ready()
            try:
                yield Stack(site, daemon)
            finally:
                site.clean_up()
                site.bus.close()
    finally:
        auth.stop()
        rabbit.delete_vhost(vhost)
        postgres.drop_database(database)
        for server in (postgres, rabbit):
            if isinstance(server, (PrivatePostgres, PrivateRabbit)):
                server.remove()


def bare(url: str, count: int) -> dict[str, float]:
    """``bare.py`` in its process."""
    command = [sys.executable, str(HERE / 'bare.py'), url, str(count)]
    answer: dict[str, float] = json.loads(subprocess.run(command, capture_output=True, check=True, text=True).stdout)
    return answer


def percentile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
