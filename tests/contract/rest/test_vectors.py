"""The conformance vectors of the reference (rest.md, appendix A), with the differences that we mean to have."""
# ruff: noqa: E501  # a table of vectors, one a line

import json
from typing import NamedTuple

import pytest

from .conftest import MASTER, OTHER

UNREADABLE = {'message': 'The browser (or proxy) sent a request that this server could not understand.'}


class Vector(NamedTuple):
    name: str
    method: str
    path: str
    options: dict
    status: int
    expected: object = None  # details for an error; a subset of the answer, or a check, otherwise
    token: str = 'master'


def ok(**changes):
    return {'name': 'n', 'service': 'http', 'config': {'url': 'http://x', 'method': 'GET'}, 'events': ['a']} | changes


def http(**config):
    return ok(config={'url': 'http://x', 'method': 'GET'} | config)


def custom(config):
    return ok(service='custom', config=config)


def post(name, body, status, expected=None):
    return Vector(name, 'POST', '/subscriptions', {'json': body}, status, expected)


def get(path, status, expected=None, **more):
    return Vector(path, 'GET', path, {}, status, expected, **more)


def patch(name, body, status, expected=None):
    return Vector(name, 'PATCH', '/config', {'json': body}, status, expected)


def problem(message, constraint_id, constraint):
    return {'message': message, 'constraint_id': constraint_id, 'constraint': constraint}


REQUIRED = problem('Missing data for required field.', 'required', 'required')
NULL = problem('Field may not be null.', 'not_null', 'not_null')
STRING = problem('Not a valid string.', 'type', 'string')
LIST = problem('Not a valid list.', 'type', 'list')
MAPPING = problem('Not a valid mapping type.', 'type', 'dict')
BOOLEAN = problem('Not a valid boolean.', 'type', 'boolean')
INTEGER = problem('Not a valid integer.', 'type', 'integer')
DATETIME = problem('Not a valid datetime', 'type', 'datetime')
METHODS = ['head', 'get', 'post', 'put', 'delete']
METHOD = problem(f'Must be one of: {", ".join(METHODS)}.', 'enum', {'choices': METHODS})
CERTIFICATE = problem('Wrong value for verify_certificate', 'verify-certificate-invalid', ['true', 'false', '/*'])
DESTINATION = problem('Invalid destination', 'destination-type', {'type': 'string'})
KEY_VALUE = problem('Not a mapping with string keys and string values', 'key-value-type', 'string')
KEY_LENGTH = problem('Key or value too long', 'key-value-length', {'key-max': 128, 'value-max': 2048})
LENGTH_36 = problem('Length must be 36.', 'length', {'equal': 36})


def longest(limit):
    return problem(f'Longer than maximum length {limit}.', 'length', {'min': None, 'max': limit})


SCHEMA = {'_schema': ['Invalid input type.']}
NOTHING = {'uuid': 'u'}

POSTS = [
    Vector('no body', 'POST', '/subscriptions', {}, 400, UNREADABLE),
    Vector('no content type', 'POST', '/subscriptions', {'data': json.dumps(ok())}, 400, UNREADABLE),
    Vector(
        'a json type', 'POST', '/subscriptions',
        {'data': json.dumps(ok()), 'content_type': 'application/vnd.foo+json'}, 201,
    ),
    *[
        Vector(f'body {body}', 'POST', '/subscriptions', {'data': body, 'content_type': 'application/json'}, 400, SCHEMA)
        for body in ('null', '[]', '[{}]', '"s"')
    ],
    post('empty object', {}, 400, dict.fromkeys(('name', 'service', 'events', 'config'), REQUIRED)),
    post(
        'ok', ok(), 201,
        {
            'config': {'url': 'http://x', 'method': 'get'}, 'metadata': {}, 'owner_user_uuid': None,
            'events_user_uuid': None, 'events_wazo_uuid': None, 'owner_tenant_uuid': MASTER,
        },
    ),
    post('empty name', ok(name=''), 201),
    post('long name', ok(name='x' * 129), 400, {'name': [longest(128)]}),
    post('name of 128', ok(name='x' * 128), 201),
    post('number as name', ok(name=5), 400, {'name': STRING}),
    post('null service', ok(service=None), 400, {'service': NULL}),
    post('object as service', ok(service={'a': 1}), 400, {'service': STRING, 'config': DESTINATION}),
    post('number as service', ok(service=3), 400, {'service': STRING}),
    post('empty service', ok(service=''), 201, {'config': {'url': 'http://x', 'method': 'GET'}}),
    post('no events', ok(events=[]), 201, {'events': []}),
    post('empty event', ok(events=['']), 201, {'events': ['']}),
    post('text as events', ok(events='a'), 400, {'events': LIST}),
    post('object as events', ok(events={'a': 1}), 400, {'events': LIST}),
    post('numbers among events', ok(events=[1, 'ok', 2]), 400, {'events': {'0': STRING, '2': STRING}}),
    post('duplicate events (ours: collapsed)', ok(events=['b', 'a', 'b']), 201, {'events': ['b', 'a']}),
    post('empty config', ok(config={}), 400, {'config': {'url': REQUIRED, 'method': REQUIRED}}),
    *[post(f'http config {config!r} (ours: 400)', ok(config=config), 400, {'config': MAPPING}) for config in ([], 'x', 1)],
    *[post(f'method {method!r}', http(method=method), 400, {'config': {'method': METHOD}}) for method in ('PATCH', 'options', '')],
    post('long method', http(method='x' * 65), 400, {'config': {'method': [longest(64)]}}),
    *[post(f'certificate {value}', http(verify_certificate=value), 201) for value in ('true', 'false', '/x')],
    *[
        post(f'certificate {value!r}', http(verify_certificate=value), 400, {'config': {'verify_certificate': CERTIFICATE}})
        for value in ('True', '', 'wrong')
    ],
    *[
        post(f'certificate {value!r}', http(verify_certificate=value), 400, {'config': {'verify_certificate': STRING}})
        for value in (True, 1)
    ],
    *[
        post(f'{key} null', http(**{key: None}), 201, {'config': {'url': 'http://x', 'method': 'get'}})
        for key in ('body', 'verify_certificate', 'content_type')
    ],
    *[post(f'{key} null', http(**{key: None}), 400, {'config': {key: NULL}}) for key in ('url', 'method')],
    *[post(f'unknown key {value}', http(foo=value), 400, {'config': {'foo': ['Unknown field.']}}) for value in ('bar', None)],
    post('long url', http(url='x' * 8193), 400, {'config': {'url': [longest(8192)]}}),
    post('long body', http(body='x' * 16385), 400, {'config': {'body': [longest(16384)]}}),
    post('long content type', http(content_type='x' * 257), 400, {'config': {'content_type': [longest(256)]}}),
    post('custom number (ours: kept)', custom({'a': 1}), 201, {'config': {'a': 1}}),
    post('custom boolean (ours: kept)', custom({'a': True, 'b': 1.5}), 201, {'config': {'a': True, 'b': 1.5}}),
    *[post(f'custom {value}', custom({'a': value}), 400, {'config': [KEY_VALUE]}) for value in (None, [], {})],
    post('custom long key', custom({'k' * 129: 'v'}), 400, {'config': [KEY_LENGTH]}),
    post('custom long value', custom({'k': 'v' * 2049}), 400, {'config': [KEY_LENGTH]}),
    *[post(f'custom config {config!r}', custom(config), 400, {'config': MAPPING}) for config in ([], 'x', 1)],
    post('upper-case service is custom', ok(service='HTTP', config={'verify_certificate': 'zz'}), 201,
         {'config': {'verify_certificate': 'zz'}}),
    *[post(f'user {value!r}', ok(events_user_uuid=value), 400, {'events_user_uuid': [LENGTH_36]}) for value in ('', 'abc')],
    post('any 36 characters', ok(events_user_uuid='x' * 36), 201, {'events_user_uuid': 'x' * 36}),
    post('ignored keys', ok(uuid='foo', owner_tenant_uuid=OTHER, foo=1, tags={}), 201, {'owner_tenant_uuid': MASTER}),
    post('null metadata', ok(metadata=None), 400, {'metadata': NULL}),
    post('text as metadata', ok(metadata='x'), 400, {'metadata': MAPPING}),
    *[
        post(f'metadata {given!r}', ok(metadata={'a': given}), 201, {'metadata': {'a': stored}})
        for given, stored in ((1, '1'), (True, 'true'), (None, None), ('x', 'x'))
    ],
    post('long event', ok(events=['x' * 129]), 400, lambda details: details['events']['0'] == [longest(128)]),
    post('null event', ok(events=[None]), 400, {'events': {'0': NULL}}),
]  # fmt: skip

OTHERS = [
    Vector('put nothing', 'PUT', '/subscriptions/nope', {'json': {}}, 400),
    Vector('put unknown', 'PUT', '/subscriptions/nope', {'json': ok()}, 404, {'subscription_uuid': 'nope'}),
    *[get(f'/subscriptions?recurse={value}', 400, {'recurse': BOOLEAN}) for value in ('', 'maybe', 'null')],
    get('/subscriptions?recurse=true&recurse=false', 200),
    get('/subscriptions?recurse=True', 200),
    get('/users/me/subscriptions?recurse=maybe', 400, {'recurse': BOOLEAN}),
    patch('patch empty', [], 200, {'debug': False}),
    patch('patch object', {'op': 'replace', 'path': '/debug', 'value': True}, 400, SCHEMA),
    patch('patch add', [{'op': 'add', 'path': '/debug', 'value': True}], 400, {'0': {'op': ['Must be equal to replace.']}}),
    patch('patch other path', [{'op': 'replace', 'path': '/x', 'value': True}], 400, {'0': {'path': ['Must be equal to /debug.']}}),
    patch('patch text', ['a'], 400, {'0': SCHEMA}),
    patch('patch unknown key', [{'op': 'replace', 'path': '/debug', 'value': True, 'x': 1}], 400, {'0': {'x': ['Unknown field.']}}),
    patch('patch bad value', [{'op': 'replace', 'path': '/debug', 'value': 'maybe'}], 400, {'0': {'value': BOOLEAN}}),
    patch('patch nothing (ours: 400)', [{}], 400, {
        '0': {
            'op': ['Missing data for required field.'], 'path': ['Missing data for required field.'], 'value': REQUIRED,
        }
    }),
    Vector('patch without body', 'PATCH', '/config', {}, 400, UNREADABLE),
    Vector('patch with empty body', 'PATCH', '/config', {'data': ''}, 400, UNREADABLE),
    get('/config', 401, {'invalid_token': 'tenant'}, token='tenant'),
    Vector('patch by another tenant', 'PATCH', '/config', {'json': {}}, 401, {'invalid_token': 'tenant'}, 'tenant'),
]  # fmt: skip

LOGS = [
    get('?limit=0', 200, {'items': [], 'total': 0}),
    get('?limit=-1', 400, {'limit': [problem('Must be greater than or equal to 0.', 'range', {'min': 0})]}),
    get('?limit=1.5', 400, {'limit': INTEGER}),
    get('?limit=', 400, {'limit': INTEGER}),
    get('?limit=%2B5&offset=1_0', 200),
    get(f'?limit={2**64}', 400, lambda details: details['limit'][0]['constraint_id'] == 'range'),
    get('?order=uuid', 400, lambda details: details['order'][0]['constraint'] == {
        'choices': ['started_at', 'ended_at', 'status', 'attempts', 'max_attempts']
    }),
    get('?order=', 400),
    get('?direction=DESC', 400, {'direction': [problem('Must be one of: asc, desc.', 'enum', {'choices': ['asc', 'desc']})]}),
    get('?from_date=2026-01-03', 400, {'from_date': DATETIME}),
    get('?from_date=1700000000', 400, {'from_date': DATETIME}),
    get('?from_date=', 400, {'from_date': DATETIME}),
    get('?from_date=2026-01-03T00:00', 200),
    get('?from_date=2026-01-03T00:00:00Z', 200),
    get('?from_date=2026-1-3%200:0:0.5%2B01:30', 200),
    get('', 200, {'items': [], 'total': 0}),
]  # fmt: skip


def check(response, vector):
    assert response.status_code == vector.status, response.text
    answer = response.json
    if vector.status >= 400 and vector.expected is UNREADABLE:
        assert answer == UNREADABLE
        return
    if vector.status >= 400:
        answer = answer['details']
    if callable(vector.expected):
        assert vector.expected(answer)
    elif vector.expected is not None and vector.status >= 400:
        assert answer == vector.expected
    elif vector.expected is not None:
        assert {key: answer[key] for key in vector.expected} == vector.expected


@pytest.mark.parametrize('vector', POSTS + OTHERS, ids=lambda vector: vector.name)
def test_vector(rest, vector):
    check(rest.call(vector.method, vector.path, token=vector.token, **vector.options), vector)


@pytest.mark.parametrize('vector', LOGS, ids=lambda vector: vector.name)
def test_vector_of_logs(rest, vector):
    uuid = rest.create()['uuid']
    check(rest.call('GET', f'/subscriptions/{uuid}/logs{vector.path}'), vector)


def test_logs_of_nothing_are_404_before_their_parameters_are_looked_at(rest):
    assert rest.call('GET', '/subscriptions/nope/logs?limit=x').status_code == 404


@pytest.mark.parametrize(('query', 'found'), [('k:a:b', 1), ('nocolon', 2), ('k:a', 0), ('K:a:b', 0)])
def test_search_by_metadata(rest, query, found):
    rest.create(metadata={'k': 'a:b'})
    rest.create()

    assert rest.call('GET', f'/subscriptions?search_metadata={query}').json['total'] == found


def test_a_filter_that_nothing_can_match_is_refused(rest):
    response = rest.call('GET', '/subscriptions?search_metadata=%00:a')

    assert response.status_code == 400
    assert 'search_metadata' in response.json['details']


@pytest.mark.parametrize('value', [True, 'true', 1, 'on'])
def test_debug_is_switched_on_and_off(rest, value):
    def patched(value):
        return rest.call('PATCH', '/config', json=[{'op': 'replace', 'path': '/debug', 'value': value}])

    response = patched(value)
    assert response.json['debug'] is True
    assert response.json == rest.call('GET', '/config').json

    assert patched(False).json['debug'] is False


def test_a_patch_is_json_whatever_it_calls_itself(rest):
    body = json.dumps([{'op': 'replace', 'path': '/debug', 'value': 'false'}])

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
