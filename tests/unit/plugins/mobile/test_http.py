from types import SimpleNamespace

import pytest
import requests
from flask import Flask
from kombu.exceptions import OperationalError

from wazo_webhookd.exceptions import APIException
from wazo_webhookd.plugins.mobile import http
from wazo_webhookd.plugins.mobile.http import NotificationResource

USER = '6ad4a27e-6ba0-4a85-8fa8-3a0c4a0ae0b9'
BODY = {'notification_type': 'plugin', 'user_uuid': USER, 'title': 't', 'body': 'b'}
KNOWN = {'uuid': USER, 'enabled': True, 'tenant_uuid': 'tenant'}


def http_error(status):
    response = requests.Response()
    response.status_code = status
    return requests.HTTPError(response=response)


def answered(user=KNOWN, body=BODY, send=lambda notification: None, monkeypatch=None):
    def get(user_uuid):
        if isinstance(user, Exception):
            raise user
        return user

    client = SimpleNamespace(host='auth', port=9497, users=SimpleNamespace(get=get))
    post = NotificationResource(client, send).post
    with Flask('test').test_request_context(json=body):
        return post()


@pytest.fixture(autouse=True)
def _scope(monkeypatch):
    monkeypatch.setattr(http, 'scope_tenant', lambda: 'tenant')


def test_a_notification_is_queued():
    queued = []

    assert answered(send=queued.append) == ('', 204)
    assert queued == [{**BODY, 'extra': {}}]


@pytest.mark.parametrize(
    'user',
    [
        http_error(404), http_error(500), {**KNOWN, 'enabled': False}, {**KNOWN, 'enabled': None},
        {**KNOWN, 'tenant_uuid': 'other'}, {},
    ],
)  # fmt: skip
def test_other_peoples_users_are_not_notified(user):
    with pytest.raises(APIException) as raised:
        answered(user)

    assert (raised.value.status_code, raised.value.error_id) == (400, 'invalid-user-uuid')


def test_what_is_no_uuid_is_no_user():
    with pytest.raises(APIException) as raised:
        answered(body={**BODY, 'user_uuid': '../' * 12})

    assert raised.value.error_id == 'invalid-user-uuid'


def test_an_absent_wazo_auth_is_said():
    with pytest.raises(APIException) as raised:
        answered(requests.ConnectionError())

    assert (raised.value.status_code, raised.value.error_id) == (503, 'authentication-server-unreachable')


def test_an_absent_broker_is_said():
    def fail(notification):
        raise OperationalError('away')

    with pytest.raises(APIException) as raised:
        answered(send=fail)

    assert (raised.value.status_code, raised.value.error_id) == (503, 'task-broker-unreachable')
