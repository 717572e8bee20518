"""Servers restarted and wiped under load; each of them private to these tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from integration_tests.conftest import prepare
from integration_tests.faults.conftest import in_use
from integration_tests.faults.run import Run, delays
from integration_tests.support.auth_double import AuthDouble
from integration_tests.support.receiver import Receiver
from integration_tests.support.servers import Postgres, PrivatePostgres, PrivateRabbit, Rabbit
from integration_tests.support.site import Site
from integration_tests.support.until import until

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope='module')
def private_rabbit() -> Iterator[PrivateRabbit]:
    server = PrivateRabbit()
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture
def site_with_rabbit(
    tmp_path: Path,
    postgres: Postgres,
    template: str,
    private_rabbit: PrivateRabbit,
    auth: AuthDouble,
    receiver: Receiver,
    request: pytest.FixtureRequest,
) -> Iterator[Site]:
    """An installation whose RabbitMQ may be ill-treated."""
    database = postgres.create_database(template=template)
    with in_use(Site(tmp_path, postgres, database, private_rabbit, '/', auth, receiver), request) as site:
        yield site
    postgres.drop_database(database)


@pytest.fixture
def site_with_postgres(
    tmp_path: Path, rabbit: Rabbit, vhost: str, auth: AuthDouble, receiver: Receiver, request: pytest.FixtureRequest
) -> Iterator[Site]:
    """An installation whose PostgreSQL may be ill-treated."""
    server = PrivatePostgres()
    try:
        server.start()
        database = server.create_database()
        prepare(server, database)
        with in_use(Site(tmp_path, server, database, rabbit, vhost, auth, receiver), request) as site:
            yield site
    finally:
        server.remove()


def messages_in(rabbit: Rabbit, queue: str) -> int:
    """How many lie in a queue, with those that somebody has but did not acknowledge."""
    lines = rabbit.ctl('-q', 'list_queues', 'name', 'messages').splitlines()
    return next(int(count) for name, _, count in (line.partition('\t') for line in lines) if name == queue)


def test_rabbitmq_restarted(site_with_rabbit: Site, private_rabbit: PrivateRabbit, size: str) -> None:
    """What is published meanwhile is published again by whoever got no confirmation, as Wazo's services do."""
    site = site_with_rabbit
    events = 200 if size == 'short' else 1000
    with Run('RabbitMQ restarted', size, site) as run:
        site.receiver.answer('/x', *delays(run.chance, events, 0.1, 0.5))
        daemon = site.daemon(celery={'processes': 2, 'hands': 8}).ready()
        daemon.rest.subscribe(site.receiver.url('/x'), ['tick'])
        load = run.publish(events, 40)
        load.at(run.moments(1)[0])
        if size == 'full' and run.chance.random() < 0.5:
            private_rabbit.kill()
            private_rabbit.start()
        else:
            private_rabbit.restart()
        row = run.finish(180)

        assert row.doubled == 0


def test_rabbitmq_wiped(site_with_rabbit: Site, private_rabbit: PrivateRabbit, size: str) -> None:
    """Everything that was acknowledged is in the journal, and arrives; so does what is published afterwards."""
    site = site_with_rabbit
    events = 200 if size == 'short' else 1000
    with Run('RabbitMQ wiped', size, site) as run:
        site.receiver.answer('/x', *delays(run.chance, events, 0.3, 0.5))
        daemon = site.daemon(celery={'processes': 1, 'hands': 8}).ready()
        daemon.rest.subscribe(site.receiver.url('/x'), ['tick'])
        load = run.publish(events, 80)
        load.at(moment := run.moments(1)[0])
        daemon.freeze()
        load.at(moment + 10)
        load.pause()
        paused_at = len(load.sent)
        acknowledged = paused_at - messages_in(private_rabbit, site.queue)
        private_rabbit.kill()
        daemon.thaw()
        private_rabbit.wipe()
        site.bus.declare_exchange()
        until(lambda: site.bus.depth(site.queue) is not None, 60, what='the queue is there again')
        daemon.ready(60)
        stored = {row[0] for row in site.query("SELECT (body::json #>> '{data,number}')::int FROM webhookd_journal")}
        load.go_on()
        row = run.finish(180, owed=stored | set(range(paused_at, events)))

        assert len(stored) >= acknowledged
        assert row.doubled == 0
        print(f'{paused_at - len(stored)} of the events that were lost with the broker had not been acknowledged')


def test_postgresql_restarted(site_with_postgres: Site, size: str) -> None:
    site = site_with_postgres
    assert isinstance(site.postgres, PrivatePostgres)
    events, restarts = (200, 1) if size == 'short' else (1000, 3)
    with Run('PostgreSQL restarted', size, site) as run:
        site.receiver.answer('/x', *delays(run.chance, events, 0.1, 0.5))
        daemon = site.daemon(celery={'processes': 2, 'hands': 8}).ready()
        daemon.rest.subscribe(site.receiver.url('/x'), ['tick'])
        load = run.publish(events, 40)
        for count, number in enumerate(run.moments(restarts)):
            load.at(number)
            if count == 1:
                site.postgres.kill()
                site.postgres.start()
            else:
                site.postgres.restart()
        row = run.finish(180)

        assert row.doubled == 0
