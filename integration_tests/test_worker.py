"""A real worker, fed by hand: messages published as the daemon would, rows and requests looked at."""

from __future__ import annotations

import json
import os
import signal
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kombu import Connection

from integration_tests.support.figures import Note
from integration_tests.support.programs import Program
from integration_tests.support.receiver import Answer
from integration_tests.support.site import Site
from integration_tests.support.until import for_a_while, until
from wazo_webhookd.deliveries.message import Parcel, Writer
from wazo_webhookd.services.loader import NOWHERE, Route

TENANT = str(uuid.uuid4())
HTTP = Route(NOWHERE.task_name, 'wazo_webhookd.services.http.plugin:Service', 'run')
EXAMPLE = Route(NOWHERE.task_name, 'wazo_webhookd.services.example.plugin:Service', 'run')
ROUTES = {'http': HTTP, 'example': EXAMPLE, 'hanging': Route(NOWHERE.task_name, 'hanging:Service', 'run')}


class Card:
    """A subscription as the sender sees it."""

    def __init__(self, service: str, config: dict[str, Any]) -> None:
        self.uuid = str(uuid.uuid4())
        self.service = service
        self.endpoint = f'sub:{self.uuid}'
        self.subscription = {
            'uuid': self.uuid, 'name': 'test', 'service': service, 'events': ['trigger'], 'config': config,
            'events_user_uuid': None, 'events_wazo_uuid': None, 'owner_user_uuid': None,
            'owner_tenant_uuid': TENANT, 'metadata': {},
        }  # fmt: skip
        self.document = json.dumps(self.subscription).encode()


class Dispatch:
    """Plays the daemon: writes rows that are out, and publishes their messages."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self._connection = Connection(site.rabbit.url(site.vhost))
        self._channel = self._connection.channel()
        self._writer = Writer(lambda name: ROUTES.get(name, NOWHERE))
        self.data: Any = {'a': 1}

    def close(self) -> None:
        self._connection.release()

    def http(self, path: str, **config: str) -> Card:
        return self.subscribe('http', {'url': self.site.receiver.url(path), 'method': 'post', **config})

    def subscribe(self, service: str, config: dict[str, Any]) -> Card:
        card = Card(service, config)
        self.site.query(
            'INSERT INTO webhookd_subscription (uuid, name, service, owner_tenant_uuid) VALUES (%s, %s, %s, %s)',
            card.uuid, 'test', service, TENANT,
        )  # fmt: skip
        return card

    def send(self, card: Card, count: int = 1, *, queue: str = '', **more: Any) -> list[str]:
        uuids = [str(uuid.uuid4()) for _ in range(count)]
        self.site.query(
            'INSERT INTO webhookd_delivery (uuid, sequence, subscription_uuid, tenant_uuid, event_uuid, event_name,'
            ' state, attempt, send, max_attempts, due_at, sent_at, deaths, created_at, expires_at)'
            " SELECT u, n, %s, %s, u, 'trigger', 'out', 1, 1, 3, now(), now(), 0, now(), now() + interval '1 day'"
            ' FROM unnest(%s) WITH ORDINALITY AS new(u, n)',
            card.uuid, TENANT, uuids,
        )  # fmt: skip
        for delivery in uuids:
            self.publish(card, delivery, queue=queue, **more)
        return uuids

    def publish(
        self, card: Card, delivery: str, *, queue: str = '', attempt: int = 1, send: int = 1, age: float = 0.0
    ) -> None:
        event = {'name': 'trigger', 'origin_uuid': 'wazo', 'data': self.data, 'number': 1}
        text = json.dumps(event).replace('"number": 1', '"number": 1e400')
        parcel = Parcel(delivery, card.uuid, delivery, card, text, attempt, send, 3, time.time() - age)
        message = self._writer.write(parcel, 0.0)
        self._channel.basic_publish(
            self._channel.prepare_message(
                message.body, None, 'application/json', 'utf-8', message.headers, message.properties
            ),
            exchange='',
            routing_key=queue or self.site.tasks_queue,
        )

    def states(self, uuids: list[str]) -> list[tuple[Any, ...]]:
        return self.site.query(
            'SELECT state, attempt, send, held_by IS NOT NULL FROM webhookd_delivery WHERE uuid = ANY(%s)'
            ' ORDER BY sequence',
            uuids,
        )

    def logs(self, uuids: list[str]) -> list[tuple[Any, ...]]:
        return self.site.query(
            'SELECT uuid, attempts, status::text, detail, event::text, max_attempts FROM webhookd_subscription_log'
            ' WHERE uuid = ANY(%s) ORDER BY uuid, attempts',
            uuids,
        )

    def ended(self, uuids: list[str], seconds: float = 20) -> list[tuple[Any, ...]]:
        """Wait until every delivery has a log row; those."""

        def all_there() -> list[tuple[Any, ...]] | None:
            rows = self.logs(uuids)
            return rows if len({row[0] for row in rows}) == len(uuids) else None

        rows = until(all_there, seconds, what=f'{len(uuids)} deliveries recorded')
        assert rows
        return rows


@pytest.fixture
def dispatch(site: Site) -> Iterator[Dispatch]:
    playing = Dispatch(site)
    yield playing
    playing.close()
    site.bus.close()  # it may have been cut
    site.bus.delete_queue(f'{site.tasks_queue}.suspects')


def started(site: Site, name: str = 'worker', *args: str, **sections: Any) -> Program:
    """A worker that takes messages."""
    before = _capacity(site)
    program = site.worker(name, *args, **sections)

    def takes() -> bool:
        assert program.alive(), program.tail()
        return _capacity(site) > before

    until(takes, 20, what='the worker has hands')
    return program


def _capacity(site: Site) -> int:
    alive = "ended_at IS NULL AND seen_at > now() - interval '15 s'"
    return int(site.query(f'SELECT coalesce(sum(hands), 0) FROM webhookd_process WHERE {alive}')[0][0])


def test_delivery_becomes_a_request_and_a_row(site: Site, dispatch: Dispatch) -> None:
    worker = started(site)
    uuids = dispatch.send(dispatch.http('/hook'), 20)
    rows = dispatch.ended(uuids)

    assert sorted(site.receiver.deliveries('/hook')) == sorted(uuids)
    assert {row[1:3] + row[5:] for row in rows} == {(1, 'success', 3)}
    assert '"number": 1e400' in rows[0][4]
    assert rows[0][3]['response_status_code'] == 200
    assert dispatch.states(uuids) == [('success', 1, 1, False)] * 20
    assert worker.stop() == 0
    assert site.query('SELECT count(*) FROM webhookd_process WHERE ended_at IS NOT NULL')[0][0] == 1


def test_failing_status_is_tried_again_later(site: Site, dispatch: Dispatch) -> None:
    site.receiver.answer('/hook', always=Answer(503, body=b'not now', headers={'Retry-After': '90'}))
    started(site)
    (delivery,) = dispatch.send(dispatch.http('/hook'))
    ((_, attempts, status, detail, _, most),) = dispatch.ended([delivery])

    assert (attempts, status, most) == (1, 'failure', 3)
    assert '503' in detail['error']
    assert detail['response_body'] == 'not now'
    assert dispatch.states([delivery]) == [('waiting', 2, 1, False)]
    due = site.query('SELECT extract(epoch FROM due_at - now()) FROM webhookd_delivery WHERE uuid = %s', delivery)
    assert 80 < due[0][0] < 91


@pytest.mark.parametrize(
    ('service', 'sentence'),
    [('nobody', 'not installed'), ('example', 'not enabled: set enabled_services.example')],
)
def test_service_that_is_not_there_ends_the_delivery_with_a_sentence(
    site: Site, dispatch: Dispatch, service: str, sentence: str
) -> None:
    started(site)
    uuids = dispatch.send(dispatch.subscribe(service, {}))
    rows = dispatch.ended(uuids)

    assert rows[0][2] == 'error'
    assert sentence in rows[0][3]['error']
    assert dispatch.states(uuids) == [('error', 1, 1, False)]


def test_documented_plugin_runs_in_a_worker(site: Site, dispatch: Dispatch, install: Any) -> None:
    site.python_path.append(install('example_service'))
    name = 'example_service.plugin.example_callback'
    task = dispatch._writer._route = lambda _: Route(name, 'example_service.plugin:Service', 'task')
    assert task
    started(site, enabled_services={'example': True})
    good = dispatch.send(dispatch.subscribe('example', {'sleep_time': 0}))
    bad = dispatch.send(dispatch.subscribe('example', {'time_sleep': 10}))
    dispatch.ended(good + bad)

    assert [row[2:4] for row in dispatch.logs(good)] == [('success', {})]
    assert [row[2:4] for row in dispatch.logs(bad)] == [('error', {'error': "missing key: 'sleep_time'"})]
    assert site.query('SELECT count(*) FROM webhookd_subscription WHERE name = %s', 'my-subscription') == [(0,)]


def test_row_of_an_unregistered_guest_task_says_so(site: Site, dispatch: Dispatch) -> None:
    dispatch._writer._route = lambda _: Route('guest.tasks.unknown', 'guest:Service', 'task')
    started(site)
    uuids = dispatch.send(dispatch.subscribe('guest', {}))

    assert dispatch.ended(uuids)[0][2:4] == ('error', {'error': "The service 'guest' is not installed."})


def test_message_of_an_older_program_becomes_a_delivery(site: Site, dispatch: Dispatch) -> None:
    started(site)
    card = dispatch.http('/hook')
    delivery = str(uuid.uuid4())
    event = {'name': 'trigger', 'data': {}, 'origin_uuid': 'wazo'}
    arguments = [delivery, HTTP.ep_name, {'db_uri': 'secret'}, card.subscription, event]
    headers = {'task': HTTP.task_name, 'id': str(uuid.uuid4()), 'lang': 'py', 'retries': 2}
    body = json.dumps([arguments, {}, {'callbacks': None, 'errbacks': None, 'chain': None, 'chord': None}])
    message = dispatch._channel.prepare_message(
        body, None, 'application/json', 'utf-8', headers, {'correlation_id': headers['id']}
    )
    dispatch._channel.basic_publish(message, exchange='', routing_key=site.tasks_queue)
    until(lambda: dispatch.states([delivery]), what='a row')

    assert dispatch.states([delivery]) == [('waiting', 3, 2, False)]
    assert site.query('SELECT name, body FROM webhookd_journal') == [('trigger', json.dumps(event))]
    assert 'secret' not in str(site.query('SELECT * FROM webhookd_delivery'))


def test_killed_worker_loses_nothing(site: Site, dispatch: Dispatch, note: Note) -> None:
    """The broker hands its messages to another worker, which asks the database first."""
    site.receiver.answer('/hook', always=Answer(200, delay=0.4))
    first = started(site, 'first')
    uuids = dispatch.send(dispatch.http('/hook'), 40)
    until(lambda: len(site.receiver.at('/hook')) >= 10, what='some requests')
    first.kill()
    in_flight = len(site.receiver.at('/hook')) - len(dispatch.logs(uuids))
    started(site, 'second')
    dispatch.ended(uuids)
    doubled = len(site.receiver.at('/hook')) - 40

    note(f'40 deliveries, worker killed: {doubled} doubles, {in_flight} in flight at the kill')
    assert set(site.receiver.deliveries('/hook')) == set(uuids)
    assert {state[0] for state in dispatch.states(uuids)} == {'success'}
    assert doubled <= in_flight


def test_lost_broker_connections_double_nothing(site: Site, dispatch: Dispatch) -> None:
    """Attempts take longer than the connections live; there are two workers to hand the messages to."""
    site.receiver.answer('/hook', always=Answer(200, delay=3.0))
    workers = [started(site, 'first'), started(site, 'second')]
    uuids = dispatch.send(dispatch.http('/hook'), 30)
    for _ in range(4):
        time.sleep(0.7)
        site.rabbit.close_connections(site.vhost)
    rows = dispatch.ended(uuids)
    time.sleep(3.5)  # longer than a claim and an attempt

    assert sorted(site.receiver.deliveries('/hook')) == sorted(uuids)
    assert {row[2] for row in rows} == {'success'}
    assert all(worker.alive() for worker in workers)
    until(lambda: site.bus.depth(site.tasks_queue) == 0, what='nothing left in the queue')
    more = dispatch_again(dispatch, '/after', 60)
    assert len(dispatch.ended(more)) == 60  # neither is deaf


@pytest.mark.parametrize(
    ('user', 'tail', 'reason'),
    [('guest:wrong', '', 'ACCESS_REFUSED'), ('guest:guest', '-not-there', 'NOT_ALLOWED')],
    ids=['password', 'virtual host'],
)
def test_broker_that_does_not_let_us_in_is_told_once_and_asked_seldom(
    site: Site, user: str, tail: str, reason: str
) -> None:
    """Celery asked twenty times a second, with two tracebacks."""
    url = f'amqp://{user}@{site.rabbit.host}:{site.rabbit.port}/{site.vhost}{tail}'
    worker = site.worker(celery={'broker': url})
    until(lambda: reason in worker.output, 20, what='it says why')
    time.sleep(3)

    assert worker.output.count('cannot be reached') == 1
    assert f'the task broker at {site.rabbit.host}:{site.rabbit.port} cannot be reached' in worker.output
    assert 'Traceback' not in worker.output
    assert worker.stop() == 0


def test_queue_that_was_deleted_is_made_again(site: Site, dispatch: Dispatch) -> None:
    site.receiver.answer('/hook', always=Answer(200, delay=1.0))
    worker = started(site)
    uuids = dispatch.send(dispatch.http('/hook'), 5)
    site.receiver.wait_for(5)
    site.bus.delete_queue(site.tasks_queue)
    dispatch.ended(uuids)
    until(lambda: site.bus.depth(site.tasks_queue) is not None, what='the queue is there again')
    more = dispatch.send(dispatch.http('/after'), 40)

    assert len(dispatch.ended(more)) == 40
    assert len(site.receiver.at('/hook')) == 5
    assert worker.alive()


def dispatch_again(dispatch: Dispatch, path: str, count: int) -> list[str]:
    dispatch.close()
    again = Dispatch(dispatch.site)
    dispatch._connection, dispatch._channel = again._connection, again._channel
    return dispatch.send(dispatch.http(path), count)


def test_sigterm_records_what_ends_and_gives_back_the_rest(site: Site, dispatch: Dispatch) -> None:
    site.receiver.answer('/slow', always=Answer(200, delay=1.0))
    site.receiver.answer('/hangs', always=Answer(200, delay=60.0))
    site.configure(egress={'deadline': 50})
    first = started(site, 'first', shutdown_grace=2)
    slow = dispatch.send(dispatch.http('/slow'), 10)
    hanging = dispatch.send(dispatch.http('/hangs', timeout='30'), 10)
    site.receiver.wait_for(20)
    began = time.monotonic()
    first.send(signal.SIGTERM)

    assert first.wait(10) == 0
    assert time.monotonic() - began < 4.5
    assert {row[2] for row in dispatch.logs(slow)} == {'success'}
    assert len(dispatch.logs(slow)) == 10
    assert dispatch.logs(hanging) == []
    site.receiver.answer('/hangs', always=Answer(200))
    started(site, 'second')
    assert {row[2] for row in dispatch.ended(hanging)} == {'success'}
    assert len(site.receiver.at('/slow')) == 10
    assert len(site.receiver.at('/hangs')) == 20


def test_second_sigterm_cuts_the_grace_period(site: Site, dispatch: Dispatch) -> None:
    site.receiver.answer('/hangs', always=Answer(200, delay=60.0))
    worker = started(site, shutdown_grace=30)
    uuids = dispatch.send(dispatch.http('/hangs', timeout='30'), 3)
    site.receiver.wait_for(3)
    worker.send(signal.SIGTERM)
    time.sleep(0.3)

    assert worker.stop(5) == 0
    assert dispatch.logs(uuids) == []


def test_database_away_keeps_finished_attempts(site: Site, dispatch: Dispatch) -> None:
    site.receiver.answer('/hook', always=Answer(200, delay=1.0))
    worker = started(site)
    uuids = dispatch.send(dispatch.http('/hook'), 20)
    site.receiver.wait_for(20)
    shut = f'ALTER DATABASE {site.database} WITH ALLOW_CONNECTIONS'
    site.postgres.run(f'{shut} false')
    site.postgres.run('SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s', site.database)
    time.sleep(3)
    site.postgres.run(f'{shut} true')
    rows = dispatch.ended(uuids)

    assert {row[2] for row in rows} == {'success'}
    assert len(site.receiver.at('/hook')) == 20
    assert worker.alive()
    assert len(dispatch.ended(dispatch.send(dispatch.http('/after'), 40))) == 40


@pytest.fixture
def hanging_service(site: Site) -> Path:
    """A guest whose ``run`` waits as long as the subscription says, however long that is."""
    folder = site.folder / 'guests'
    (folder / 'hanging-1.0.dist-info').mkdir(parents=True)
    (folder / 'hanging.py').write_text(
        'import time\n\n\nclass Service:\n    def load(self, dependencies):\n        pass\n\n    @staticmethod\n'
        "    def run(task, config, subscription, event):\n        time.sleep(subscription['config']['seconds'])\n"
        "        return {'slept': subscription['config']['seconds']}\n"
    )
    (folder / 'hanging-1.0.dist-info' / 'METADATA').write_text('Metadata-Version: 2.1\nName: hanging\nVersion: 1.0\n')
    (folder / 'hanging-1.0.dist-info' / 'entry_points.txt').write_text(
        '[wazo_webhookd.services]\nhanging = hanging:Service\n'
    )
    site.python_path.append(folder)
    site.configure(enabled_services={'hanging': True}, services={'hanging': {'timeout': 1.5}})
    return folder


def test_service_that_never_returns_costs_a_hand(site: Site, dispatch: Dispatch, hanging_service: Path) -> None:
    worker = started(site, 'first', celery={'hands': 8})
    one = dispatch.send(dispatch.subscribe('hanging', {'seconds': 600}))
    rows = dispatch.ended(one)

    assert rows[0][2] == 'failure'
    assert 'did not return within 1.5 seconds' in rows[0][3]['error']
    assert dispatch.states(one) == [('waiting', 2, 1, False)]
    until(lambda: site.query('SELECT hands, written_off FROM webhookd_process') == [(8, 1)], what='the row says so')
    assert worker.alive()
    assert len(dispatch.ended(dispatch.send(dispatch.http('/hook'), 30))) == 30


def test_worker_that_lost_a_quarter_of_its_hands_is_replaced(
    site: Site, dispatch: Dispatch, hanging_service: Path
) -> None:
    site.receiver.answer('/slow', always=Answer(200, delay=3.0))
    worker = started(site, 'first', celery={'hands': 8})
    slow = dispatch.send(dispatch.http('/slow'), 4)
    lost = dispatch.send(dispatch.subscribe('hanging', {'seconds': 600}), 2)
    dispatch.ended(lost)
    waiting = dispatch.send(dispatch.http('/hook'), 10)

    assert worker.wait(15) == 75
    assert {row[2] for row in dispatch.logs(slow)} == {'success'}
    assert len(site.receiver.at('/slow')) == 4
    started(site, 'second')
    dispatch.ended(waiting)
    assert sorted(site.receiver.deliveries('/hook')) == sorted(waiting)


def test_suspects_travel_alone(site: Site, dispatch: Dispatch) -> None:
    started(site, 'usual')
    started(site, 'suspects', '--suspects')
    kinds = site.query('SELECT kind, hands FROM webhookd_process ORDER BY kind')
    uuids = dispatch.send(dispatch.http('/hook'), 3, queue=f'{site.tasks_queue}.suspects')
    dispatch.ended(uuids)

    assert kinds == [('suspects', 1), ('worker', 32)]
    assert len(site.receiver.at('/hook')) == 3


def test_message_that_is_not_fresh_is_claimed(site: Site, dispatch: Dispatch) -> None:
    """The second send of an attempt waits and asks; one whose row went on is dropped."""
    started(site)
    card = dispatch.http('/hook')
    held, gone, free = dispatch.send(card, 3, send=2, age=1.0)
    site.query('UPDATE webhookd_delivery SET send = 2 WHERE uuid = ANY(%s)', [held, free])
    other = str(uuid.uuid4())
    site.query(
        'INSERT INTO webhookd_process (id, kind, host, pid, hands, started_at, seen_at)'
        " VALUES (%s, 'worker', 'x', 1, 0, now(), now())", other,
    )  # fmt: skip
    site.query('UPDATE webhookd_delivery SET held_by = %s WHERE uuid = %s', other, held)
    dispatch.ended([free])

    assert site.receiver.deliveries('/hook') == [free]
    for_a_while(lambda: site.receiver.deliveries('/hook') == [free], 1.0)
    assert site.bus.depth(site.tasks_queue) == 0
    assert dispatch.states([gone]) == [('out', 1, 1, False)]


def test_prefork_delivers_and_records(site: Site, dispatch: Dispatch) -> None:
    worker = started(site, celery={'pool': 'prefork', 'worker_min': 2, 'worker_max': 4})
    uuids = dispatch.send(dispatch.http('/hook'), 20)
    rows = dispatch.ended(uuids)

    assert sorted(site.receiver.deliveries('/hook')) == sorted(uuids)
    assert {row[1:3] for row in rows} == {(1, 'success')}
    until(lambda: all(f'attempt success: delivery={uuid}' in worker.output for uuid in uuids), what='a line for each')
    assert worker.stop(15) == 0
    until(
        lambda: site.query('SELECT count(*) FROM webhookd_process WHERE ended_at IS NULL') == [(0,)], what='all ended'
    )


def test_prefork_children_hear_of_another_log_level(site: Site, dispatch: Dispatch) -> None:
    worker = started(site, celery={'pool': 'prefork', 'worker_min': 1, 'worker_max': 1})
    (child,) = worker.children()

    def debugs() -> bool:
        before = len(worker.output)
        dispatch.ended(dispatch.send(dispatch.http('/hook')))
        until(lambda: 'attempt success' in worker.output[before:], what='the attempt is logged')
        return f'[{child.pid}] (DEBUG)' in worker.output[before:]

    quiet = debugs()
    site.write_config('worker', celery={'pool': 'prefork', 'worker_min': 1, 'worker_max': 1}, log_level='debug')
    worker.send(signal.SIGHUP)
    until(debugs, what='DEBUG lines of the child')

    assert not quiet


def test_worker_ends_with_its_daemon(site: Site) -> None:
    """The line to the daemon closes, whatever ended the daemon."""
    import socket
    import subprocess
    import sys

    ours, theirs = socket.socketpair()
    path = site.write_config('worker')
    command = [sys.executable, '-m', 'wazo_webhookd.bin.worker', '-c', str(path), '--line', str(theirs.fileno())]
    environment = {**os.environ, 'XIVO_UUID': 'x'}
    with (site.folder / 'line.log').open('w') as log:
        worker = subprocess.Popen(command, pass_fds=[theirs.fileno()], stdout=log, stderr=log, env=environment)
    theirs.close()
    until(lambda: _capacity(site) > 0, 20, what='the worker has hands')
    ours.close()

    assert worker.wait(10) == 0


def test_supervised_workers_are_replaced_and_end_with_their_supervisor(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    from wazo_webhookd import config
    from wazo_webhookd.supervisor import Supervisor

    monkeypatch.setenv('XIVO_UUID', 'x')
    path = site.write_config('supervised', celery={'processes': 2, 'hands': 4})
    supervisor = Supervisor(config.load({'config_file': str(path)}, environ={'XIVO_UUID': 'x'}))
    pids = 'SELECT pid FROM webhookd_process WHERE ended_at IS NULL AND kind = %s'
    try:
        supervisor.start()
        until(lambda: _capacity(site) == 8, 20, what='two workers')
        first = site.query(pids, 'worker')[0][0]
        os.kill(first, signal.SIGKILL)
        until(lambda: len(site.query('SELECT 1 FROM webhookd_process')) == 3, 20, what='another worker')
        supervisor.want_suspects(1)
        until(lambda: site.query(pids, 'suspects'), 20, what='a process for suspects')
        supervisor.want_suspects(0)
        until(lambda: not site.query(pids, 'suspects'), 20, what='it ends when there are none')
    finally:
        began = time.monotonic()
        supervisor.stop()

    assert time.monotonic() - began < 5
    assert supervisor.alive() in (0, 2)
    assert site.query(f'{pids} AND pid <> %s', 'worker', first) == []
