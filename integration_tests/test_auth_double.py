"""The double behaves like wazo-auth where our program looks."""

import pytest
import requests

from integration_tests.support.auth_double import MASTER, SERVICE, AuthDouble, Token


@pytest.fixture
def auth():
    double = AuthDouble()
    double.start()
    yield double
    double.stop()


@pytest.mark.parametrize(
    ('granted', 'access', 'allowed'),
    [
        (('webhookd.#',), 'webhookd.subscriptions.read', True),
        (('#',), 'webhookd.status.read', True),
        (('webhookd.subscriptions.*.read',), 'webhookd.subscriptions.abc-d.read', True),
        (('webhookd.subscriptions.*.read',), 'webhookd.subscriptions.abc.logs.read', False),
        (('webhookd.users.me.subscriptions.#',), 'webhookd.users.me.subscriptions.read', True),
        (('auth.users.me.read',), 'auth.users.u-1.read', True),
        (('auth.users.me.read',), 'auth.users.u-2.read', False),
        (('webhookd.#', '!webhookd.config.read'), 'webhookd.config.read', False),
        (('webhookd.config.edit',), 'webhookd.config.update', True),
        ((), 'webhookd.status.read', False),
        (None, 'webhookd.status.read', True),
    ],
)
def test_access_rules(granted, access, allowed):
    assert Token('t', MASTER, 'u-1', granted).permits(access) is allowed


def test_calls_of_the_program(auth):
    base = f'http://127.0.0.1:{auth.port}/0.1'
    tenant = auth.add_tenant()
    other = auth.add_tenant()
    user = auth.add_user(tenant)
    token = auth.add_token(tenant, user, ('webhookd.status.read', 'auth.tenants.read'))
    with requests.Session() as session:
        created = session.post(f'{base}/token', auth=SERVICE, json={'expiration': 10})
        service = created.json()['data']['token']
        answers = {
            'valid': session.head(f'{base}/token/{token}', params={'scope': 'webhookd.status.read'}).status_code,
            'acl': session.head(f'{base}/token/{token}', params={'scope': 'webhookd.config.read'}).status_code,
            'tenant': session.head(f'{base}/token/{token}', params={'tenant': other}).status_code,
            'unknown': session.head(f'{base}/token/x').status_code,
            'empty': session.head(f'{base}/token/').status_code,
            'credentials': session.post(f'{base}/token', auth=('a', 'b'), json={}).status_code,
            'nobody': session.get(f'{base}/users/{user}').status_code,
        }
        tenants = session.get(f'{base}/tenants', headers={'X-Auth-Token': token}).json()
        everything = session.get(f'{base}/tenants', headers={'X-Auth-Token': service}).json()
        found = session.get(f'{base}/users/{user}', headers={'X-Auth-Token': service}).json()
        data = session.get(f'{base}/token/{token}').json()['data']

    assert answers == {
        'valid': 204, 'acl': 403, 'tenant': 403, 'unknown': 404, 'empty': 404, 'credentials': 401, 'nobody': 401,
    }  # fmt: skip
    assert [item['uuid'] for item in tenants['items']] == [tenant]
    assert everything['total'] == 3
    assert found['enabled']
    assert data['metadata']['tenant_uuid'] == tenant
    assert data['metadata']['uuid'] == user


def test_it_can_be_down_and_come_back(auth):
    url = f'http://127.0.0.1:{auth.port}/0.1/status'
    auth.stop()
    with pytest.raises(requests.ConnectionError):
        requests.get(url, timeout=2)
    auth.start()

    assert requests.get(url, timeout=2).status_code == 200
    auth.fail_with(500)
    assert requests.get(url, timeout=2).status_code == 500
