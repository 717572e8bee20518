"""How the programs start: with what is missing outside, with a schema that does not fit, and how soon they deliver."""

from __future__ import annotations

import time

import pytest
import requests

from integration_tests.conftest import prepare
from integration_tests.support.figures import Note
from integration_tests.support.site import Daemon, Site
from integration_tests.support.until import for_a_while, until

SCHEMA_BEHIND = 3


def component(daemon: Daemon, name: str) -> str:
    return str(daemon.rest.status()[name]['status'])


def hands(site: Site) -> int:
    living = "kind = 'worker' AND ended_at IS NULL AND seen_at > now() - interval '15 s'"
    return int(site.query(f'SELECT coalesce(sum(hands), 0) FROM webhookd_process WHERE {living}')[0][0])


# -- a schema that is behind ---------------------------------------------------------------------------


@pytest.fixture
def behind(site: Site) -> Site:
    """As if the last migration were missing."""
    site.query("UPDATE alembic_version_webhookd SET version_num = '6c1f9a27d0b4'")
    return site


def test_a_schema_that_is_behind_ends_the_daemon_and_names_the_command(behind: Site) -> None:
    daemon = behind.daemon()

    assert daemon.wait(20) == SCHEMA_BEHIND
    assert 'wazo-webhookd-init-db' in daemon.output
    assert 'Traceback' not in daemon.output
    until(lambda: not daemon.children(), what='its workers end with it')


def test_a_schema_that_is_behind_ends_a_worker(behind: Site) -> None:
    worker = behind.worker()

    assert worker.wait(20) == SCHEMA_BEHIND
    assert 'wazo-webhookd-init-db' in worker.output
    assert 'Traceback' not in worker.output


def test_an_empty_database_ends_the_daemon_and_init_db_is_the_cure(site: Site) -> None:
    empty = site.postgres.create_database()
    site.configure(db_uri=site.postgres.uri(empty))
    try:
        daemon = site.daemon()
        assert daemon.wait(20) == SCHEMA_BEHIND
        assert 'wazo-webhookd-init-db' in daemon.output

        prepare(site.postgres, empty)
        again = site.daemon('again').ready()
        again.rest.subscribe(site.receiver.url('/x'), ['a'])
        again.rest.send('a')
        site.receiver.wait_for(1)
        again.stop()
    finally:
        site.clean_up()
        site.postgres.drop_database(empty)


# -- what is missing outside -----------------------------------------------------------------------------


@pytest.mark.timeout(180)
def test_whatever_is_missing_at_start_is_waited_for(private_site: Site) -> None:
    site = private_site
    first = site.daemon('first').ready()
    subscription = first.rest.subscribe(site.receiver.url('/x'), ['a'])
    assert first.stop() == 0
    site.bus.publish('a', {'n': 1})
    site.bus.close()
    site.postgres.stop()
    site.rabbit.stop()
    site.auth.stop()
    began = time.monotonic()
    daemon = site.daemon()
    until(lambda: requests.get(f'{daemon.rest.base}/api/api.yml', timeout=5).ok, 15)
    assert time.monotonic() - began < 10, 'REST is there though everything else is missing'

    site.auth.start()
    until(lambda: component(daemon, 'master_tenant') == 'ok', 20, what='the master tenant is known')
    for name in ('database', 'bus_consumer', 'task_broker', 'task_workers', 'deliveries'):
        assert component(daemon, name) == 'fail', name
    answer = daemon.rest.call('GET', '/subscriptions')
    assert (answer.status_code, answer.json()['error_id']) == (503, 'database-unavailable')

    site.rabbit.start()
    until(lambda: component(daemon, 'bus_consumer') == 'ok', 20, what='the bus is there')
    site.bus.publish('a', {'n': 2})
    assert not site.receiver.requests
    site.postgres.start()
    until(daemon.all_ok, 30, what='all is well', catching=requests.RequestException)
    site.receiver.wait_for(2)

    assert daemon.rest.get(f'/subscriptions/{subscription}')['uuid'] == subscription
    assert daemon.output.count('Traceback') == 0
    for_a_while(lambda: len(site.receiver.requests) == 2, 0.5)


@pytest.mark.timeout(120)
def test_a_schema_that_is_behind_is_noticed_at_the_first_contact(private_site: Site) -> None:
    site = private_site
    site.query("UPDATE alembic_version_webhookd SET version_num = '6c1f9a27d0b4'")
    site.postgres.stop()
    daemon = site.daemon().listens()
    assert component(daemon, 'database') == 'fail'
    site.postgres.start()

    assert daemon.wait(30) == SCHEMA_BEHIND
    assert 'wazo-webhookd-init-db' in daemon.output


def test_without_a_wazo_uuid_the_daemon_ends_at_once(site: Site) -> None:
    site.environment['XIVO_UUID'] = ''
    daemon = site.daemon()

    assert daemon.wait(10) == 1
    assert 'XIVO_UUID' in daemon.output
    assert len(daemon.output.splitlines()) == 1


def test_a_mistake_in_the_configuration_is_told_by_key_value_and_expectation(site: Site) -> None:
    daemon = site.daemon(celery={'hands': 'many'}, hook_retry_jitter=-3)

    assert daemon.wait(10) == 1
    assert sorted(daemon.output.splitlines()) == [
        "wazo-webhookd: celery.hands: 'many': expected a whole number",
        'wazo-webhookd: hook_retry_jitter: -3: expected a number of at least 0',
    ]


# -- how soon it delivers ----------------------------------------------------------------------------------


def test_a_worker_that_comes_is_used_at_once(site: Site, note: Note) -> None:
    daemon = site.daemon(celery={'start_workers': False}).listens()
    daemon.rest.subscribe(site.receiver.url('/x'), ['a'])
    until(lambda: site.query("SELECT 1 FROM webhookd_process WHERE kind = 'daemon' AND backend_pid IS NOT NULL"))
    daemon.rest.send('a')
    site.worker()
    until(lambda: hands(site), 20, every=0.005)
    began = time.time()
    (request,) = site.receiver.wait_for(1)

    note(f'delivered {1000 * (request.at - began):.0f} ms after the first worker had hands')
    assert request.at - began < 1.0


def test_a_worker_that_died_is_missed_at_once_and_replaced(site: Site) -> None:
    daemon = site.daemon(celery={'processes': 2, 'hands': 8}).ready()
    until(lambda: hands(site) == 16)
    (worker, _) = daemon.workers()
    worker.kill()

    ended = 'SELECT 1 FROM webhookd_process WHERE pid = %s AND ended_at IS NOT NULL'
    until(lambda: site.query(ended, worker.pid), 3, what='the life of the dead one is ended')
    until(lambda: hands(site) == 16, 10, what='there is another')
