"""What wazo-auth answers, and what that means for the caller (rest.md 2.3)."""

import json

import pytest
import requests

from wazo_webhookd.auth.cache import TokenCache
from wazo_webhookd.auth.errors import AuthServerUnreachable, MissingPermission, UnauthorizedTenant, UnknownToken
from wazo_webhookd.auth.wazo_auth import WazoAuthority, hide

TOKEN = 'tok/en?1'
TENANT = 'tenant-1'


def answer(status, body=None):
    response = requests.Response()
    response.status_code = status
    response.reason = 'Because'
    response.url = 'http://auth:9497/0.1/token/tok%2Fen%3F1?scope=a.read'
    response._content = body if isinstance(body, bytes) else json.dumps(body).encode() if body is not None else b''
    return response


class FakeClient:
    host, port = 'auth', 9497

    def __init__(self, *answers):
        self.answers = list(answers)
        self.calls = []

    def call(self, method, *path, **options):
        self.calls.append((method, path, options))
        given = self.answers.pop(0)
        if isinstance(given, Exception):
            raise given
        return given


def authority(*answers, seconds=5):
    client = FakeClient(*answers)
    return WazoAuthority(client, TokenCache(seconds)), client


# -- call A


def test_a_good_token_is_asked_for_once_in_a_while():
    known, client = authority(answer(204))
    known.check(TOKEN, 'a.read', None)
    known.check(TOKEN, 'a.read', None)

    assert client.calls == [
        ('HEAD', ('token', TOKEN), {'token': TOKEN, 'params': {'scope': 'a.read', 'tenant': None}}),
    ]


def test_without_cache_every_check_is_a_call():
    known, client = authority(answer(204), answer(204), seconds=0)
    known.check(TOKEN, 'a.read', None)
    known.check(TOKEN, 'a.read', None)

    assert len(client.calls) == 2


def test_an_unknown_token_is_told_with_the_access_it_lacked():
    known, _ = authority(answer(404))
    with pytest.raises(UnknownToken) as caught:
        known.check(TOKEN, 'a.read', None)

    assert caught.value.status_code == 401
    assert caught.value.details == {
        'invalid_token': TOKEN, 'reason': 'not_found_or_expired', 'required_access': 'a.read',
    }  # fmt: skip


def test_a_refusal_names_access_and_tenant():
    known, _ = authority(answer(403))
    with pytest.raises(MissingPermission) as caught:
        known.check(TOKEN, 'a.read', TENANT)

    assert caught.value.details == {
        'invalid_token': TOKEN, 'reason': 'missing_permission_or_invalid_tenant',
        'required_access': 'a.read', 'tenant_uuid': TENANT,
    }  # fmt: skip


def test_bad_news_are_not_kept():
    known, client = authority(answer(404), answer(204))
    with pytest.raises(UnknownToken):
        known.check(TOKEN, 'a.read', None)
    known.check(TOKEN, 'a.read', None)

    assert len(client.calls) == 2


@pytest.mark.parametrize('status', [200, 201, 302, 400, 401, 410, 500, 503])
def test_any_other_answer_to_a_check_is_503_without_the_token(status):
    known, _ = authority(answer(status))
    with pytest.raises(AuthServerUnreachable) as caught:
        known.check(TOKEN, 'a.read', None)

    error = caught.value
    assert error.status_code == 503
    assert error.details['auth_server_host'] == 'auth'
    assert error.details['auth_server_port'] == 9497
    assert error.details['original_error'].startswith(str(status))
    assert 'tok' not in error.details['original_error'].replace('token', '')


@pytest.mark.parametrize(
    'trouble', [requests.ConnectionError('x tok/en?1 y'), requests.ReadTimeout('/token/tok%2Fen%3F1')]
)
def test_an_unreachable_server_is_503_without_the_token(trouble):
    known, _ = authority(trouble)
    with pytest.raises(AuthServerUnreachable) as caught:
        known.check(TOKEN, 'a.read', None)

    assert '<hidden>' in caught.value.details['original_error']


@pytest.mark.parametrize('token', ['.', '..'])
def test_a_token_of_dots_never_reaches_a_url(token):
    known, client = authority()
    with pytest.raises(UnknownToken):
        known.check(token, 'a.read', None)

    assert client.calls == []


def test_a_token_that_cannot_be_sent_is_unknown():
    known, _ = authority(requests.exceptions.InvalidHeader('no'))
    with pytest.raises(UnknownToken):
        known.check('bad\n', 'a.read', None)


# -- call B


def test_the_details_of_a_token_are_kept_too():
    known, client = authority(answer(200, {'data': {'token': TOKEN, 'session_uuid': 's'}}))

    assert known.details(TOKEN)['session_uuid'] == 's'
    assert known.details(TOKEN)['session_uuid'] == 's'
    assert len(client.calls) == 1


@pytest.mark.parametrize('status', [401, 403, 404, 500])
def test_a_token_that_cannot_be_read_is_unknown(status):
    known, _ = authority(answer(status, {}))
    with pytest.raises(UnknownToken) as caught:
        known.details(TOKEN)

    assert caught.value.details == {'invalid_token': TOKEN, 'reason': 'not_found_or_expired'}


@pytest.mark.parametrize(
    'body',
    [b'<html>', b'[]', b'{"data": 3}', b'{}', b'\xff\xfe', b'[' * 100_000, b'{"data": ' + b'9' * 5_000 + b'}'],
    ids=['html', 'list', 'number', 'nothing', 'bytes', 'deep', 'long number'],
)
def test_details_that_are_none_are_503(body):
    known, _ = authority(answer(200, body))
    with pytest.raises(AuthServerUnreachable):
        known.details(TOKEN)


# -- call C


def test_visible_tenants_are_those_that_wazo_auth_lists():
    known, client = authority(answer(200, {'items': [{'uuid': 'a'}, {'uuid': 'b'}], 'total': 2}))

    assert known.visible_tenants(TOKEN, TENANT) == {'a', 'b'}
    assert known.visible_tenants(TOKEN, TENANT) == {'a', 'b'}
    assert client.calls == [('GET', ('tenants',), {'token': TOKEN, 'tenant_uuid': TENANT})]


def test_an_empty_list_shows_nothing():
    known, _ = authority(answer(200, {'items': [], 'total': 0}))

    assert known.visible_tenants(TOKEN, TENANT) == frozenset()


@pytest.mark.parametrize('status', [401, 403])
def test_who_may_not_list_tenants_sees_the_scope_tenant(status):
    known, _ = authority(answer(status))

    assert known.visible_tenants(TOKEN, TENANT) == {TENANT}


def test_a_tenant_that_is_gone_is_unauthorized():
    known, _ = authority(answer(404))
    with pytest.raises(UnauthorizedTenant) as caught:
        known.visible_tenants(TOKEN, TENANT)

    assert caught.value.details == {'tenant_uuid': TENANT}


@pytest.mark.parametrize(
    'given', [answer(500), answer(302), answer(200, b'no'), answer(200, {'items': 3}), answer(200, [])]
)
def test_a_list_of_tenants_that_is_none_is_503(given):
    known, _ = authority(given)
    with pytest.raises(AuthServerUnreachable):
        known.visible_tenants(TOKEN, TENANT)


def test_a_deleted_session_is_asked_for_again():
    known, client = authority(answer(200, {'data': {'session_uuid': 's'}}), answer(404))
    known.details(TOKEN)
    known.forget_session('s')
    with pytest.raises(UnknownToken):
        known.details(TOKEN)

    assert len(client.calls) == 2


def test_an_empty_token_hides_nothing():
    assert hide('some text', '') == 'some text'
