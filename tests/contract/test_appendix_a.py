"""The conformance vectors of the reference (rest.md, Appendix A), and the rules of scope around them.

A real application with its real plugins over SQLite; who may do what is decided by a table of tokens
instead of wazo-auth. Where we differ on purpose (reference, README), the difference is what is tested.
"""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import insert

from wazo_webhookd import config as configuration
from wazo_webhookd import rest_api
from wazo_webhookd.auth.errors import AuthServerUnreachable, MissingPermission, UnknownToken
from wazo_webhookd.auth.master_tenant import MasterTenant
from wazo_webhookd.auth.verifier import auth_verifier
from wazo_webhookd.database import schema
from wazo_webhookd.database import subscriptions as rows
from wazo_webhookd.database.session import Database
from wazo_webhookd.plugins.config.plugin import Plugin as ConfigPlugin
from wazo_webhookd.plugins.services.plugin import Plugin as ServicesPlugin
from wazo_webhookd.plugins.subscription.plugin import Plugin as SubscriptionPlugin
from wazo_webhookd.subscriptions.feed import ChangeFeed
from wazo_webhookd.subscriptions.service import SubscriptionService

MASTER, CHILD, OTHER = (str(uuid.uuid4()) for _ in range(3))
ALICE, BOB, WAZO = (str(uuid.uuid4()) for _ in range(3))
BELOW: Mapping[str, frozenset[str]] = {
    MASTER: frozenset((MASTER, CHILD, OTHER)),
    CHILD: frozenset((CHILD,)),
    OTHER: frozenset((OTHER,)),
}


@dataclass(frozen=True)
class Person:
    tenant: str
    user: str | None
    accesses: bool = True
    sees_tenants: bool = True


TOKENS = {
    'master': Person(MASTER, None),
    'child': Person(CHILD, None),
    'other': Person(OTHER, None),
    'alice': Person(CHILD, ALICE),
    'bob': Person(CHILD, BOB),
    'lacks-acl': Person(MASTER, None, accesses=False),
    'sees-no-tenant': Person(MASTER, None, sees_tenants=False),
}


class Authority:
    """Answers as wazo-auth does, out of TOKENS."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def check(self, token: str, access: str, tenant_uuid: str | None) -> None:
        self.asked.append(access)
        person = TOKENS.get(token)
        if person is None:
            raise UnknownToken(token, access)
        if not person.accesses or (tenant_uuid is not None and tenant_uuid not in BELOW[person.tenant]):
            raise MissingPermission(token, access, tenant_uuid)

    def details(self, token: str) -> Mapping[str, Any]:
        person = TOKENS[token]
        return {'xivo_uuid': WAZO, 'metadata': {'uuid': person.user, 'tenant_uuid': person.tenant}}

    def visible_tenants(self, token: str, tenant_uuid: str) -> frozenset[str]:
        return BELOW[tenant_uuid] if TOKENS[token].sees_tenants else frozenset()

    def unreachable(self, reason: str) -> AuthServerUnreachable:
        return AuthServerUnreachable('auth', 9497, reason)

    def forget_session(self, session_uuid: str) -> None:
        """Nothing is remembered."""


class Caller:
    """Calls the application as somebody."""

    def __init__(self, client: FlaskClient, token: str | None, tenant: str | None = None) -> None:
        self._client = client
        self._headers = {} if token is None else {'X-Auth-Token': token}
        if tenant is not None:
            self._headers['Wazo-Tenant'] = tenant

    def __call__(self, method: str, path: str, body: Any = None, **options: Any) -> Any:
        if body is not None:
            options.setdefault('content_type', 'application/json')
            options['data'] = body if isinstance(body, str | bytes) else json.dumps(body)
        return self._client.open(f'/1.0{path}', method=method, headers=self._headers, **options)


@dataclass
class World:
    client: FlaskClient
    authority: Authority
    database: Database
    service: SubscriptionService

    def caller(self, token: str | None = 'master', tenant: str | None = None) -> Caller:
        return Caller(self.client, token, tenant)


@pytest.fixture(scope='module')
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp('database') / 'template.sqlite'
    schema.upgrade(f'sqlite:///{path}')
    return path


@pytest.fixture
def world(template: Path, tmp_path: Path) -> Iterator[World]:
    path = tmp_path / 'webhookd.sqlite'
    path.write_bytes(template.read_bytes())
    database = Database.from_uri(f'sqlite:///{path}')
    feed = ChangeFeed()
    feed.attach(database=database)
    config = configuration.from_tree({'uuid': WAZO})
    service = SubscriptionService(config, feed=feed)
    application, api = rest_api.new_application()
    dependencies: dict[str, Any] = {
        'api': api,
        'config': config.tree,
        'service_manager': SimpleNamespace(names=lambda: ['http', 'mobile']),
        'house': SimpleNamespace(config=config, service=service, reload=None, on_debug=lambda debug: None),
    }
    for plugin in (SubscriptionPlugin(), ServicesPlugin(), ConfigPlugin()):
        plugin.load(dependencies)
    rest_api.configure(config.rest_api, application)
    authority, before = Authority(), (auth_verifier._authority, auth_verifier.master_tenant)
    level = logging.getLogger().level
    auth_verifier.configure(authority, MasterTenant(pinned=MASTER))
    yield World(application.test_client(), authority, database, service)
    logging.getLogger().setLevel(level)
    auth_verifier._authority, auth_verifier.master_tenant = before
    database.dispose()


@pytest.fixture
def call(world: World) -> Caller:
    return world.caller()


OK: dict[str, Any] = {'name': 'n', 'service': 'http', 'config': {'url': 'http://x', 'method': 'GET'}, 'events': ['a']}
CUSTOM = {**OK, 'service': 'custom'}
BROWSER = {'message': 'The browser (or proxy) sent a request that this server could not understand.'}
INPUT = {'_schema': ['Invalid input type.']}
UNKNOWN = '5f0c1c52-7a0e-4f43-9c2b-3f1f0d3c7a11'


def http(**config: Any) -> dict[str, Any]:
    return {**OK, 'config': {**OK['config'], **config}}


def error(constraint_id: str, constraint: Any, message: str) -> dict[str, Any]:
    return {'message': message, 'constraint_id': constraint_id, 'constraint': constraint}


REQUIRED = error('required', 'required', 'Missing data for required field.')
NULL = error('not_null', 'not_null', 'Field may not be null.')
STRING = error('type', 'string', 'Not a valid string.')
LIST = error('type', 'list', 'Not a valid list.')
DICT = error('type', 'dict', 'Not a valid mapping type.')
BOOLEAN = error('type', 'boolean', 'Not a valid boolean.')
DATE = error('type', 'datetime', 'Not a valid datetime')
CHOICES = ['head', 'get', 'post', 'put', 'delete']
METHOD = error('enum', {'choices': CHOICES}, f'Must be one of: {", ".join(CHOICES)}.')
CERTIFICATE = error('verify-certificate-invalid', ['true', 'false', '/*'], 'Wrong value for verify_certificate')
PAIR = error('key-value-type', 'string', 'Not a mapping with string keys and string values')
PAIR_LENGTH = error('key-value-length', {'key-max': 128, 'value-max': 2048}, 'Key or value too long')
DESTINATION = error('destination-type', {'type': 'string'}, 'Invalid destination')
EQUAL_36 = error('length', {'equal': 36}, 'Length must be 36.')


def longer(limit: int) -> dict[str, Any]:
    return error('length', {'min': None, 'max': limit}, f'Longer than maximum length {limit}.')


# -- what is sent


REFUSED: dict[str, tuple[Any, dict[str, Any]]] = {
    'null': ('null', INPUT),
    'a list': ([], INPUT),
    'a list of objects': ([{}], INPUT),
    'a text': ('"s"', INPUT),
    'an empty object': ('{}', dict.fromkeys(['name', 'service', 'events', 'config'], REQUIRED)),
    'name of 129': ({**OK, 'name': 'x' * 129}, {'name': [longer(128)]}),
    'name 5': ({**OK, 'name': 5}, {'name': STRING}),
    'service null': ({**OK, 'service': None}, {'service': NULL}),
    'service object': ({**OK, 'service': {'a': 1}}, {'service': STRING, 'config': DESTINATION}),
    'service 3': ({**OK, 'service': 3}, {'service': STRING}),
    'events text': ({**OK, 'events': 'a'}, {'events': LIST}),
    'events object': ({**OK, 'events': {'a': 1}}, {'events': LIST}),
    'events 1 ok 2': ({**OK, 'events': [1, 'ok', 2]}, {'events': {'0': STRING, '2': STRING}}),
    'config empty': ({**OK, 'config': {}}, {'config': {'url': REQUIRED, 'method': REQUIRED}}),
    'config list (difference 1)': ({**OK, 'config': []}, {'config': DICT}),
    'config text (difference 1)': ({**OK, 'config': 'x'}, {'config': DICT}),
    'config number (difference 1)': ({**OK, 'config': 1}, {'config': DICT}),
    'method PATCH': (http(method='PATCH'), {'config': {'method': METHOD}}),
    'method options': (http(method='options'), {'config': {'method': METHOD}}),
    'method empty': (http(method=''), {'config': {'method': METHOD}}),
    'method of 65': (http(method='x' * 65), {'config': {'method': [longer(64)]}}),
    'certificate True': (http(verify_certificate='True'), {'config': {'verify_certificate': CERTIFICATE}}),
    'certificate empty': (http(verify_certificate=''), {'config': {'verify_certificate': CERTIFICATE}}),
    'certificate wrong': (http(verify_certificate='wrong'), {'config': {'verify_certificate': CERTIFICATE}}),
    'certificate true': (http(verify_certificate=True), {'config': {'verify_certificate': STRING}}),
    'certificate 1': (http(verify_certificate=1), {'config': {'verify_certificate': STRING}}),
    'unknown key': (http(foo='bar'), {'config': {'foo': ['Unknown field.']}}),
    'unknown key null': (http(foo=None), {'config': {'foo': ['Unknown field.']}}),
    'custom null': ({**CUSTOM, 'config': {'a': None}}, {'config': [PAIR]}),
    'custom object': ({**CUSTOM, 'config': {'a': {}}}, {'config': [PAIR]}),
    'custom key of 129': ({**CUSTOM, 'config': {'k' * 129: 'v'}}, {'config': [PAIR_LENGTH]}),
    'custom value of 2049': ({**CUSTOM, 'config': {'k': 'v' * 2049}}, {'config': [PAIR_LENGTH]}),
    'custom list': ({**CUSTOM, 'config': []}, {'config': DICT}),
    'custom text': ({**CUSTOM, 'config': 'x'}, {'config': DICT}),
    'custom number': ({**CUSTOM, 'config': 1}, {'config': DICT}),
    'events_user_uuid empty': ({**OK, 'events_user_uuid': ''}, {'events_user_uuid': [EQUAL_36]}),
    'events_user_uuid abc': ({**OK, 'events_user_uuid': 'abc'}, {'events_user_uuid': [EQUAL_36]}),
    'metadata null': ({**OK, 'metadata': None}, {'metadata': NULL}),
    'metadata text': ({**OK, 'metadata': 'x'}, {'metadata': DICT}),
    'metadata nested (difference 1)': ({**OK, 'metadata': {'a': {'b': 'c'}}}, {'metadata': [PAIR]}),
}


@pytest.mark.parametrize('case', REFUSED.values(), ids=REFUSED.keys())
@pytest.mark.parametrize('how', ['POST', 'PUT'])
def test_refused(world: World, case: tuple[Any, dict[str, Any]], how: str) -> None:
    body, details = case
    path = '/subscriptions' if how == 'POST' else '/subscriptions/nope'
    answer = world.caller()(how, path, body)

    assert answer.status_code == 400
    assert answer.json['details'] == details
    assert (answer.json['error_id'], answer.json['message']) == ('invalid-data', 'Sent data is invalid')
    assert isinstance(answer.json['timestamp'], float)
    assert set(answer.json) == {'message', 'error_id', 'details', 'timestamp'}
    assert world.service.list() == []


NUL = {
    'name': {**OK, 'name': '\0'},
    'service': {**OK, 'service': 'a\0'},
    'events': {**OK, 'events': ['\0']},
    'url': http(url='\0'),
    'custom config': {**CUSTOM, 'config': {'a': '\0'}},
    'custom key': {**CUSTOM, 'config': {'\0': 'a'}},
    'metadata': {**OK, 'metadata': {'a': '\0'}},
    'metadata key': {**OK, 'metadata': {'\0': 'a'}},
    'events_user_uuid': {**OK, 'events_user_uuid': '\0' * 36},
    'half a surrogate pair': {**OK, 'name': '\ud800'},
}


@pytest.mark.parametrize('body', NUL.values(), ids=NUL.keys())
def test_what_no_column_takes_is_refused(call: Caller, body: dict[str, Any]) -> None:
    answer = call('POST', '/subscriptions', body)

    assert answer.status_code == 400
    assert answer.json['error_id'] == 'invalid-data'


UNREADABLE: dict[str, dict[str, Any]] = {
    'no body': {'content_type': 'application/json'},
    'no content type': {'body': json.dumps(OK), 'content_type': None},
    'text': {'body': json.dumps(OK), 'content_type': 'text/plain'},
    'malformed': {'body': '{"name": '},
    'not UTF-8': {'body': b'{"name": "\xff"}'},
    'not a number of JSON': {'body': '{"name": NaN}'},
}


@pytest.mark.parametrize('options', UNREADABLE.values(), ids=UNREADABLE.keys())
def test_unreadable_bodies(call: Caller, options: dict[str, Any]) -> None:
    for method, path in (('POST', '/subscriptions'), ('PUT', f'/subscriptions/{UNKNOWN}')):
        answer = call(method, path, **options)

        assert (answer.status_code, answer.json) == (400, BROWSER)


ACCEPTED: dict[str, tuple[Any, dict[str, Any]]] = {
    'the usual': (
        OK,
        {
            'config': {'url': 'http://x', 'method': 'get'},
            'metadata': {},
            'events_user_uuid': None,
            'events_wazo_uuid': None,
            'owner_user_uuid': None,
            'owner_tenant_uuid': MASTER,
        },
    ),
    'empty name': ({**OK, 'name': ''}, {'name': ''}),
    'empty service': ({**OK, 'service': ''}, {'config': {'url': 'http://x', 'method': 'GET'}}),
    'no events': ({**OK, 'events': []}, {'events': []}),
    'event without a name': ({**OK, 'events': ['']}, {'events': ['']}),
    'doubled events (difference 1)': ({**OK, 'events': ['a', 'a']}, {'events': ['a']}),
    'certificate true': (
        http(verify_certificate='true'),
        {'config': {'url': 'http://x', 'method': 'get', 'verify_certificate': 'true'}},
    ),
    'certificate path': (
        http(verify_certificate='/x'),
        {'config': {'url': 'http://x', 'method': 'get', 'verify_certificate': '/x'}},
    ),
    'nulls': (
        http(body=None, verify_certificate=None, content_type=None),
        {'config': {'url': 'http://x', 'method': 'get'}},
    ),
    'service HTTP': (
        {**OK, 'service': 'HTTP', 'config': {'verify_certificate': 'zz'}},
        {'config': {'verify_certificate': 'zz'}},
    ),
    'scalars (difference 2)': (
        {**CUSTOM, 'config': {'time_sleep': 10, 'b': True, 'f': 1.5}},
        {'config': {'time_sleep': 10, 'b': True, 'f': 1.5}},
    ),
    '36 characters': ({**OK, 'events_user_uuid': 'x' * 36}, {'events_user_uuid': 'x' * 36}),
    'ignored keys': (
        {**OK, 'uuid': 'foo', 'owner_tenant_uuid': OTHER, 'foo': 1, 'tags': {}},
        {'owner_tenant_uuid': MASTER},
    ),
    'metadata': ({**OK, 'metadata': {'a': 1, 'b': True, 'c': None}}, {'metadata': {'a': '1', 'b': 'true', 'c': None}}),
    'the last of a key counts': ('{"name": 5, ' + json.dumps(OK)[1:], {'name': 'n'}),
}  # fmt: skip


@pytest.mark.parametrize('case', ACCEPTED.values(), ids=ACCEPTED.keys())
def test_accepted(call: Caller, case: tuple[Any, dict[str, Any]]) -> None:
    body, expected = case
    answer = call('POST', '/subscriptions', body)

    assert answer.status_code == 201
    assert {key: answer.json[key] for key in expected} == expected
    assert len(answer.json) == 10
    assert 'foo' not in answer.json['uuid']
    assert call('GET', f'/subscriptions/{answer.json["uuid"]}').json == answer.json
    assert call('GET', '/subscriptions').json == {'items': [answer.json], 'total': 1, 'filtered': 1}
    again = call('PUT', f'/subscriptions/{answer.json["uuid"]}', answer.json)
    assert (again.status_code, again.json) == (200, answer.json)


def test_other_json_content_types(call: Caller) -> None:
    assert call('POST', '/subscriptions', OK, content_type='application/vnd.foo+json').status_code == 201
    assert call('POST', '/subscriptions', OK, content_type='application/json; charset=utf-8').status_code == 201


def test_the_body_is_judged_before_the_subscription_is_looked_up(call: Caller) -> None:
    assert call('PUT', '/subscriptions/nope', {}).status_code == 400
    assert call('PUT', '/subscriptions/nope', OK).status_code == 404


@pytest.mark.parametrize('asked', ['nope', UNKNOWN, UNKNOWN.upper(), 'a.b', '%00', 'services2'])
def test_unknown_subscriptions(world: World, asked: str) -> None:
    for method in ('GET', 'PUT', 'DELETE'):
        answer = world.caller()(method, f'/subscriptions/{asked}', OK if method == 'PUT' else None)
        shown = asked.replace('%00', '\0')

        assert answer.status_code == 404
        assert answer.json['error_id'] == 'no-such-subscription'
        assert answer.json['message'] == f'No such subscription: {shown}'
        assert answer.json['details'] == {'subscription_uuid': shown}
    assert world.authority.asked[0] == f'webhookd.subscriptions.{shown.replace(".", "_")}.read'


# -- lists


@pytest.mark.parametrize('query', ['recurse=', 'recurse=maybe', 'recurse=null'])
def test_bad_recurse(world: World, query: str) -> None:
    for path, token in (('/subscriptions', 'master'), ('/users/me/subscriptions', 'alice')):
        answer = world.caller(token)('GET', f'{path}?{query}')

        assert answer.status_code == 400
        assert answer.json['details'] == {'recurse': BOOLEAN}


def test_first_of_a_repeated_parameter_counts(world: World) -> None:
    world.caller('child')('POST', '/subscriptions', OK)

    assert world.caller()('GET', '/subscriptions?recurse=true&recurse=false').json['total'] == 1
    assert world.caller()('GET', '/subscriptions?recurse=false&recurse=true').json['total'] == 0
    assert world.caller()('GET', '/subscriptions').json['total'] == 0


@pytest.mark.parametrize(
    ('query', 'found'),
    [
        ('search_metadata=k:a:b', [0]),
        ('search_metadata=nocolon', [0, 1]),
        ('search_metadata=k:a', []),
        ('search_metadata=x:1&search_metadata=k:a:b', [0]),
        ('search_metadata=x:1&search_metadata=k:c', [1]),
        ('search_metadata=x:0&search_metadata=x:1', [0, 1]),
        ('search_metadata=X:1', []),
    ],
)
def test_search_of_metadata(call: Caller, query: str, found: list[int]) -> None:
    uuids = [
        call('POST', '/subscriptions', {**OK, 'metadata': {'k': value, 'x': '1'}}).json['uuid']
        for value in ('a:b', 'c')
    ]

    items = call('GET', f'/subscriptions?{query}').json['items']
    assert [item['uuid'] for item in items] == [uuids[number] for number in found]


def test_pages_of_a_list(call: Caller) -> None:
    for name in 'cab':
        call('POST', '/subscriptions', {**OK, 'name': name, 'events': []})

    def names(query: str) -> tuple[list[str], int, int]:
        answer = call('GET', f'/subscriptions?{query}').json
        return [item['name'] for item in answer['items']], answer['total'], answer['filtered']

    assert names('') == (['c', 'a', 'b'], 3, 3)
    assert names('limit=1&offset=1') == (['a'], 3, 3)
    assert names('order=name&direction=desc&limit=2') == (['c', 'b'], 3, 3)
    assert names('search=A&limit=5') == (['a'], 1, 1)
    assert names('limit=0') == ([], 3, 3)
    assert call('GET', '/subscriptions?order=events').status_code == 400
    assert call('GET', '/subscriptions?limit=9223372036854775808').status_code == 400
    assert call('GET', '/subscriptions?search=%00').status_code == 400


# -- logs


LOG_QUERIES: dict[str, tuple[str, int, Any]] = {
    'limit 0': ('limit=0', 200, {'items': [], 'total': 0, 'filtered': 0}),
    'limit -1': ('limit=-1', 400, {'limit': [error('range', {'min': 0}, 'Must be greater than or equal to 0.')]}),
    'limit +5': ('limit=%2B5', 200, None),
    'limit 1.5': ('limit=1.5', 400, {'limit': error('type', 'integer', 'Not a valid integer.')}),
    'order uuid': (
        'order=uuid',
        400,
        {
            'order': [
                error(
                    'enum',
                    {'choices': ['started_at', 'ended_at', 'status', 'attempts', 'max_attempts']},
                    'Must be one of: started_at, ended_at, status, attempts, max_attempts.',
                )
            ]
        },
    ),
    'direction DESC': (
        'direction=DESC',
        400,
        {'direction': [error('enum', {'choices': ['asc', 'desc']}, 'Must be one of: asc, desc.')]},
    ),
    'a bare date': ('from_date=2026-01-03', 400, {'from_date': DATE}),
    'a date and time': ('from_date=2026-01-03T00:00', 200, None),
    'with a zone': ('from_date=2026-01-03T00:00:00Z', 200, None),
    'huge offset (difference 1)': ('offset=99999999999999999999', 400, None),
}


@pytest.mark.parametrize('case', LOG_QUERIES.values(), ids=LOG_QUERIES.keys())
def test_queries_of_logs(call: Caller, case: tuple[str, int, Any]) -> None:
    query, status, expected = case
    mine = call('POST', '/subscriptions', OK).json['uuid']
    answer = call('GET', f'/subscriptions/{mine}/logs?{query}')

    assert answer.status_code == status
    if expected is not None:
        assert (answer.json if status == 200 else answer.json['details']) == expected
    assert call('GET', f'/subscriptions/nope/logs?{query}').status_code == 404


def test_total_of_logs_is_the_length_of_the_page(world: World, call: Caller) -> None:
    mine = call('POST', '/subscriptions', OK).json['uuid']
    assert call('GET', f'/subscriptions/{mine}/logs').json == {'items': [], 'total': 0, 'filtered': 0}
    moment = world.database.now(None)  # type: ignore[arg-type]  # SQLite needs no connection for it
    with world.database.transaction() as connection:
        for attempts in range(1, 6):
            connection.execute(
                insert(rows.log).values(
                    uuid='d', subscription_uuid=mine, attempts=attempts, status='failure', started_at=moment, detail='x'
                )
            )

    answer = call('GET', f'/subscriptions/{mine}/logs?limit=2').json
    assert (answer['total'], answer['filtered']) == (2, 5)
    assert [item['attempts'] for item in answer['items']] == [5, 4]
    assert answer['items'][0]['detail'] == {'value': 'x'}
    assert set(answer['items'][0]) == {
        'uuid', 'attempts', 'max_attempts', 'status', 'started_at', 'ended_at', 'event', 'detail',
    }  # fmt: skip
    shown = answer['items'][0]['started_at'].replace('+', '%2B')
    assert call('GET', f'/subscriptions/{mine}/logs?from_date={shown}').json['filtered'] == 5


# -- config


def test_config_patch(call: Caller) -> None:
    replace = {'op': 'replace', 'path': '/debug', 'value': 'true'}

    before = call('GET', '/config').json
    assert call('PATCH', '/config', []).json == before
    assert call('PATCH', '/config', replace).json['details'] == INPUT
    refused = call('PATCH', '/config', [{**replace, 'op': 'add'}])
    assert (refused.status_code, refused.json['details']) == (400, {'0': {'op': ['Must be equal to replace.']}})
    assert call('PATCH', '/config', ['a']).json['details'] == {'0': INPUT}
    for missing in replace:
        assert call('PATCH', '/config', [{key: replace[key] for key in replace if key != missing}]).status_code == 400
    assert call('PATCH', '/config', [replace]).json['debug'] is True
    assert call('GET', '/config').json['debug'] is True
    assert call('PATCH', '/config', [{**replace, 'value': False}], content_type='text/plain').json['debug'] is False
    empty = call('PATCH', '/config', '')
    assert (empty.status_code, empty.json) == (400, BROWSER)


def test_config_is_for_the_master_tenant(world: World) -> None:
    answer = world.caller('child')('GET', '/config')
    assert (answer.status_code, answer.json['details']) == (401, {'invalid_token': 'child'})
    assert world.caller('child')('PATCH', '/config', {}).status_code == 401

    auth_verifier.configure(world.authority, MasterTenant())
    answer = world.caller()('GET', '/config')
    assert (answer.status_code, answer.json['error_id']) == (503, 'master-tenant-not-initialized')
    assert world.caller('bad')('GET', '/config').status_code == 401


# -- transport


def test_wrong_method(call: Caller) -> None:
    answer = call('DELETE', '/subscriptions')

    assert answer.status_code == 405
    assert answer.json == {'message': 'The method is not allowed for the requested URL.'}
    assert {method.strip() for method in answer.headers['Allow'].split(',')} == {'GET', 'OPTIONS', 'HEAD', 'POST'}


@pytest.mark.parametrize('path', ['/nothing', '/subscriptions/', f'/users/me/subscriptions/{UNKNOWN}/logs', '', '/'])
def test_unknown_routes(world: World, path: str) -> None:
    answer = world.caller(None)('GET', path)

    assert answer.status_code == 404
    assert answer.content_type == 'text/html; charset=utf-8'


def test_services_win_over_a_subscription_of_that_name(world: World, call: Caller) -> None:
    assert call('GET', '/subscriptions/services').json == {'services': {'http': {}, 'mobile': {}}}
    assert world.authority.asked == ['webhookd.subscriptions.services.read']


def test_head_and_options(world: World, call: Caller) -> None:
    mine = call('POST', '/subscriptions', OK).json['uuid']
    assert call('HEAD', f'/subscriptions/{mine}').status_code == 200
    assert world.caller('bad')('HEAD', '/subscriptions').status_code == 401

    answer = world.caller(None)('OPTIONS', '/subscriptions')
    assert (answer.status_code, answer.data) == (200, b'')


def test_answers_are_one_line_of_ascii(call: Caller) -> None:
    answer = call('POST', '/subscriptions', {**OK, 'name': 'é'})

    assert answer.content_type == 'application/json'
    assert answer.data.isascii()
    assert answer.data.count(b'\n') == 1
    gone = call('DELETE', f'/subscriptions/{answer.json["uuid"]}')
    assert (gone.status_code, gone.data, gone.content_type) == (204, b'', 'application/json')


# -- who asks


ROUTES = [
    ('GET', '/subscriptions', 'webhookd.subscriptions.read'),
    ('POST', '/subscriptions', 'webhookd.subscriptions.create'),
    ('GET', '/subscriptions/services', 'webhookd.subscriptions.services.read'),
    ('GET', '/subscriptions/x', 'webhookd.subscriptions.x.read'),
    ('PUT', '/subscriptions/x', 'webhookd.subscriptions.x.update'),
    ('DELETE', '/subscriptions/x', 'webhookd.subscriptions.x.delete'),
    ('GET', '/subscriptions/x/logs', 'webhookd.subscriptions.x.logs.read'),
    ('GET', '/users/me/subscriptions', 'webhookd.users.me.subscriptions.read'),
    ('POST', '/users/me/subscriptions', 'webhookd.users.me.subscriptions.create'),
    ('GET', '/users/me/subscriptions/x', 'webhookd.users.me.subscriptions.x.read'),
    ('PUT', '/users/me/subscriptions/x', 'webhookd.users.me.subscriptions.x.update'),
    ('DELETE', '/users/me/subscriptions/x', 'webhookd.users.me.subscriptions.x.delete'),
]


@pytest.mark.parametrize(('method', 'path', 'access'), ROUTES)
def test_the_token_is_judged_first(world: World, method: str, path: str, access: str) -> None:
    for token in (None, '', 'bad'):
        answer = world.caller(token)(method, path)
        assert (answer.status_code, answer.json['error_id'], answer.json['message']) == (
            401,
            'unauthorized',
            'Unauthorized',
        )
        assert answer.json['details'] == {
            'invalid_token': token or '', 'reason': 'not_found_or_expired', 'required_access': access,
        }  # fmt: skip

    for token, tenant in (('lacks-acl', None), ('child', MASTER), ('master', UNKNOWN)):
        answer = world.caller(token, tenant)(method, path)
        assert answer.status_code == 401
        assert answer.json['details'] == {
            'invalid_token': token, 'reason': 'missing_permission_or_invalid_tenant', 'required_access': access,
            'tenant_uuid': tenant,
        }  # fmt: skip
    assert 'WWW-Authenticate' not in answer.headers


def test_a_parent_tenant_reaches_its_children_and_nobody_else(world: World) -> None:
    mine = world.caller('child')('POST', '/subscriptions', OK).json
    path = f'/subscriptions/{mine["uuid"]}'
    assert mine['owner_tenant_uuid'] == CHILD

    for caller in (world.caller(), world.caller('master', CHILD), world.caller('child'), world.caller('alice')):
        assert caller('GET', path).json == mine
        assert caller('GET', f'{path}/logs').status_code == 200
        assert caller('PUT', path, OK).json == mine
    for caller in (world.caller('other'), world.caller('master', OTHER)):
        for method, suffix in (('GET', ''), ('PUT', ''), ('DELETE', ''), ('GET', '/logs')):
            assert caller(method, f'{path}{suffix}', OK if method == 'PUT' else None).status_code == 404
        assert caller('GET', '/subscriptions?recurse=true').json['items'] == []
    assert world.caller()('GET', '/subscriptions').json['items'] == []
    assert world.caller()('GET', '/subscriptions?recurse=true').json['items'] == [mine]
    assert world.caller('master', CHILD)('GET', '/subscriptions').json['items'] == [mine]
    assert world.caller()('DELETE', path).status_code == 204


def test_no_visible_tenant_is_nothing(world: World) -> None:
    mine = world.caller()('POST', '/subscriptions', OK).json
    blind = world.caller('sees-no-tenant')

    assert blind('GET', '/subscriptions?recurse=true').json == {'items': [], 'total': 0, 'filtered': 0}
    for method in ('GET', 'DELETE'):
        assert blind(method, f'/subscriptions/{mine["uuid"]}').status_code == 404
    assert world.service.get(mine['uuid']).to_dict() == mine


def test_an_admin_put_keeps_tenant_and_owner_and_resets_the_rest(world: World) -> None:
    mine = world.caller('alice')('POST', '/users/me/subscriptions', {**OK, 'metadata': {'a': 'b'}}).json
    path = f'/subscriptions/{mine["uuid"]}'

    changed = world.caller()('PUT', path, {**OK, 'name': 'other'}).json
    assert changed == {**mine, 'name': 'other', 'metadata': {}, 'events_user_uuid': None, 'events_wazo_uuid': None}
    cleared = world.caller()('PUT', path, {**OK, 'owner_user_uuid': None}).json
    assert cleared['owner_user_uuid'] is None
    assert cleared['owner_tenant_uuid'] == CHILD


def test_uuids_in_a_path_are_compared_whatever_their_case(call: Caller) -> None:
    mine = call('POST', '/subscriptions', OK).json

    assert call('GET', f'/subscriptions/{mine["uuid"].upper()}').json == mine


# -- users


def test_everything_of_a_user_is_forced_from_the_token(world: World) -> None:
    claims = {
        'uuid': 5, 'owner_user_uuid': 5, 'events_user_uuid': '', 'events_wazo_uuid': 'x', 'owner_tenant_uuid': OTHER,
    }  # fmt: skip
    answer = world.caller('alice')('POST', '/users/me/subscriptions', {**OK, **claims})

    assert answer.status_code == 201
    mine = answer.json
    assert (mine['owner_user_uuid'], mine['events_user_uuid']) == (ALICE, ALICE)
    assert (mine['events_wazo_uuid'], mine['owner_tenant_uuid']) == (WAZO, CHILD)
    path = f'/users/me/subscriptions/{mine["uuid"]}'
    changed = world.caller('alice')('PUT', path, {**OK, **claims, 'name': 'other'}).json
    assert changed == {**mine, 'name': 'other'}
    assert world.caller('alice')('GET', path).json == changed
    assert world.caller('alice')('GET', '/users/me/subscriptions').json == {
        'items': [changed],
        'total': 1,
        'filtered': 1,
    }
    assert world.caller('alice')('DELETE', path).status_code == 204
    assert world.caller('alice')('GET', path).status_code == 404


def test_users_see_only_what_they_own(world: World) -> None:
    bobs = world.caller('bob')('POST', '/users/me/subscriptions', OK).json
    watching = world.caller('child')('POST', '/subscriptions', {**OK, 'events_user_uuid': ALICE}).json
    elsewhere = world.caller('other')('POST', '/subscriptions', {**OK, 'owner_user_uuid': ALICE}).json

    assert world.caller('alice')('GET', '/users/me/subscriptions').json['items'] == []
    for theirs in (bobs, watching, elsewhere):
        for method in ('GET', 'PUT', 'DELETE'):
            answer = world.caller('alice')(
                method, f'/users/me/subscriptions/{theirs["uuid"]}', OK if method == 'PUT' else None
            )
            assert answer.status_code == 404
            assert answer.json['error_id'] == 'no-such-subscription'
    assert len(world.service.list()) == 3


def test_a_token_without_a_user_shows_and_changes_nothing(world: World) -> None:
    bobs = world.caller('bob')('POST', '/users/me/subscriptions', OK).json
    path = f'/users/me/subscriptions/{bobs["uuid"]}'
    calls = [('GET', path), ('PUT', path), ('DELETE', path), ('GET', '/users/me/subscriptions'),
             ('POST', '/users/me/subscriptions')]  # fmt: skip

    for method, where in calls:
        answer = world.caller('child')(method, where, OK if method in ('PUT', 'POST') else None)
        assert (answer.status_code, answer.json['error_id']) == (400, 'token-with-user-uuid-required')
    assert [found.to_dict() for found in world.service.list()] == [bobs]


def test_a_tenant_header_does_not_move_a_user(world: World) -> None:
    mine = world.caller('alice', CHILD)('POST', '/users/me/subscriptions', OK).json

    assert mine['owner_tenant_uuid'] == CHILD
    assert world.caller('alice', OTHER)('GET', '/users/me/subscriptions').status_code == 401
