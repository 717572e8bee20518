"""The conformance vectors of the reference (rest.md, appendix A), and what holds for each of them."""

import json

import pytest
from sqlalchemy import insert

from wazo_webhookd.database import subscriptions as rows

from .conftest import MASTER
from .vectors import ACCESSES, LOGS, OTHERS, POSTS, REPLACE, check

REFUSED = [vector for vector in POSTS if vector.status == 400]
ACCEPTED = [vector for vector in POSTS if vector.status == 201]


@pytest.mark.parametrize('vector', POSTS + OTHERS, ids=lambda vector: vector.name)
def test_vector(rest, vector):
    check(rest.call(vector.method, vector.path, token=vector.token, **vector.options), vector)


@pytest.mark.parametrize('vector', REFUSED, ids=lambda vector: vector.name)
def test_what_is_refused_is_refused_as_a_change_too_and_nothing_is_stored(rest, vector):
    check(rest.call(vector.method, vector.path, **vector.options), vector)
    check(rest.call('PUT', '/subscriptions/nope', **vector.options), vector)

    assert rest.house.service.list() == []


@pytest.mark.parametrize('vector', ACCEPTED, ids=lambda vector: vector.name)
def test_what_is_accepted_is_shown_and_may_be_sent_back(rest, vector):
    created = rest.call(vector.method, vector.path, **vector.options).json
    path = f'/subscriptions/{created["uuid"]}'

    assert len(created) == 10
    assert rest.call('GET', path).json == created
    assert rest.call('GET', '/subscriptions').json == {'items': [created], 'total': 1, 'filtered': 1}
    again = rest.call('PUT', path, json=created)
    assert (again.status_code, again.json) == (200, created)


@pytest.mark.parametrize('vector', LOGS, ids=lambda vector: vector.name)
def test_vector_of_logs(rest, vector):
    uuid = rest.create()['uuid']
    check(rest.call('GET', f'/subscriptions/{uuid}/logs{vector.path}'), vector)


@pytest.mark.parametrize('vector', LOGS, ids=lambda vector: vector.name)
def test_logs_of_nothing_are_404_before_their_parameters_are_looked_at(rest, vector):
    assert rest.call('GET', f'/subscriptions/nope/logs{vector.path}').status_code == 404


def test_total_of_logs_is_the_length_of_the_page(rest):
    path = f'/subscriptions/{rest.create()["uuid"]}/logs'
    with rest.database.transaction() as connection:
        shared = {'uuid': 'd', 'subscription_uuid': path.split('/')[2], 'status': 'failure', 'detail': 'x'}
        shared['started_at'] = rest.database.now(connection)
        connection.execute(insert(rows.log), [shared | {'attempts': number} for number in range(1, 6)])

    answer = rest.call('GET', f'{path}?limit=2').json
    assert (answer['total'], answer['filtered']) == (2, 5)
    assert [item['attempts'] for item in answer['items']] == [5, 4]
    assert answer['items'][0]['detail'] == {'value': 'x'}
    assert set(answer['items'][0]) == {
        'uuid', 'attempts', 'max_attempts', 'status', 'started_at', 'ended_at', 'event', 'detail',
    }  # fmt: skip
    shown = answer['items'][0]['started_at'].replace('+', '%2B')
    assert rest.call('GET', f'{path}?from_date={shown}').json['filtered'] == 5


@pytest.mark.parametrize(
    ('query', 'found'),
    [
        ('search_metadata=k:a:b', ['first']),
        ('search_metadata=nocolon', ['first', 'second']),
        ('search_metadata=k:a', []),
        ('search_metadata=K:a:b', []),
        ('search_metadata=x:1&search_metadata=k:a:b', ['first']),
        ('search_metadata=x:1&search_metadata=k:c', ['second']),
        ('search_metadata=x:0&search_metadata=x:1', ['first', 'second']),
        ('search_metadata=X:1', []),
    ],
)
def test_search_by_metadata(rest, query, found):
    rest.create(name='first', metadata={'k': 'a:b', 'x': '1'})
    rest.create(name='second', metadata={'k': 'c', 'x': '1'})

    assert [item['name'] for item in rest.call('GET', f'/subscriptions?{query}').json['items']] == found


def test_a_filter_that_nothing_can_match_is_refused(rest):
    response = rest.call('GET', '/subscriptions?search_metadata=%00:a')

    assert response.status_code == 400
    assert 'search_metadata' in response.json['details']


def test_the_first_of_a_repeated_parameter_counts(rest):
    rest.create('tenant')

    assert rest.call('GET', '/subscriptions?recurse=true&recurse=false').json['total'] == 1
    assert rest.call('GET', '/subscriptions?recurse=false&recurse=true').json['total'] == 0
    assert rest.call('GET', '/subscriptions').json['total'] == 0


@pytest.mark.parametrize(
    ('query', 'names', 'total'),
    [
        ('', ['c', 'a', 'b'], 3),
        ('limit=1&offset=1', ['a'], 3),
        ('order=name&direction=desc&limit=2', ['c', 'b'], 3),
        ('search=A&limit=5', ['a'], 1),
        ('limit=0', [], 3),
    ],
)
def test_pages_of_a_list(rest, query, names, total):
    for name in 'cab':
        rest.create(name=name, events=[])

    answer = rest.call('GET', f'/subscriptions?{query}').json
    assert [item['name'] for item in answer['items']] == names
    assert answer['total'] == answer['filtered'] == total


@pytest.mark.parametrize('query', ['order=events', 'limit=9223372036854775808', 'search=%00'])
def test_bad_pages_of_a_list(rest, query):
    assert rest.call('GET', f'/subscriptions?{query}').status_code == 400


@pytest.mark.parametrize(('method', 'path', 'access'), ACCESSES)
def test_the_token_is_judged_first(rest, method, path, access):
    for token in (None, '', 'bad'):
        answer = rest.call(method, path, token=token)
        assert (answer.status_code, answer.json['error_id'], answer.json['message']) == (
            401,
            'unauthorized',
            'Unauthorized',
        )
        assert answer.json['details'] == {
            'invalid_token': token or '', 'reason': 'not_found_or_expired', 'required_access': access,
        }  # fmt: skip

    for token, tenant in (('refused', None), ('tenant', MASTER), ('master', 'unknown')):
        answer = rest.call(method, path, token=token, headers={'Wazo-Tenant': tenant} if tenant else {})
        assert (answer.status_code, answer.json['error_id']) == (401, 'unauthorized')
        assert answer.json['details'] == {
            'invalid_token': token, 'reason': 'missing_permission_or_invalid_tenant', 'required_access': access,
            'tenant_uuid': tenant,
        }  # fmt: skip
        assert 'WWW-Authenticate' not in answer.headers


@pytest.mark.parametrize('value', [True, 'true', 1, 'on'])
def test_debug_is_switched_on_and_off(rest, value):
    def patched(value):
        return rest.call('PATCH', '/config', json=[REPLACE | {'value': value}])

    response = patched(value)
    assert response.json['debug'] is True
    assert response.json == rest.call('GET', '/config').json

    assert patched(False).json['debug'] is False


def test_an_empty_patch_changes_nothing(rest):
    before = rest.call('GET', '/config').json

    assert rest.call('PATCH', '/config', json=[]).json == before


def test_a_patch_is_json_whatever_it_calls_itself(rest):
    body = json.dumps([REPLACE | {'value': 'false'}])

    assert rest.call('PATCH', '/config', data=body, content_type='text/plain').status_code == 200


def test_the_configuration_is_for_the_master_tenant_even_with_its_header(rest):
    rest.authority.tokens['tenant'].visible |= {MASTER}
    response = rest.call('GET', '/config', token='tenant', headers={'Wazo-Tenant': MASTER})

    assert response.status_code == 401
    assert response.json['details'] == {'invalid_token': 'tenant'}


def test_before_the_master_tenant_is_known(rest):
    rest.master_tenant._confirmed = None
    for method in ('GET', 'PATCH'):
        response = rest.call(method, '/config')
        assert response.status_code == 503
        assert response.json['error_id'] == 'master-tenant-not-initialized'
        assert response.json['message'] == 'wazo-webhookd master tenant is not initialized'
        assert response.json['details'] == {}

        assert rest.call(method, '/config', token='bad').status_code == 401


def test_services(rest):
    assert rest.call('GET', '/subscriptions/services').json == {'services': {'http': {}, 'mobile': {}}}
