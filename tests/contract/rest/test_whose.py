"""Whose subscriptions a caller sees and changes (rest.md 1.9, 1.10, 2.4 and appendix B)."""

from urllib.parse import unquote

import pytest

from wazo_webhookd.auth.errors import UnknownToken

from .conftest import MASTER, OTHER, TENANT, USER, WAZO, KnownToken

BODY = {'name': 'n', 'service': 'http', 'config': {'url': 'http://x', 'method': 'get'}, 'events': ['a']}
SOMEBODY = '22222222-0000-4000-8000-00000000000f'


def listed(rest, token, query='', path='/subscriptions'):
    answer = rest.call('GET', f'{path}{query}', token=token).json
    assert answer['total'] == answer['filtered'] == len(answer['items'])
    return {item['uuid'] for item in answer['items']}


def test_a_list_shows_one_tenant_or_with_recurse_all_below(rest):
    mine, below = rest.create('master')['uuid'], rest.create('tenant')['uuid']

    assert listed(rest, 'master') == {mine}
    assert listed(rest, 'master', '?recurse=True') == {mine, below}
    assert listed(rest, 'tenant', '?recurse=true') == {below}
    assert listed(rest, 'other') == set()


def test_the_header_names_the_tenant_to_act_in(rest):
    created = rest.call('POST', '/subscriptions', json=BODY, headers={'Wazo-Tenant': TENANT}).json

    assert created['owner_tenant_uuid'] == TENANT
    assert listed(rest, 'tenant') == {created['uuid']}
    response = rest.call('GET', '/subscriptions', headers={'Wazo-Tenant': TENANT})
    assert response.json['total'] == 1


def test_single_subscriptions_are_visible_from_above_and_not_from_beside(rest):
    created = rest.create('tenant')
    path = f'/subscriptions/{created["uuid"]}'
    for token, tenant, status in (
        ('master', None, 200),
        ('master', TENANT, 200),
        ('tenant', None, 200),
        ('other', None, 404),
        ('master', OTHER, 404),
    ):
        who = {'token': token, 'headers': {'Wazo-Tenant': tenant} if tenant else {}}
        assert rest.call('GET', path, **who).status_code == status
        assert rest.call('GET', f'{path}/logs', **who).status_code == status
        changed = rest.call('PUT', path, json=BODY, **who)
        assert changed.status_code == status
        assert status == 404 or changed.json == created
        assert status == 200 or rest.call('DELETE', path, **who).status_code == 404
    assert rest.call('DELETE', path, token='master').status_code == 204


def test_an_empty_list_of_tenants_shows_nothing(rest):
    uuid = rest.create('master')['uuid']
    rest.authority.tokens['master'].visible = frozenset()

    assert rest.call('GET', f'/subscriptions/{uuid}').status_code == 404
    assert rest.call('DELETE', f'/subscriptions/{uuid}').status_code == 404
    assert listed(rest, 'master', '?recurse=true') == set()


def test_a_uuid_in_capitals_is_the_same_uuid(rest):
    uuid = rest.create()['uuid']

    assert rest.call('GET', f'/subscriptions/{uuid.upper()}').json['uuid'] == uuid


@pytest.mark.parametrize(
    'uuid',
    [
        'nope', SOMEBODY, SOMEBODY.upper(), 'services2', '%00', 'a%00b', 'x' * 5000, '%F0%9F%98%80', "'; drop table--",
        'a.b', '...',
    ],
)  # fmt: skip
def test_what_is_not_there_is_not_found(rest, uuid):
    shown = unquote(uuid)
    for method in ('GET', 'PUT', 'DELETE'):
        answer = rest.call(method, f'/subscriptions/{uuid}', json=BODY)
        assert (answer.status_code, answer.json['error_id']) == (404, 'no-such-subscription')
        assert answer.json['message'] == f'No such subscription: {shown}'
        assert answer.json['details'] == {'subscription_uuid': shown}
    assert rest.call('GET', f'/deliveries/{uuid}').status_code == 404


def test_an_admin_put_keeps_tenant_and_unnamed_owner(rest):
    created = rest.call('POST', '/users/me/subscriptions', token='tenant', json=BODY | {'metadata': {'a': 'b'}}).json
    path = f'/subscriptions/{created["uuid"]}'
    changed = rest.call('PUT', path, json=BODY | {'name': 'new'}).json

    assert (changed['owner_tenant_uuid'], changed['owner_user_uuid']) == (TENANT, USER)
    assert changed == created | {'name': 'new', 'metadata': {}, 'events_user_uuid': None, 'events_wazo_uuid': None}
    assert rest.call('PUT', path, json=BODY | {'owner_user_uuid': None}).json['owner_user_uuid'] is None


def test_a_whole_object_may_be_sent_back(rest):
    created = rest.create()

    assert rest.call('PUT', f'/subscriptions/{created["uuid"]}', json=created).json == created


# -- users


def test_a_users_subscription_is_forced_from_the_token(rest):
    given = BODY | {
        'owner_user_uuid': 5, 'events_user_uuid': SOMEBODY, 'events_wazo_uuid': 'x', 'owner_tenant_uuid': OTHER,
        'uuid': 'u',
    }  # fmt: skip
    response = rest.call('POST', '/users/me/subscriptions', token='tenant', json=given, headers={'Wazo-Tenant': TENANT})
    created = response.json

    assert response.status_code == 201
    assert created['owner_user_uuid'] == created['events_user_uuid'] == USER
    assert created['events_wazo_uuid'] == WAZO
    assert created['owner_tenant_uuid'] == TENANT
    assert len(created) == 10
    assert listed(rest, 'tenant', path='/users/me/subscriptions') == {created['uuid']}
    elsewhere = {'Wazo-Tenant': OTHER}
    assert rest.call('GET', '/users/me/subscriptions', token='tenant', headers=elsewhere).status_code == 401


def test_a_user_changes_what_is_wished_and_not_whose_it_is(rest):
    created = rest.call('POST', '/users/me/subscriptions', token='tenant', json=BODY | {'metadata': {'a': 'b'}}).json
    path = f'/users/me/subscriptions/{created["uuid"]}'
    given = BODY | {'uuid': 'u', 'events_user_uuid': SOMEBODY, 'owner_user_uuid': None, 'events': ['b']}
    changed = rest.call('PUT', path, token='tenant', json=given).json

    assert changed == created | {'events': ['b'], 'metadata': {}}
    assert rest.call('GET', path, token='tenant').json == changed
    assert rest.call('DELETE', path, token='tenant').status_code == 204
    assert rest.call('GET', path, token='tenant').status_code == 404


def test_a_user_sees_neither_unowned_nor_others_subscriptions(rest):
    unowned = rest.create('tenant', events_user_uuid=USER)['uuid']
    others = rest.create('tenant', owner_user_uuid=SOMEBODY)['uuid']
    elsewhere = rest.create('other', owner_user_uuid=USER)['uuid']

    assert listed(rest, 'tenant', path='/users/me/subscriptions') == set()
    for uuid in (unowned, others, elsewhere):
        path = f'/users/me/subscriptions/{uuid}'
        assert rest.call('GET', path, token='tenant').status_code == 404
        assert rest.call('PUT', path, token='tenant', json=BODY).status_code == 404
        assert rest.call('DELETE', path, token='tenant').status_code == 404


def test_a_users_list_is_searched_by_metadata(rest):
    for metadata in ({'a': '1', 'b': '2'}, {'a': '1'}, {'b': '2'}):
        rest.call('POST', '/users/me/subscriptions', token='tenant', json=BODY | {'metadata': metadata})

    assert len(listed(rest, 'tenant', '?search_metadata=a:1&search_metadata=b:2', '/users/me/subscriptions')) == 1


@pytest.mark.parametrize(
    ('method', 'path'), [('GET', ''), ('POST', ''), ('GET', '/{}'), ('PUT', '/{}'), ('DELETE', '/{}')]
)
def test_a_token_of_no_user_shows_and_changes_nothing(rest, method, path):
    theirs = rest.create('other', owner_user_uuid=USER)
    path = f'/users/me/subscriptions{path.format(theirs["uuid"])}'
    response = rest.call(method, path, token='other', json=BODY | {'name': 'new'})

    assert [found.to_dict() for found in rest.house.service.list()] == [theirs]

    assert response.status_code == 400
    assert response.json['error_id'] == 'token-with-user-uuid-required'
    assert response.json['message'] == 'A valid token with a user UUID is required'
    assert response.json['details'] == {}


# -- what wazo-auth may also say


def test_a_token_that_cannot_be_read_after_its_check(rest, monkeypatch):
    def details(token):
        raise UnknownToken(token)

    monkeypatch.setattr(rest.authority, 'details', details)
    response = rest.call('POST', '/subscriptions', json=BODY)
    assert response.status_code == 401
    assert response.json['details'] == {'invalid_token': 'master', 'reason': 'not_found_or_expired'}

    response = rest.call('GET', '/config')
    assert response.status_code == 401
    assert response.json['details'] == {'invalid_token': 'master'}


def test_a_token_without_tenant(rest):
    rest.authority.tokens['homeless'] = KnownToken(None)

    assert rest.call('GET', '/subscriptions', token='homeless').status_code == 503
    assert rest.call('GET', '/config', token='homeless').json['details'] == {'invalid_token': 'homeless'}


def test_the_master_tenant_may_act_anywhere_below(rest):
    response = rest.call('GET', '/subscriptions', headers={'Wazo-Tenant': MASTER})

    assert response.status_code == 200
