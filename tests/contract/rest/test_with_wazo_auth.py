"""The calls that wazo-auth sees (rest.md 2.2), over real HTTP against a double of it."""

from __future__ import annotations

import threading
import time

import pytest
import requests

from integration_tests.support.auth_double import MASTER, SERVICE, AuthDouble
from wazo_webhookd.auth import auth_verifier
from wazo_webhookd.auth.cache import TokenCache
from wazo_webhookd.auth.client import AuthClient, InvalidTokenException, MissingPermissionsTokenException
from wazo_webhookd.auth.renewer import TokenRenewer
from wazo_webhookd.auth.wazo_auth import WazoAuthority

BODY = {'name': 'n', 'service': 'http', 'config': {'url': 'http://x', 'method': 'get'}, 'events': ['a']}


@pytest.fixture
def double():
    double = AuthDouble(prefix='/api/auth')
    double.start()
    yield double
    double.stop()


def client_of(double, **more):
    username, password = SERVICE
    return AuthClient(
        '127.0.0.1', double.port, prefix='api/auth/', username=username, password=password, timeout=2, **more
    )


class Wired:
    """The REST application with the double as its authority."""

    def __init__(self, rest, double, seconds):
        self.rest, self.double = rest, double
        self.client = client_of(double)
        self.cache = TokenCache(seconds)
        rest.master_tenant.confirm(MASTER)
        auth_verifier.configure(WazoAuthority(self.client, self.cache), rest.master_tenant)
        self.token = double.add_token(user_uuid=double.add_user())

    def calls(self, method, path, *, tenant=None, **options):
        """The calls that one request makes, by their letters."""
        self.double.requests.clear()
        headers = {'Wazo-Tenant': tenant} if tenant else {}
        response = self.rest.call(method, path, token=self.token, headers=headers, **options)
        assert response.status_code < 300, response.text
        letters = []
        for seen in self.double.requests:
            assert seen.headers['x-auth-token'] == self.token
            assert seen.headers['accept'] == 'application/json'
            assert seen.headers['user-agent'] == 'wazo-webhookd'
            letter = {('HEAD', '/token'): 'A', ('GET', '/token'): 'B', ('GET', '/tenants'): 'C'}[
                (seen.method, '/' + seen.path.split('/')[1])
            ]
            if letter == 'A' and 'tenant' in seen.query:
                assert seen.query['tenant'] == tenant
                letter = 'A(t)'
            if letter == 'C':
                assert seen.headers['wazo-tenant'] == tenant or MASTER
            letters.append(letter)
        return ' '.join(letters)


@pytest.fixture
def uncached(rest, double):
    wired = Wired(rest, double, 0)
    yield wired
    wired.client.close()


@pytest.fixture
def cached(rest, double):
    wired = Wired(rest, double, 60)
    yield wired
    wired.client.close()


@pytest.mark.parametrize(
    ('method', 'path', 'without', 'with_tenant'),
    [
        ('POST', '/subscriptions', 'A B', 'A(t)'),
        ('GET', '/subscriptions', 'A B', 'A(t)'),
        ('GET', '/subscriptions?recurse=true', 'A B C', 'A(t) C'),
        ('GET', '/subscriptions/{uuid}', 'A B C', 'A(t) C'),
        ('PUT', '/subscriptions/{uuid}', 'A B C', 'A(t) C'),
        ('GET', '/subscriptions/{uuid}/logs', 'A B C', 'A(t) C'),
        ('GET', '/users/me/subscriptions', 'A B', 'A(t) B'),
        ('POST', '/users/me/subscriptions', 'A B', 'A(t) B'),
        ('GET', '/config', 'A B', 'A(t) B'),
        ('GET', '/status', 'A', 'A(t)'),
        ('GET', '/subscriptions/services', 'A', 'A(t)'),
        ('GET', '/api/api.yml', '', ''),
    ],
)
def test_an_endpoint_makes_these_calls(uncached, method, path, without, with_tenant):
    tenant = uncached.double.add_tenant()
    for header, expected in ((None, without), (tenant, with_tenant)):
        created = uncached.rest.call(
            'POST', '/subscriptions', token=uncached.token, json=BODY, headers={'Wazo-Tenant': header or ''}
        ).json
        options = {'json': BODY} if method in ('POST', 'PUT') else {}
        assert uncached.calls(method, path.format(uuid=created['uuid']), tenant=header, **options) == expected


def test_with_the_cache_the_second_request_makes_no_call(cached):
    assert cached.calls('GET', '/subscriptions?recurse=true') == 'A B C'
    assert cached.calls('GET', '/subscriptions?recurse=true') == ''
    assert cached.calls('GET', '/status') == 'A'


def test_a_deleted_session_ends_the_token_at_once(cached):
    assert cached.calls('GET', '/subscriptions') == 'A B'
    session = cached.double.tokens[cached.token].session_uuid
    cached.double.remove_token(cached.token)
    assert cached.rest.call('GET', '/subscriptions', token=cached.token).status_code == 200

    auth_verifier.forget_session(session)
    assert cached.rest.call('GET', '/subscriptions', token=cached.token).status_code == 401


@pytest.mark.parametrize('token', ['a/b', 'a?b=c', 'a b', '%2e%2e', 'ä', 'a#b', ';', '../../0.1/token'])
def test_a_strange_token_stays_one_segment(uncached, token):
    response = uncached.rest.call('GET', '/status', token=token.encode().decode('latin-1'))

    assert response.status_code == 401
    assert response.json['details']['reason'] == 'not_found_or_expired'
    [call] = uncached.double.requests
    assert call.path.startswith('/token/')
    assert call.path.count('/') == 2
    assert call.query == {'scope': 'webhookd.status.read'}


def test_a_missing_token_is_asked_for_too(uncached):
    assert uncached.rest.call('GET', '/status', token=None).status_code == 401
    assert uncached.double.requests[0].path == '/token/'


def test_wazo_auth_down_is_503_until_it_is_back(uncached):
    uncached.double.stop()
    response = uncached.rest.call('GET', '/subscriptions', token=uncached.token)

    assert response.status_code == 503
    assert response.json['error_id'] == 'authentication-server-unreachable'
    assert response.json['details']['auth_server_host'] == '127.0.0.1'
    assert response.json['details']['auth_server_port'] == uncached.double.port
    assert uncached.token not in response.text

    uncached.double.start()
    assert uncached.rest.call('GET', '/subscriptions', token=uncached.token).status_code == 200


def test_a_wazo_auth_that_hangs_is_503_within_the_timeout(uncached):
    uncached.double.delay = 5
    uncached.client.timeout = 0.3
    started = time.monotonic()
    response = uncached.rest.call('GET', '/subscriptions', token=uncached.token)

    assert response.status_code == 503
    assert time.monotonic() - started < 2
    assert uncached.token not in response.text


def test_a_wazo_auth_that_fails_is_503_without_the_token(uncached):
    uncached.double.fail_with(500)
    response = uncached.rest.call('GET', '/subscriptions', token=uncached.token)

    assert response.status_code == 503
    assert response.json['details']['original_error'].startswith('500 Server Error: ')
    assert uncached.token not in response.text
    assert '<hidden>' in response.text


def test_without_the_right_to_list_tenants_only_the_scope_tenant_is_visible(uncached):
    tenant = uncached.double.add_tenant()
    uncached.token = uncached.double.add_token(acl=('webhookd.#',))
    created = uncached.rest.call('POST', '/subscriptions', token=uncached.token, json=BODY).json
    path = f'/subscriptions/{created["uuid"]}'

    assert uncached.rest.call('GET', path, token=uncached.token).status_code == 200
    response = uncached.rest.call('GET', path, token=uncached.token, headers={'Wazo-Tenant': tenant})
    assert response.status_code == 404


def test_connections_are_kept(uncached):
    for _ in range(3):
        uncached.calls('GET', '/status')
    pools = uncached.client._session.get_adapter(uncached.client.base_url).poolmanager.pools

    assert [pools[key].num_connections for key in list(pools.keys())] == [1]


def test_a_kept_connection_that_was_closed_is_replaced(uncached):
    uncached.calls('GET', '/status')
    uncached.double.stop()
    uncached.double.start()

    assert uncached.calls('GET', '/status') == 'A'


# -- the client that guests get


@pytest.fixture
def client(double):
    client = client_of(double)
    yield client
    client.close()


def test_the_service_logs_in_as_the_reference_does(client, double):
    data = client.token.new(expiration=21600)
    [call] = double.requests

    assert data['metadata']['tenant_uuid'] == MASTER
    assert call.method == 'POST'
    assert call.body == {'expiration': 21600}
    assert call.headers['user-agent'] == 'Wazo Python auth client'
    assert call.headers['authorization'].startswith('Basic ')


def test_a_renewal_sends_the_token_before_too(client, double):
    client.set_token(client.token.new(expiration=21600)['token'])
    client.token.new(backend='wazo_user', expiration=3600)

    assert 'x-auth-token' in double.requests[1].headers
    assert double.requests[1].body == {'backend': 'wazo_user', 'expiration': 3600}


def test_the_commands_that_plugins_use(client, double):
    user = double.add_user()
    double.external[(user, 'mobile')] = {'token': 't'}
    double.external_config[(MASTER, 'mobile')] = {'fcm_api_key': 'k'}
    client.set_token(double.add_token())

    assert client.users.get(user)['tenant_uuid'] == MASTER
    assert client.users.list(recurse=True)['total'] == 1
    assert double.requests[-1].query == {'recurse': 'True'}
    assert client.tenants.list()['items'][0]['uuid'] == MASTER
    assert client.external.get('mobile', user) == {'token': 't'}
    assert client.external.get_config('mobile', tenant_uuid=MASTER) == {'fcm_api_key': 'k'}
    with pytest.raises(requests.HTTPError) as caught:
        client.users.get('unknown')
    assert caught.value.response.status_code == 404


def test_tokens_are_checked(client, double):
    token = double.add_token(acl=('a.read',))

    assert client.token.is_valid(token)
    assert client.token.check(token, 'a.read') is True
    with pytest.raises(MissingPermissionsTokenException):
        client.token.check(token, 'b.read')
    with pytest.raises(InvalidTokenException):
        client.token.check('unknown')
    assert client.token.get(token)['token'] == token
    client.token.revoke(token)
    assert not client.token.is_valid(token)


def test_options_of_the_configuration_that_are_not_ours_are_ignored():
    client = AuthClient(host='::1', port=None, https=True, key_file='/x', cache_seconds=5, master_tenant_uuid='m')

    assert client.base_url == 'https://[::1]/0.1'
    client.close()


# -- the service token, as a thread


def test_the_service_token_comes_when_the_credentials_become_right(double, rest):
    client = client_of(double)
    client.password = 'wrong'
    renewer = TokenRenewer(client)
    told = threading.Event()
    renewer.subscribe_to_token_change(lambda _: told.set())
    renewer.start()
    try:
        assert not told.wait(0.3)
        client.password = SERVICE[1]
        assert told.wait(10)
        assert renewer.is_valid()
    finally:
        renewer.stop()
        client.close()
