"""What the daemon's side of a delivery costs: events in, rows, admission, messages out, words back.

    python -m benchmarks.dispatch [--events N] [--subscriptions N] [--backlog N] [--rounds N]

The workers' side is a process that acknowledges messages and ends deliveries in groups, as the recorder does, without
running anything. ``--backlog``: so many deliveries wait for an endpoint that rests. Prints a JSON object: deliveries
per second, milliseconds of the daemon's processor time for each, megabytes of memory that it grew by.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import amqp
import psutil
from celery import Celery
from sqlalchemy import insert, text

from integration_tests.support.servers import find_postgres, find_rabbit
from wazo_webhookd import celery as celery_module
from wazo_webhookd.config import from_tree
from wazo_webhookd.database import processes, schema
from wazo_webhookd.database.models import Subscription, SubscriptionEvent, SubscriptionOption
from wazo_webhookd.database.session import Database
from wazo_webhookd.deliveries.admitter import Admitter
from wazo_webhookd.deliveries.desk import Desk
from wazo_webhookd.deliveries.intake import Arrival, Intake
from wazo_webhookd.deliveries.sender import Sender
from wazo_webhookd.domain.admission import Rules
from wazo_webhookd.domain.delivery import TICKET_HEADER, WORD_CHANNEL, Word, pack_words
from wazo_webhookd.domain.event import Event
from wazo_webhookd.domain.retry import Schedule
from wazo_webhookd.subscriptions.catalog import Catalog

PREFETCH = 500
HANDS = 256
QUEUE = 'dispatch-bench'
TENANT = '2c34c282-433e-4bb8-8d56-fec14ff7e1e9'
DATA = {'call_id': '1719345600.42', 'caller_id_number': '1001', 'caller_id_name': 'Alice'}


def work(uri: str, broker: str) -> None:
    """The workers: end every delivery that comes, in groups."""
    database = Database.from_uri(uri)
    connection = amqp.Connection(**json.loads(broker))
    connection.connect()
    channel = connection.channel()
    channel.basic_qos(0, HANDS, False)
    group: list[Any] = []
    channel.basic_consume(QUEUE, callback=group.append)
    print('ready', flush=True)
    with database.own_connection(autocommit=True) as rows:
        while True:
            try:
                connection.drain_events(timeout=0.002)
                if len(group) < 100:
                    continue
            except TimeoutError:
                pass
            if not group:
                continue
            done, group[:] = list(group), []
            tickets = [json.loads(message.headers[TICKET_HEADER]) for message in done]
            rows.execute(
                text("UPDATE webhookd_delivery SET state = 'success', ended_at = now() WHERE uuid = ANY(:uuids)"),
                {'uuids': sorted(ticket['delivery'] for ticket in tickets)},
            )
            words = [Word(ticket['delivery'], ticket['attempt'], ticket['send'], 'success', 0.01) for ticket in tickets]
            for piece in pack_words(words):
                rows.execute(text('SELECT pg_notify(:channel, :piece)'), {'channel': WORD_CHANNEL, 'piece': piece})
            channel.basic_ack(done[-1].delivery_tag, multiple=True)


def add_subscriptions(database: Database, number: int, name: str, host: str) -> list[str]:
    uuids = [str(uuid4()) for _ in range(number)]
    with database.transaction() as connection:
        connection.execute(
            insert(Subscription.__table__),
            [{'uuid': uuid, 'name': 'bench', 'service': 'http', 'owner_tenant_uuid': TENANT} for uuid in uuids],
        )
        connection.execute(
            insert(SubscriptionEvent.__table__),
            [{'uuid': str(uuid4()), 'subscription_uuid': uuid, 'event_name': name} for uuid in uuids],
        )
        connection.execute(
            insert(SubscriptionOption.__table__),
            [
                {'uuid': str(uuid4()), 'subscription_uuid': uuid, 'name': key, 'value': value}
                for uuid in uuids
                for key, value in (('url', f'http://{host}/x'), ('method', 'post'))
            ],
        )
    return uuids


def add_backlog(database: Database, number: int, subscription: str) -> None:
    with database.transaction() as connection:
        connection.execute(
            text(
                'INSERT INTO webhookd_endpoint (key, tenant_uuid, standing, circuit, resting_until, updated_at)'
                " VALUES (:key, :tenant, 'poor', 'open', now() + interval '1 hour', now())"
            ),
            {'key': f'{TENANT}|http://dead:80', 'tenant': TENANT},
        )
        connection.execute(
            text(
                'INSERT INTO webhookd_delivery (uuid, sequence, subscription_uuid, tenant_uuid, event_uuid, event_name,'
                ' state, max_attempts, due_at, created_at, expires_at)'
                " SELECT gen_random_uuid()::text, n, :subscription, :tenant, 'none', 'dead', 'waiting', 11,"
                " now(), now(), now() + interval '30 days' FROM generate_series(1, :number) AS n"
            ),
            {'subscription': subscription, 'tenant': TENANT, 'number': number},
        )
    with database.own_connection(autocommit=True) as connection:
        connection.execute(text('VACUUM ANALYZE webhookd_delivery'))


class Line:
    """The daemon's side, in this process."""

    def __init__(self, database: Database, broker_url: str, suspects: str = '') -> None:
        config = from_tree({'celery': {'broker': broker_url, 'queue_name': QUEUE}}, standalone=False, data_dir=None)
        self.app = Celery(set_as_current=False)
        celery_module.configure(self.app, config)
        self.life = str(uuid4())
        with database.transaction() as connection:
            processes.register(connection, self.life, 'daemon', 'bench', 1, 0)
            for _ in range(2):
                processes.register(connection, str(uuid4()), 'worker', 'bench', 2, HANDS // 2)
        self.catalog = Catalog()
        self.catalog.load(database)
        self.desk = Desk(database, self.catalog, Rules(), life=self.life)
        route = SimpleNamespace(task_name=celery_module.HOOK_RUNNER, ep_name='wazo_webhookd.x:Service', contract='run')
        self.sender = Sender(self.app, lambda name: route, self.desk.clock, suspects)
        schedule = Schedule((0.0, 5.0, 30.0))
        self.intake = Intake(self.desk, self.sender, schedule, retention_days=30)
        self.admitter = Admitter(self.desk, self.sender, origin_uuid='origin', retention_days=30)
        self.ended = 0
        ears = self.admitter._ears
        self._heard, ears.hear = ears.hear, self._hear  # type: ignore[method-assign]  # counts
        self._room = threading.Semaphore(PREFETCH)
        self._database = database
        self._keeper = threading.Thread(target=self._keep_alive, daemon=True)

    def start(self) -> None:
        self._keeper.start()
        for part in (self.sender, self.admitter, self.intake):
            part.start()
        while not (self.desk.lease.held and self.sender.ready and self.desk.admission.open):
            time.sleep(0.05)

    def stop(self) -> None:
        for part in (self.intake, self.admitter, self.sender):
            part.stop()

    def _keep_alive(self) -> None:
        while True:
            time.sleep(5)
            with self._database.transaction() as connection:
                connection.execute(text('UPDATE webhookd_process SET seen_at = clock_timestamp()'))

    def feed(self, name: str, count: int) -> None:
        """As the bus consumer does: at most PREFETCH events are under way."""
        headers = {'name': name, 'tenant_uuid': TENANT, 'user_uuid:*': True, 'origin_uuid': 'origin'}
        for number in range(count):
            body = {**headers, 'data': {**DATA, 'n': number}}
            event = Event(
                str(uuid4()), name, headers, body, json.dumps(body), 'bus', datetime.now(UTC), fingerprint=str(number)
            )
            self._room.acquire()
            self.intake.submit(Arrival(event, lambda answer: self._room.release()))

    def _hear(self, words: Sequence[Word]) -> None:
        self.ended += len(words)
        self._heard(words)

    def run(self, name: str, events: int, per_event: int) -> dict[str, float]:
        before = self.ended
        started, processor = time.perf_counter(), time.process_time()
        self.feed(name, events)
        while self.ended < before + events * per_event:
            time.sleep(0.02)
        seconds, processor = time.perf_counter() - started, time.process_time() - processor
        deliveries = events * per_event
        return {'per_second': round(deliveries / seconds), 'cpu_ms': round(1000 * processor / deliveries, 4)}


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    postgres, rabbit = find_postgres(), find_rabbit()
    vhost = rabbit.create_vhost()
    name = postgres.create_database('webhookd_dispatch')
    uri = postgres.uri(name)
    address = f'{rabbit.host}:{rabbit.port}'
    database = Database.from_uri(uri)
    worker: subprocess.Popen[str] | None = None
    line: Line | None = None
    try:
        schema.upgrade(uri)
        add_subscriptions(database, 1, 'single', 'one')
        add_subscriptions(database, arguments.subscriptions, 'fan', 'many')
        if arguments.backlog:
            [dead] = add_subscriptions(database, 1, 'dead', 'dead')
            add_backlog(database, arguments.backlog, dead)
        line = Line(database, f'amqp://guest:guest@{address}/{vhost}')
        line.start()
        broker = json.dumps({'host': address, 'userid': 'guest', 'password': 'guest', 'virtual_host': vhost})
        worker = subprocess.Popen(
            [sys.executable, '-m', 'benchmarks.dispatch', '--work', uri, broker], stdout=subprocess.PIPE, text=True
        )
        assert worker.stdout is not None
        worker.stdout.readline()
        line.run('single', 1000, 1)
        memory = psutil.Process().memory_info().rss
        results: dict[str, Any] = {
            'single': [line.run('single', arguments.events, 1) for _ in range(arguments.rounds)],
            'fan_out': [
                line.run('fan', arguments.events // arguments.subscriptions, arguments.subscriptions)
                for _ in range(arguments.rounds)
            ],
        }
        results['grown_mb'] = round((psutil.Process().memory_info().rss - memory) / 1e6, 1)
        results['held'] = line.desk.admission.held
        return results
    finally:
        if worker is not None:
            worker.kill()
            worker.wait()
        if line is not None:
            line.stop()
        database.dispose()
        rabbit.delete_vhost(vhost)
        postgres.drop_database(name)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--events', type=int, default=5000)
    parser.add_argument('--subscriptions', type=int, default=100)
    parser.add_argument('--backlog', type=int, default=0)
    parser.add_argument('--rounds', type=int, default=3)
    parser.add_argument('--work', nargs=2, metavar=('URI', 'BROKER'), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.work:
        work(*arguments.work)
    else:
        print(json.dumps(measure(arguments), indent=2))


if __name__ == '__main__':
    main()
