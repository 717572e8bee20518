"""What REST costs: each request against a bare Flask-RESTful resource behind the same server with the same threads.

    python -m benchmarks.rest [--seconds S] [--rounds N] [--subscriptions N] [--json FILE]

The daemon runs with PostgreSQL, RabbitMQ and a wazo-auth double; tokens are cached as by default. Rates are medians
over the rounds, taken in turns; ratios are those within one round. Prints one table, and the goals that were met.
"""

from __future__ import annotations

import argparse
import json
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import flask
import flask_restful
import psutil
from sqlalchemy import insert

from integration_tests.conftest import prepare
from integration_tests.support.auth_double import MASTER, AuthDouble
from integration_tests.support.ports import free_port
from integration_tests.support.receiver import Receiver
from integration_tests.support.servers import find_postgres, find_rabbit
from integration_tests.support.site import Daemon, Site
from integration_tests.support.until import until
from wazo_webhookd import config as configuration
from wazo_webhookd.database import facts, models
from wazo_webhookd.database.session import Database
from wazo_webhookd.http_server import HttpServer

CONNECTIONS = (1, 10)
LOGS = 1000
BODY = {
    'name': 'benchmark', 'service': 'http', 'events': [f'event_{n}' for n in range(10)],
    'config': {'url': 'http://127.0.0.1:9/', 'method': 'post', 'content_type': 'application/json'},
    'metadata': {'a': '1', 'b': '2', 'c': '3'},
}  # fmt: skip
ANSWER = {'uuid': str(uuid.uuid4()), **BODY, 'events_user_uuid': None, 'events_wazo_uuid': None,
          'owner_user_uuid': None, 'owner_tenant_uuid': MASTER}  # fmt: skip


# -- the bare resource, in a process of its own


class Bare(flask_restful.Resource):  # type: ignore[misc]
    def get(self) -> Any:
        return ANSWER

    def post(self) -> Any:
        return flask.request.get_json(), 201


def serve_bare(port: int) -> None:
    app = flask.Flask('bare')
    flask_restful.Api(app).add_resource(Bare, '/bare')
    HttpServer(configuration.from_tree({'rest_api': {'port': port}}).rest_api, app).run()


# -- a client that costs little, in a process of its own


def load(port: int, request: bytes, connections: int, seconds: float) -> float:
    """Answers per second."""
    counts = [0] * connections
    end = time.perf_counter() + seconds

    def ask(number: int) -> None:
        with socket.create_connection(('127.0.0.1', port)) as connection, connection.makefile('rb') as answers:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while time.perf_counter() < end:
                connection.sendall(request)
                status = answers.readline()
                length = 0
                while (line := answers.readline()) != b'\r\n':
                    if line[:15].lower() == b'content-length:':
                        length = int(line[15:])
                answers.read(length)
                if not status.startswith(b'HTTP/1.1 20'):
                    raise RuntimeError(f'{request[:100]!r}: {status!r}')
                counts[number] += 1

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(connections)]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / (time.perf_counter() - started)


def measured(port: int, request: bytes, connections: int, seconds: float) -> float:
    command = [sys.executable, '-m', 'benchmarks.rest', '--load', str(port), str(connections), str(seconds)]
    done = subprocess.run(command, input=request, capture_output=True, check=True)
    return float(done.stdout)


def http_request(method: str, path: str, token: str = '', tenant: str = '', body: Any = None) -> bytes:
    content = b'' if body is None else json.dumps(body).encode()
    lines = [f'{method} {path} HTTP/1.1', 'Host: 127.0.0.1', f'Content-Length: {len(content)}']
    lines += [f'X-Auth-Token: {token}'] * bool(token) + [f'Wazo-Tenant: {tenant}'] * bool(tenant)
    lines += ['Content-Type: application/json'] * bool(content)
    return '\r\n'.join([*lines, '', '']).encode() + content


# -- the installation


def fill(database: Database, tenant: str, count: int) -> str:
    """Subscriptions with ten events, three options and three metadata each; the uuid of one with logs."""
    now = datetime.now(UTC)
    uuids = [str(uuid.uuid4()) for _ in range(count)]
    with database.transaction() as connection:
        for start in range(0, count, 1000):
            some = uuids[start : start + 1000]
            connection.execute(
                insert(models.Subscription.__table__),
                [{'uuid': u, 'name': f'n{n}', 'service': 'http', 'owner_tenant_uuid': tenant,
                  'created_at': now + timedelta(microseconds=start + n)} for n, u in enumerate(some)],
            )  # fmt: skip
            connection.execute(
                insert(models.SubscriptionEvent.__table__),
                [{'uuid': str(uuid.uuid4()), 'subscription_uuid': u, 'event_name': f'event_{(n * 7 + e) % 200}',
                  'position': e} for n, u in enumerate(some) for e in range(10)],
            )  # fmt: skip
            options = {'url': 'http://127.0.0.1:9/', 'method': 'post', 'content_type': 'application/json'}
            connection.execute(
                insert(models.SubscriptionOption.__table__),
                [{'uuid': str(uuid.uuid4()), 'subscription_uuid': u, 'name': k, 'value': v}
                 for u in some for k, v in options.items()],
            )  # fmt: skip
            connection.execute(
                insert(models.SubscriptionMetadatum.__table__),
                [
                    {'uuid': str(uuid.uuid4()), 'subscription_uuid': u, 'key': k, 'value': 'v'}
                    for u in some
                    for k in 'abc'
                ],
            )
        detail = {'request_method': 'POST', 'request_url': 'http://127.0.0.1:9/', 'response_status_code': 200}
        connection.execute(
            insert(models.SubscriptionLog.__table__),
            [{'uuid': str(uuid.uuid4()), 'subscription_uuid': uuids[0], 'status': 'success', 'attempts': 1,
              'max_attempts': 11, 'started_at': now + timedelta(seconds=n), 'ended_at': now + timedelta(seconds=n),
              'event': {'name': 'event_0', 'data': {'n': n}}, 'detail': detail} for n in range(LOGS)],
        )  # fmt: skip
        facts.bump(connection, 'index_version')
    with database.own_connection(autocommit=True) as connection:
        connection.exec_driver_sql('VACUUM ANALYZE')
    return uuids[0]


@contextmanager
def installation() -> Iterator[Site]:
    postgres, rabbit = find_postgres(), find_rabbit()
    name, vhost = postgres.create_database('webhookd_bench'), rabbit.create_vhost('webhookd-bench')
    auth, receiver = AuthDouble(), Receiver()
    auth.start()
    try:
        prepare(postgres, name)
        with tempfile.TemporaryDirectory() as folder, receiver:
            site = Site(Path(folder), postgres, name, rabbit, vhost, auth, receiver)
            site.configure(auth={'cache_seconds': 5}, celery={'start_workers': False}, log_file=None)
            site.bus.declare_exchange()
            yield site
            site.clean_up()
    finally:
        auth.stop()
        rabbit.delete_vhost(vhost)
        postgres.drop_database(name)
        for server in (postgres, rabbit):
            if hasattr(server, 'remove'):
                server.remove()


def started(site: Site, name: str) -> tuple[Daemon, float, float]:
    """A daemon, the seconds until it listened, and its memory (MiB) once it knows all subscriptions."""
    port = free_port()
    begin = time.perf_counter()
    daemon = site.daemon(name, port=port)
    until(lambda: socket.create_connection(('127.0.0.1', port), 1).close() is None, 60, catching=OSError)
    seconds = time.perf_counter() - begin
    until(lambda: daemon.rest.status()['bus_consumer']['status'] == 'ok', 60, what='the bus is connected')
    time.sleep(3)
    return daemon, seconds, psutil.Process(daemon.pid).memory_info().rss / 2**20


def run(seconds: float = 1.5, rounds: int = 3, subscriptions: int = 10_000) -> dict[str, Any]:
    """Everything, as plain data: ``rates`` (per second, by request and connections), ``ratios``, ``goals`` …"""
    with installation() as site:
        starts = []
        for number in range(rounds):
            daemon, empty_seconds, empty_memory = started(site, f'empty{number}')
            daemon.stop()
            starts.append((empty_seconds, empty_memory))
        database = Database.from_uri(site.postgres.uri(site.database), pool_size=1)
        small = site.auth.add_tenant()
        with_logs = fill(database, MASTER, subscriptions)
        fill(database, small, 100)
        database.dispose()
        full = []
        for number in range(rounds):
            daemon, full_seconds, full_memory = started(site, f'full{number}')
            full.append((full_seconds, full_memory))
            if number < rounds - 1:
                daemon.stop()
        rates = measure(daemon.port, site.token, small, with_logs, seconds, rounds)
    return judged(rates, starts, full)


def measure(
    port: int, token: str, small: str, with_logs: str, seconds: float, rounds: int
) -> dict[tuple[str, int], list[float]]:
    bare_port = free_port()
    bare = subprocess.Popen([sys.executable, '-m', 'benchmarks.rest', '--serve-bare', str(bare_port)])
    listing, one = '/1.0/subscriptions?limit=100', f'/1.0/subscriptions/{with_logs}'
    requests = {
        'bare get': (bare_port, http_request('GET', '/bare')),
        'get one': (port, http_request('GET', one, token)),
        'list 100 of all': (port, http_request('GET', listing, token)),
        'list 100 of 100': (port, http_request('GET', listing, token, small)),
        'logs 100 of 1000': (port, http_request('GET', f'{one}/logs?limit=100', token)),
        'bare post': (bare_port, http_request('POST', '/bare', body=BODY)),
        'post': (port, http_request('POST', '/1.0/subscriptions', token, body=BODY)),
    }
    rates: dict[tuple[str, int], list[float]] = {}
    try:
        until(lambda: socket.create_connection(('127.0.0.1', bare_port), 1).close() is None, 20, catching=OSError)
        for number in range(rounds + 1):  # the first is to warm up
            for connections in CONNECTIONS:
                for name, (where, request) in requests.items():
                    rate = measured(where, request, connections, seconds if number else 0.3)
                    if number:
                        rates.setdefault((name, connections), []).append(rate)
    finally:
        bare.terminate()
        bare.wait(10)
    return rates


def judged(
    rates: dict[tuple[str, int], list[float]], empty: list[tuple[float, float]], full: list[tuple[float, float]]
) -> dict[str, Any]:
    def ratio(name: str, other: str, connections: int) -> float:
        pairs = zip(rates[name, connections], rates[other, connections], strict=True)
        return round(statistics.median(one / another for one, another in pairs), 3)

    def median(values: list[tuple[float, float]], index: int) -> float:
        return round(statistics.median(value[index] for value in values), 2)

    ratios = {}
    for name in ('get one', 'list 100 of all', 'list 100 of 100', 'logs 100 of 1000', 'post'):
        against = 'bare post' if name == 'post' else 'bare get'
        ratios[name] = {connections: ratio(name, against, connections) for connections in CONNECTIONS}
    cost = {connections: ratio('list 100 of 100', 'list 100 of all', connections) for connections in CONNECTIONS}
    later = round(median(full, 0) - median(empty, 0), 2)
    memory = round(median(full, 1) - median(empty, 1), 1)
    per_second = {f'{name}, {connections}': round(statistics.median(r)) for (name, connections), r in rates.items()}
    return {
        'per_second': per_second,
        'ratio_to_bare': ratios,
        'cost_of_list_of_all_to_list_of_100': cost,
        'seconds_to_listening': {'none': median(empty, 0), 'all': median(full, 0)},
        'memory_mib': {'none': median(empty, 1), 'all': median(full, 1)},
        'goals': {
            'get one at least 0.5 of the bare resource': min(ratios['get one'].values()) >= 0.5,
            'listing 100 of all at most 1.3 times 100 of 100': max(cost.values()) <= 1.3,
            'listening within 2 s of a start with none': later <= 2,
            'at most 40 MiB more': memory <= 40,
        },
    }  # fmt: skip


def shown(result: dict[str, Any]) -> str:
    lines = [f'{"request":20} {"connections":>11} {"per second":>11} {"to bare":>8}']
    for key, rate in result['per_second'].items():
        name, _, connections = key.rpartition(', ')
        to_bare = result['ratio_to_bare'].get(name, {}).get(int(connections))
        lines.append(f'{name:20} {connections:>11} {rate:>11} {"" if to_bare is None else to_bare:>8}')
    cost = result['cost_of_list_of_all_to_list_of_100']
    costs = ', '.join(f'{value} ({connections})' for connections, value in cost.items())
    lines.append(f'cost of a list of 100 of all, to one of 100 of 100 (connections): {costs}')
    for what, unit in (('seconds_to_listening', 's to listening'), ('memory_mib', 'MiB')):
        values = result[what]
        lines.append(f'{unit}: {values["none"]} with no subscription, {values["all"]} with all')
    lines += [f'{"met   " if met else "MISSED"} {goal}' for goal, met in result['goals'].items()]
    return '\n'.join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--seconds', type=float, default=1.5, help='of each measurement')
    parser.add_argument('--rounds', type=int, default=3)
    parser.add_argument('--subscriptions', type=int, default=10_000)
    parser.add_argument('--json', type=Path, help='write the result there')
    parser.add_argument('--serve-bare', type=int, help=argparse.SUPPRESS)
    parser.add_argument('--load', nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve_bare:
        serve_bare(arguments.serve_bare)
    elif arguments.load:
        port, connections, seconds = arguments.load
        print(load(int(port), sys.stdin.buffer.read(), int(connections), float(seconds)))
    else:
        result = run(arguments.seconds, arguments.rounds, arguments.subscriptions)
        if arguments.json:
            arguments.json.write_text(json.dumps(result, indent=2))
        print(shown(result))


if __name__ == '__main__':
    main()
