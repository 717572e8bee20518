"""What an administrator sets up around REST: wazo-auth in every kind of trouble, CORS, TLS, Consul, old databases."""

from __future__ import annotations

import ssl
import time
from pathlib import Path
from typing import Any

import pytest
import requests
from sqlalchemy import create_engine

from integration_tests.conftest import prepare
from integration_tests.support.apple import Certificates
from integration_tests.support.auth_double import MASTER
from integration_tests.support.ear import Ear
from integration_tests.support.rude import rude_server
from integration_tests.support.site import Daemon, Site
from integration_tests.support.until import until
from integration_tests.test_discovery import Agent
from tests.database.adopted import build

BODY = {'name': 'n', 'service': 'http', 'config': {'url': 'http://127.0.0.1:9/', 'method': 'get'}, 'events': ['a']}
SHAPE_A = {'message', 'error_id', 'details', 'timestamp'}

# -- wazo-auth


RUDE: dict[str, tuple[bytes, float]] = {
    'hangs up': (b'', 0),
    'is no HTTP server': (b'hello\r\n', 0),
    'is another version': (b'HTTP/3.0 204 No Content\r\n\r\n', 0),
    'says nothing': (b'', 5),
    'stops in the head': (b'HTTP/1.1 204 No Con', 5),
    'has endless headers': (b'HTTP/1.1 204 No Content\r\n' + b'A: b\r\n' * 1000 + b'\r\n', 0),
    'redirects': (b'HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:9/\r\nContent-Length: 0\r\n\r\n', 0),
    'is content with everything': (b'HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n', 0),
    'is out of order': (b'HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n', 0),
}


def endpoints(uuid: str) -> list[tuple[str, str, Any]]:
    one, mine = f'/subscriptions/{uuid}', '/users/me/subscriptions'
    return [
        ('GET', '/subscriptions', None), ('POST', '/subscriptions', BODY), ('GET', one, None), ('PUT', one, BODY),
        ('DELETE', one, None), ('GET', f'{one}/logs', None), ('GET', mine, None), ('POST', mine, BODY),
        ('GET', '/subscriptions/services', None), ('GET', '/status', None), ('GET', '/config', None),
        ('PATCH', '/config', []), ('POST', '/mobile/notifications', {}), ('POST', '/events', {'name': 'a', 'data': 1}),
    ]  # fmt: skip


@pytest.mark.timeout(180)
def test_whatever_wazo_auth_does_callers_are_told_in_time_and_in_one_shape(site: Site) -> None:
    daemon = site.daemon(auth={'timeout': 1}, rest_api={'max_threads': 3}).ready()
    uuid = daemon.rest.create(BODY)['uuid']
    site.auth.stop()
    for trouble, (answer, hold_seconds) in RUDE.items():
        with rude_server(site.auth.port, answer, hold_seconds):
            for method, path, body in endpoints(uuid)[: 3 if hold_seconds else None]:
                started = time.monotonic()
                told = daemon.rest.call(method, path, body)
                assert told.status_code == 503, (trouble, method, path, told.text)
                assert set(told.json()) == SHAPE_A
                assert told.json()['error_id'] == 'authentication-server-unreachable'
                assert told.json()['message'] == 'Authentication server unreachable'
                assert set(told.json()['details']) == {'auth_server_host', 'auth_server_port', 'original_error'}
                assert site.token not in told.text
                assert time.monotonic() - started < 4, (trouble, method, path)
            assert daemon.rest.call('GET', '/api/api.yml', headers={'X-Auth-Token': ''}).status_code == 200
    site.auth.start()

    assert daemon.rest.get(f'/subscriptions/{uuid}')['uuid'] == uuid
    until(daemon.all_ok, 10, what='all is well again')
    assert 'Traceback' not in daemon.output
    assert site.token not in daemon.output


def test_users_and_tenants_that_wazo_auth_does_not_tell_of(site: Site) -> None:
    daemon = site.daemon().ready()
    uuid = daemon.rest.create(BODY)['uuid']
    token, one = f'/token/{site.token}', f'/subscriptions/{uuid}'
    cases = [
        # what wazo-auth answers to which call, what is asked, and what comes of it
        (('GET', token, 500, {}), ('GET', '/subscriptions'), 401),
        (('GET', token, 200, {}), ('GET', '/subscriptions'), 503),
        (('GET', token, 200, {'data': {'metadata': {}}}), ('GET', '/subscriptions'), 503),
        (('GET', token, 200, {'data': {'metadata': {}}}), ('GET', '/config'), 401),
        (('GET', token, 200, {'data': {'metadata': {'tenant_uuid': 5}}}), ('GET', '/config'), 401),
        (('GET', '/tenants', 500, {}), ('GET', one), 503),
        (('GET', '/tenants', 403, {}), ('GET', one), 200),
        (('GET', '/tenants', 401, {}), ('GET', one), 200),
        (('GET', '/tenants', 404, {}), ('GET', one), 401),
        (('GET', '/tenants', 200, {'items': []}), ('GET', one), 404),
        (('GET', '/tenants', 200, {'items': []}), ('DELETE', one), 404),
        (('GET', '/tenants', 200, {'items': [{'uuid': None}, {}]}), ('GET', one), 404),
        (('GET', '/tenants', 200, {'items': {}}), ('GET', one), 503),
        (('GET', '/tenants', 200, []), ('GET', one), 503),
    ]  # fmt: skip
    for answered, asked, status in cases:
        site.auth.answers.clear()
        site.auth.answer(*answered)
        told = daemon.rest.call(*asked)
        assert told.status_code == status, (answered, told.text)
        assert status == 200 or set(told.json()) == SHAPE_A
    site.auth.answers.clear()
    site.auth.answer('GET', '/tenants', 200, {'items': []})
    assert daemon.rest.get('/subscriptions?recurse=true') == {'items': [], 'total': 0, 'filtered': 0}
    site.auth.answers.clear()

    assert daemon.rest.get(one)['uuid'] == uuid


def test_the_master_tenant_of_the_configuration_is_not_overridden(site: Site) -> None:
    other = site.auth.add_tenant()
    daemon = site.daemon(auth={'master_tenant_uuid': other}).ready()
    of_other = site.auth.add_token(other)

    assert daemon.rest.call('GET', '/config').status_code == 401
    answer = daemon.rest.call('GET', '/config', headers={'X-Auth-Token': of_other})
    assert answer.json()['auth']['master_tenant_uuid'] == other


# -- the HTTP server's own settings


def headers_of(daemon: Daemon, **more: str) -> Any:
    return requests.options(f'{daemon.rest.base}/subscriptions', headers=more, timeout=5).headers


def test_cors_is_what_the_configuration_says(site: Site) -> None:
    cors = {'origins': ['https://a.example'], 'max_age': 600, 'supports_credentials': True, 'methods': ['GET']}
    asked = {
        'Access-Control-Request-Method': 'GET',
        'Access-Control-Request-Headers': 'content-type, x-auth-token, wazo-tenant, x-strange',
    }
    usual = site.daemon('usual').listens()
    preflight = headers_of(usual, Origin='https://a.example', **asked)
    assert preflight['Access-Control-Allow-Origin'] == 'https://a.example'
    assert preflight['Access-Control-Allow-Headers'] == 'content-type, wazo-tenant, x-auth-token'
    usual.stop()
    narrow = site.daemon('narrow', rest_api={'cors': cors}).listens()
    preflight = headers_of(narrow, Origin='https://a.example', **asked)
    assert preflight['Access-Control-Allow-Methods'] == 'GET'
    assert preflight['Access-Control-Max-Age'] == '600'
    assert preflight['Access-Control-Allow-Credentials'] == 'true'
    assert 'Access-Control-Allow-Origin' not in headers_of(narrow, Origin='https://b.example', **asked)
    narrow.stop()
    without = site.daemon('without', rest_api={'cors': {'enabled': False}}).listens()

    for path in ('/subscriptions', '/nothing', '/api/api.yml'):
        answer = without.rest.call('GET', path, headers={'Origin': 'https://a.example'})
        assert not [name for name in answer.headers if name.lower().startswith('access-control')]


def test_tls_in_the_daemon_is_spoken_with_a_warning(site: Site, tmp_path: Path) -> None:
    certificates = Certificates(tmp_path)
    (tmp_path / 'key.pem').write_text(certificates.server_key)
    tls = {'certificate': str(certificates.server_file), 'private_key': str(tmp_path / 'key.pem')}
    daemon = site.daemon(rest_api=tls)
    base = f'https://127.0.0.1:{daemon.port}/1.0'

    def answered() -> bool:
        answer = requests.get(
            f'{base}/status', headers={'X-Auth-Token': site.token}, verify=str(certificates.authority), timeout=5
        )
        return answer.status_code == 200

    until(answered, 20, what='HTTPS is spoken', catching=requests.RequestException)
    assert 'deprecated' in daemon.output
    with pytest.raises(requests.RequestException):
        daemon.rest.status()
    with pytest.raises(requests.exceptions.SSLError):
        requests.get(f'{base}/status', timeout=5, verify=ssl.get_default_verify_paths().cafile)


@pytest.mark.parametrize(
    ('settings', 'code', 'told'),
    [
        ({'certificate': '/none', 'private_key': '/none'}, 1, 'rest_api.certificate: cannot read /none'),
        ({'listen': '::2'}, 4, 'cannot listen on ::2, port '),
    ],
)
def test_a_server_that_cannot_serve_ends_the_daemon_with_a_line(
    site: Site, settings: dict[str, Any], code: int, told: str
) -> None:
    daemon = site.daemon(rest_api=settings)

    assert daemon.wait(20) == code
    assert 'Traceback' not in daemon.output
    assert daemon.output.splitlines()[-1].startswith(f'wazo-webhookd: {told}')


# -- Consul


def test_the_daemon_registers_with_consul_and_tells_the_bus(site: Site) -> None:
    agent, ear = Agent(), Ear(site.bus)
    discovery = {'enabled': True, 'advertise_address': '10.0.0.9', 'advertise_port': 443, 'retry_interval': 0.2}
    consul = {'host': '127.0.0.1', 'port': agent.port, 'token': 'consul-secret'}
    daemon = site.daemon(service_discovery={**discovery, 'refresh_interval': 0.3}, consul=consul).ready()
    until(lambda: agent.services, what='registered')
    [service] = agent.services.values()
    [told] = ear.wait(1)
    assert told.name == 'service_registered'
    assert told.routing_key == 'service.registered.wazo-webhookd'
    assert told.body['data'] == {
        'service_name': 'wazo-webhookd', 'service_id': service['id'], 'address': '10.0.0.9', 'port': 443,
        'tags': service['tags'],
    }  # fmt: skip
    assert told.headers['required_acl'] == 'events.service.registered.wazo-webhookd'
    assert 'tenant_uuid' not in told.headers
    agent.services.clear()
    until(lambda: agent.services, 5, what='registered again')
    assert daemon.stop() == 0
    told = ear.wait(3)[-1]
    ear.close()
    agent.close()

    assert agent.services == {}
    assert (told.name, told.routing_key) == ('service_deregistered', 'service.registered.wazo-webhookd')
    assert set(told.body['data']) == {'service_name', 'service_id', 'tags'}
    assert 'consul-secret' not in daemon.output


# -- databases of older programs


@pytest.mark.parametrize('revision', ['f573303305e5', '911ad0861ef5', '3eb8e3fa4537'])
def test_what_an_older_program_stored_is_served_and_delivered(site: Site, revision: str) -> None:
    fresh, site.database = site.database, site.postgres.create_database()
    engine = create_engine(site.postgres.uri(site.database).replace('postgresql://', 'postgresql+psycopg2://'))
    with engine.begin() as connection:
        build(connection, revision)
        execute = connection.exec_driver_sql
        for uuid, service in (('1' * 36, 'http'), ('2' * 36, None), ('3' * 36, 'mobile')):
            execute(
                'INSERT INTO webhookd_subscription VALUES (%s, %s, %s, NULL, NULL, NULL, %s)',
                (uuid, None if service is None else f'à {service}', service, MASTER),
            )
            for name in ('hello', 'world'):
                execute(
                    'INSERT INTO webhookd_subscription_event (subscription_uuid, event_name) VALUES (%s, %s)',
                    (uuid, name),
                )
        for name, value in (('url', site.receiver.url('/x')), ('method', 'post'), ('content_type', None)):
            execute(
                'INSERT INTO webhookd_subscription_option (subscription_uuid, name, value) VALUES (%s, %s, %s)',
                ('1' * 36, name, value),
            )
        for value in ('old', 'doubled'):
            execute(
                "INSERT INTO webhookd_subscription_metadatum (subscription_uuid, key, value) VALUES (%s, 'k', %s)",
                ('1' * 36, value),
            )
        for attempts, detail in ((1, '"a text"'), (2, '{"error": "x"}')):
            execute(
                'INSERT INTO webhookd_subscription_log VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)',
                ('h' * 36, '1' * 36, 'failure', '2024-05-06 07:08:09+02', None, attempts, 10, '{"a":  1.0}', detail),
            )
    engine.dispose()
    try:
        _is_served(site)
    finally:
        site.clean_up()
        site.postgres.drop_database(site.database)
        site.database = fresh


def _is_served(site: Site) -> None:
    site.configure(db_uri=site.postgres.uri(site.database))
    behind = site.daemon('behind')
    assert behind.wait(20) == 3
    assert 'wazo-webhookd-init-db' in behind.output
    prepare(site.postgres, site.database)
    daemon = site.daemon().ready()
    items = {item['uuid'][0]: item for item in daemon.rest.get('/subscriptions')['items']}
    assert {number: item['service'] for number, item in items.items()} == {'1': 'http', '2': None, '3': 'mobile'}
    assert items['1']['name'] == 'à http'
    assert items['1']['events'] == ['hello', 'world']
    assert items['3']['events'] == ['hello', 'world']
    assert items['1']['config'] == {'url': site.receiver.url('/x'), 'method': 'post', 'content_type': None}
    assert items['1']['metadata']['k'] in ('old', 'doubled')
    logs = daemon.rest.get(f'/subscriptions/{"1" * 36}/logs?order=attempts&direction=asc')
    assert [log['detail'] for log in logs['items']] == [{'value': 'a text'}, {'error': 'x'}]
    assert logs['items'][0]['started_at'] == '2024-05-06T05:08:09+00:00'
    assert logs['items'][0]['event'] == {'a': 1.0}
    whole = {**items['1'], 'config': {**items['1']['config'], 'content_type': None}}
    assert daemon.rest.send('hello', {'who': 'world'})['deliveries'] == 3
    until(lambda: len(daemon.rest.logs('1' * 36)) == 3, 10, what='delivered')
    assert [request.path for request in site.receiver.requests] == ['/x']
    for number in '23':
        until(lambda number=number: [one['state'] for one in daemon.rest.deliveries(number * 36)] == ['error'])
    changed = daemon.rest.call('PUT', f'/subscriptions/{"1" * 36}', whole)
    assert changed.status_code == 200, changed.text
    assert daemon.rest.call('DELETE', f'/subscriptions/{"2" * 36}').status_code == 204
    assert 'Traceback' not in daemon.output
