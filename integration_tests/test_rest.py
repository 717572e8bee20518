"""REST with everything around it: wazo-auth, bus and database that go away and come back."""

from __future__ import annotations

import time

import pytest
import requests

from integration_tests.support.auth_double import MASTER, SERVICE
from integration_tests.support.site import Daemon, Site
from integration_tests.support.until import until
from integration_tests.support.wire import Wire


def component(daemon: Daemon, name: str) -> str:
    return str(daemon.rest.status()[name]['status'])


def test_the_master_tenant_comes_with_the_right_credentials(site: Site) -> None:
    site.auth.accounts.clear()
    daemon = site.daemon().listens()
    assert component(daemon, 'master_tenant') == 'fail'
    assert component(daemon, 'service_token') == 'fail'
    for method in ('GET', 'PATCH'):
        answer = daemon.rest.call(method, '/config')
        assert answer.status_code == 503
        assert answer.json()['error_id'] == 'master-tenant-not-initialized'

    site.auth.add_account(*SERVICE)
    until(lambda: component(daemon, 'master_tenant') == 'ok', 20, what='the master tenant is known')

    assert component(daemon, 'service_token') == 'ok'
    assert daemon.rest.get('/config')['auth']['master_tenant_uuid'] == MASTER
    assert daemon.rest.get('/config')['auth']['password'] == '********'


def test_a_master_tenant_of_an_earlier_run_opens_no_door(site: Site) -> None:
    site.daemon().ready().stop()
    site.auth.accounts.clear()
    daemon = site.daemon('second').listens()

    assert component(daemon, 'master_tenant') == 'fail'
    assert daemon.rest.call('GET', '/config').status_code == 503


def test_wazo_auth_down_is_503_and_heals(site: Site) -> None:
    daemon = site.daemon().ready()
    subscription = daemon.rest.subscribe('http://127.0.0.1:9/', ['a'])
    site.auth.stop()
    path = f'/subscriptions/{subscription}'
    for method, where in (
        ('GET', '/subscriptions'), ('POST', '/subscriptions'), ('GET', path), ('PUT', path), ('DELETE', path),
        ('GET', f'{path}/logs'), ('GET', '/status'), ('GET', '/config'),
    ):  # fmt: skip
        answer = daemon.rest.call(method, where, {})
        assert answer.status_code == 503, (method, where)
        assert set(answer.json()) == {'message', 'error_id', 'details', 'timestamp'}
        assert answer.json()['details']['auth_server_port'] == site.auth.port
        assert site.token not in answer.text
    assert daemon.rest.call('GET', '/api/api.yml').status_code == 200

    site.auth.start()
    assert daemon.rest.get(path)['uuid'] == subscription


def test_a_service_token_that_is_revoked_is_replaced(site: Site) -> None:
    daemon = site.daemon().ready()
    ours = [token for token in site.auth.tokens if token != site.token]
    for token in ours:
        site.auth.remove_token(token)

    until(lambda: component(daemon, 'service_token') == 'fail', 10, what='the loss is noticed')
    until(lambda: component(daemon, 'service_token') == 'ok', 10, what='there is a new one')


def test_a_session_deleted_on_the_bus_is_forgotten_by_all_daemons(site: Site) -> None:
    daemons = [site.daemon(name, auth={'cache_seconds': 600}).ready() for name in ('one', 'two')]
    token = site.auth.add_token()
    session = site.auth.tokens[token].session_uuid

    def answers() -> list[int]:
        return [
            daemon.rest.call('GET', '/subscriptions', headers={'X-Auth-Token': token}).status_code for daemon in daemons
        ]

    assert answers() == [200, 200]
    site.auth.remove_token(token)
    assert answers() == [200, 200]

    site.bus.publish('auth_session_deleted', {'uuid': session, 'user_uuid': 'u', 'tenant_uuid': MASTER})
    until(lambda: answers() == [401, 401], 10, what='both forget the session')


def said_by_workers(daemon: Daemon, word: str) -> list[str]:
    lines = daemon.output.splitlines()
    return [line for line in lines if word in line and f'[{daemon.pid}]' not in line]


def test_debugging_is_switched_on_and_off_and_no_token_is_logged(site: Site) -> None:
    daemon = site.daemon().ready()

    def patched(value: bool) -> None:
        body = [{'op': 'replace', 'path': '/debug', 'value': value}]
        answer = daemon.rest.call('PATCH', '/config', body)
        assert answer.json()['debug'] is value
        assert answer.json() == daemon.rest.get('/config')

    before = len(daemon.output)
    daemon.rest.get('/subscriptions')
    assert '(DEBUG)' not in daemon.output[before:]
    patched(True)
    before = len(daemon.output)
    daemon.rest.call('GET', '/subscriptions?token=0123456789abcdef')
    until(lambda: '(DEBUG)' in daemon.output[before:], what='DEBUG lines')
    until(lambda: said_by_workers(daemon, '(DEBUG)'), what='DEBUG lines of workers')
    patched(False)
    time.sleep(0.5)
    before = len(daemon.output)
    daemon.rest.get('/subscriptions')
    time.sleep(0.5)

    assert '(DEBUG)' not in daemon.output[before:]
    assert daemon.output.count('response to 127.0.0.1') >= 4
    for secret in (site.token, '0123456789abcdef', SERVICE[1], *site.auth.tokens):
        assert secret not in daemon.output


def test_without_workers_the_status_says_so(site: Site) -> None:
    daemon = site.daemon(celery={'start_workers': False}).listens()
    until(lambda: component(daemon, 'database') == 'ok', what='the database is there')
    assert component(daemon, 'task_workers') == 'fail'

    worker = site.worker()
    until(lambda: component(daemon, 'task_workers') == 'ok', 20, what='the worker is seen')
    worker.stop()
    until(lambda: component(daemon, 'task_workers') == 'fail', 10, what='the worker is missed')


@pytest.mark.timeout(180)
def test_the_status_is_true_while_servers_go_and_come(private_site: Site) -> None:
    site = private_site
    daemon = site.daemon().ready()

    site.rabbit.stop()
    until(lambda: component(daemon, 'bus_consumer') == 'fail', 10, what='the bus is missed')
    until(lambda: component(daemon, 'task_broker') == 'fail', 10, what='the task broker is missed')
    started = time.monotonic()
    subscription = daemon.rest.subscribe('http://127.0.0.1:9/', ['a'])
    daemon.rest.get(f'/subscriptions/{subscription}')
    assert time.monotonic() - started < 5
    site.rabbit.start()
    until(daemon.all_ok, 40, what='all is well again', catching=requests.RequestException)

    site.postgres.stop()
    until(lambda: component(daemon, 'database') == 'fail', 20, what='the database is missed')
    answer = daemon.rest.call('GET', '/subscriptions')
    assert answer.status_code == 503
    assert answer.json()['error_id'] == 'database-unavailable'
    answer = daemon.rest.call('POST', '/events', {'name': 'a', 'data': 1})
    assert answer.status_code == 503
    assert answer.json()['error_id'] == 'database-unavailable'
    site.postgres.start()
    until(daemon.all_ok, 40, what='all is well again', catching=requests.RequestException)

    assert daemon.rest.get(f'/subscriptions/{subscription}')['uuid'] == subscription
    until(lambda: daemon.rest.send('a', 1)['deliveries'] == 1, 5, what='events are taken in again')


@pytest.mark.timeout(180)
def test_a_daemon_that_starts_alone_answers_and_everything_heals_when_the_others_come(private_site: Site) -> None:
    site = private_site
    first = site.daemon('first').ready()
    subscription = first.rest.subscribe(site.receiver.url('/x'), ['a'])
    first.stop()
    site.rabbit.stop()
    site.postgres.stop()
    site.auth.stop()

    daemon = site.daemon('second').listens(15)
    assert daemon.rest.call('GET', '/status').json()['error_id'] == 'authentication-server-unreachable'
    assert daemon.rest.call('GET', '/api/api.yml').status_code == 200
    site.auth.start()
    until(lambda: component(daemon, 'master_tenant') == 'ok', 35, what='the first token')
    status = daemon.rest.status()
    for name in ('bus_consumer', 'task_broker', 'database', 'task_workers'):
        assert status[name]['status'] == 'fail', name
    assert daemon.rest.call('GET', '/subscriptions').json()['error_id'] == 'database-unavailable'
    site.postgres.start()
    until(lambda: daemon.rest.logs(subscription) == [], 20, what='the database is used')
    site.rabbit.start()
    until(daemon.all_ok, 60, what='all is well', catching=requests.RequestException)
    site.bus.publish('a', {'b': 1}, tenant=MASTER)

    site.receiver.wait_for(1, '/x')
    assert 'Traceback' not in daemon.output


@pytest.mark.timeout(180)
def test_servers_that_are_there_and_say_nothing_keep_nobody_waiting_long(site: Site) -> None:
    with Wire(site.rabbit.port) as to_rabbit, Wire(site.postgres.port) as to_postgres:
        site.configure(
            bus={'port': to_rabbit.port},
            celery={'broker': site.config['celery']['broker'].replace(str(site.rabbit.port), str(to_rabbit.port))},
            db_uri=site.config['db_uri'].replace(f':{site.postgres.port}/', f':{to_postgres.port}/'),
        )
        daemon = site.daemon().ready()

        def seconds(method: str, path: str, body: object, status: int) -> float:
            started = time.monotonic()
            assert daemon.rest.call(method, path, body, timeout=60).status_code == status
            return time.monotonic() - started

        to_rabbit.hold()
        for number in range(4):
            wish = {'name': 'n', 'service': 'x', 'config': {}, 'events': [f'event {number}']}
            assert seconds('POST', '/subscriptions', wish, 201) < 5
            assert seconds('GET', '/status', None, 200) < 5
        assert component(daemon, 'task_broker') == 'fail'
        assert component(daemon, 'bus_consumer') == 'fail'
        to_rabbit.let_pass()
        until(daemon.all_ok, 40, what='all is well again', catching=requests.RequestException)
        assert daemon.rest.send('event 3')['deliveries'] == 1

        to_postgres.hold()
        assert seconds('GET', '/subscriptions', None, 503) < 25
        assert seconds('POST', '/events', {'name': 'a', 'data': 1}, 503) < 10
        assert seconds('GET', '/subscriptions', None, 503) < 8
        assert seconds('GET', '/status', None, 200) < 8
        to_postgres.let_pass()
        until(daemon.all_ok, 40, what='all is well again', catching=requests.RequestException)
        assert len(daemon.rest.get('/subscriptions')['items']) == 4
