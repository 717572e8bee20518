"""The conformance vectors of the reference (rest.md, appendix A) as tables, with the differences that we mean to have.

Read by the tests beside this file, and by the integration tests against a running daemon.
"""
# ruff: noqa: E501  # a table of vectors, one a line

import json
from typing import NamedTuple

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


CHARACTERS = problem('Contains a character that cannot be stored.', 'characters', ['\\u0000', '\\ud800-\\udfff'])
SCHEMA = {'_schema': ['Invalid input type.']}

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
    *[
        post(
            f'certificate {value}', http(verify_certificate=value), 201,
            {'config': {'url': 'http://x', 'method': 'get', 'verify_certificate': value}},
        )
        for value in ('true', 'false', '/x')
    ],
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
    post('custom number of the documentation (ours: kept)', custom({'time_sleep': 10}), 201, {'config': {'time_sleep': 10}}),
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
    post('several metadata', ok(metadata={'a': 1, 'b': True, 'c': None}), 201, {'metadata': {'a': '1', 'b': 'true', 'c': None}}),
    *[post(f'metadata {value!r} (ours: 400)', ok(metadata={'a': value}), 400, {'metadata': [KEY_VALUE]}) for value in ({'b': 'c'}, [1])],
    Vector(
        'the last of a key counts', 'POST', '/subscriptions',
        {'data': '{"name": 5, ' + json.dumps(ok())[1:], 'content_type': 'application/json'}, 201, {'name': 'n'},
    ),
    *[
        post(f'unstorable {where} (ours: 400)', body, 400, details)
        for where, body, details in (
            ('name', ok(name='\0'), {'name': [CHARACTERS]}),
            ('half a character', ok(name='\ud800'), {'name': [CHARACTERS]}),
            ('service', ok(service='a\0'), {'service': [CHARACTERS]}),
            ('event', ok(events=['\0']), {'events': {'0': [CHARACTERS]}}),
            ('url', http(url='\0'), {'config': {'url': [CHARACTERS]}}),
            ('config', custom({'a': '\0'}), {'config': [CHARACTERS]}),
            ('key of config', custom({'\0': 'a'}), {'config': [CHARACTERS]}),
            ('metadata', ok(metadata={'a': '\0'}), {'metadata': [CHARACTERS]}),
            ('key of metadata', ok(metadata={'\0': 'a'}), {'metadata': [CHARACTERS]}),
            ('user', ok(events_user_uuid='\0' * 36), {'events_user_uuid': [CHARACTERS]}),
        )
    ],
    post('long event', ok(events=['x' * 129]), 400, lambda details: details['events']['0'] == [longest(128)]),
    post('null event', ok(events=[None]), 400, {'events': {'0': NULL}}),
]  # fmt: skip

REPLACE = {'op': 'replace', 'path': '/debug', 'value': True}

OTHERS = [
    Vector('put nothing', 'PUT', '/subscriptions/nope', {'json': {}}, 400),
    Vector('put unknown', 'PUT', '/subscriptions/nope', {'json': ok()}, 404, {'subscription_uuid': 'nope'}),
    *[get(f'/subscriptions?recurse={value}', 400, {'recurse': BOOLEAN}) for value in ('', 'maybe', 'null')],
    get('/subscriptions?recurse=true&recurse=false', 200),
    get('/subscriptions?recurse=True', 200),
    get('/users/me/subscriptions?recurse=maybe', 400, {'recurse': BOOLEAN}),
    patch('patch empty', [], 200, {'debug': False}),
    patch('patch object', REPLACE, 400, SCHEMA),
    patch('patch add', [REPLACE | {'op': 'add'}], 400, {'0': {'op': ['Must be equal to replace.']}}),
    patch('patch other path', [REPLACE | {'path': '/x'}], 400, {'0': {'path': ['Must be equal to /debug.']}}),
    patch('patch text', ['a'], 400, {'0': SCHEMA}),
    patch('patch unknown key', [REPLACE | {'x': 1}], 400, {'0': {'x': ['Unknown field.']}}),
    patch('patch bad value', [REPLACE | {'value': 'maybe'}], 400, {'0': {'value': BOOLEAN}}),
    patch('patch nothing (ours: 400)', [{}], 400, {
        '0': {
            'op': ['Missing data for required field.'], 'path': ['Missing data for required field.'], 'value': REQUIRED,
        }
    }),
    *[
        patch(f'patch without {key} (ours: 400)', [{k: value for k, value in REPLACE.items() if k != key}], 400, lambda details, key=key: list(details['0']) == [key])
        for key in REPLACE
    ],
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
    get(f'?offset={10**20}', 400, lambda details: details['offset'][0]['constraint_id'] == 'range'),
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
    get('', 200, {'items': [], 'total': 0, 'filtered': 0}),
]  # fmt: skip

ACCESSES = [
    ('GET', '/subscriptions', 'webhookd.subscriptions.read'),
    ('POST', '/subscriptions', 'webhookd.subscriptions.create'),
    ('GET', '/subscriptions/services', 'webhookd.subscriptions.services.read'),
    ('GET', '/subscriptions/x.y', 'webhookd.subscriptions.x_y.read'),
    ('PUT', '/subscriptions/x.y', 'webhookd.subscriptions.x_y.update'),
    ('DELETE', '/subscriptions/x.y', 'webhookd.subscriptions.x_y.delete'),
    ('GET', '/subscriptions/x.y/logs', 'webhookd.subscriptions.x_y.logs.read'),
    ('GET', '/users/me/subscriptions', 'webhookd.users.me.subscriptions.read'),
    ('POST', '/users/me/subscriptions', 'webhookd.users.me.subscriptions.create'),
    ('GET', '/users/me/subscriptions/x.y', 'webhookd.users.me.subscriptions.x_y.read'),
    ('PUT', '/users/me/subscriptions/x.y', 'webhookd.users.me.subscriptions.x_y.update'),
    ('DELETE', '/users/me/subscriptions/x.y', 'webhookd.users.me.subscriptions.x_y.delete'),
    ('GET', '/status', 'webhookd.status.read'),
    ('GET', '/config', 'webhookd.config.read'),
    ('PATCH', '/config', 'webhookd.config.update'),
    ('POST', '/events', 'webhookd.events.create'),
    ('GET', '/subscriptions/x.y/deliveries', 'webhookd.subscriptions.x_y.deliveries.read'),
    ('GET', '/deliveries/x.y', 'webhookd.deliveries.x_y.read'),
    ('GET', '/subscriptions/x.y/health', 'webhookd.subscriptions.x_y.health.read'),
    ('POST', '/subscriptions/x.y/resume', 'webhookd.subscriptions.x_y.resume.create'),
    ('POST', '/egress/check', 'webhookd.egress.check.create'),
]


def check(response, vector):
    assert response.status_code == vector.status, response.text
    answer = response.json
    if vector.status >= 400 and vector.expected is UNREADABLE:
        assert answer == UNREADABLE
        return
    if vector.status >= 400:
        assert set(answer) == {'message', 'error_id', 'details', 'timestamp'}
        assert isinstance(answer['timestamp'], float)
        answer = answer['details']
    if vector.status == 400:
        assert (response.json['error_id'], response.json['message']) == ('invalid-data', 'Sent data is invalid')
    if callable(vector.expected):
        assert vector.expected(answer)
    elif vector.expected is not None and vector.status >= 400:
        assert answer == vector.expected
    elif vector.expected is not None:
        assert {key: answer[key] for key in vector.expected} == vector.expected
