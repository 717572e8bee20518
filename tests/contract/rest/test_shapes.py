"""What every endpoint has in common (rest.md 1.1 to 1.3, 4.1, 4.2)."""

import json
import logging
import time

import pytest
from flask import Flask
from flask_cors import CORS, cross_origin
from flask_restful import Resource

from wazo_webhookd.cors import allow_origins
from wazo_webhookd.domain import numbers
from wazo_webhookd.exceptions import APIException
from wazo_webhookd.rest_api import Api, AuthResource, ErrorCatchingResource, json_body, json_response, new_application

UNREADABLE = {'message': 'The browser (or proxy) sent a request that this server could not understand.'}
OK = {'name': 'n', 'service': 'http', 'config': {'url': 'http://x', 'method': 'GET'}, 'events': ['a']}


# -- answers


def test_answers_are_one_line_of_ascii_json(rest):
    created = rest.create(name='é\u2028')
    response = rest.call('GET', f'/subscriptions/{created["uuid"]}')

    assert response.content_type == 'application/json'
    assert response.text.endswith('}\n')
    assert response.text.count('\n') == 1
    assert response.text.isascii()
    assert response.json['name'] == 'é\u2028'


@pytest.mark.parametrize('accept', ['application/xml', 'text/html', '*/*', 'nonsense'])
def test_accept_is_ignored(rest, accept):
    response = rest.call('GET', '/subscriptions', headers={'Accept': accept})

    assert response.status_code == 200
    assert response.content_type == 'application/json'


def test_204_is_empty_and_still_json(rest):
    created = rest.create()
    response = rest.call('DELETE', f'/subscriptions/{created["uuid"]}')

    assert response.status_code == 204
    assert response.data == b''
    assert response.content_type == 'application/json'


def test_head_works_where_get_does_with_the_same_access(rest):
    response = rest.call('HEAD', '/subscriptions')

    assert response.status_code == 200
    assert response.data == b''
    assert rest.call('HEAD', f'/subscriptions/{rest.create()["uuid"]}').status_code == 200
    assert rest.call('HEAD', '/subscriptions', token='bad').status_code == 401


def test_options_needs_no_token(rest):
    response = rest.call('OPTIONS', '/subscriptions', token=None)

    assert response.status_code == 200
    assert response.data == b''
    assert response.content_type == 'text/html; charset=utf-8'
    assert set(response.headers['Allow'].split(', ')) == {'GET', 'HEAD', 'OPTIONS', 'POST'}


def test_a_wrong_method_is_json_with_allow(rest):
    response = rest.call('DELETE', '/subscriptions')

    assert response.status_code == 405
    assert response.json == {'message': 'The method is not allowed for the requested URL.'}
    assert response.content_type == 'application/json'
    assert set(response.headers['Allow'].split(', ')) == {'GET', 'HEAD', 'OPTIONS', 'POST'}


@pytest.mark.parametrize('token', [None, 'master'])
@pytest.mark.parametrize(
    'path',
    [
        '/',
        '/1.0',
        '/1.0/',
        '/nothing',
        '/1.0/nothing',
        '/1.0/subscriptions/',
        '/1.0/users/me/subscriptions/u/logs',
        '/2.0',
    ],
)
def test_an_unknown_route_is_an_html_page(rest, path, token):
    response = rest.client.get(path, headers={'X-Auth-Token': token} if token else {})

    assert response.status_code == 404
    assert response.content_type == 'text/html; charset=utf-8'


# -- bodies


@pytest.mark.parametrize(
    ('data', 'content_type'),
    [
        (b'', 'application/json'),
        (b'', None),
        (json.dumps(OK).encode(), None),
        (json.dumps(OK).encode(), 'text/plain'),
        (json.dumps(OK).encode(), 'application/x-www-form-urlencoded'),
        (b'{"name": ', 'application/json'),
        (b'{"name": "\xff"}', 'application/json'),
        (b'{"name": NaN}', 'application/json'),
        (b'[' * 100_000, 'application/json'),
        (b'{"name": ' + b'9' * 10_000 + b'}', 'application/json'),
    ],
)
@pytest.mark.parametrize(
    ('method', 'path'), [('POST', '/subscriptions'), ('PUT', '/subscriptions/u'), ('POST', '/events')]
)
def test_a_body_that_cannot_be_read(rest, method, path, data, content_type):
    response = rest.call(method, path, data=data, content_type=content_type)

    assert response.status_code == 400
    assert response.json == UNREADABLE


def test_a_number_beyond_a_float_is_unreadable_where_it_would_be_stored(rest):
    body = json.dumps(OK)[:-1] + ', "x": 1e999}'
    response = rest.call('POST', '/subscriptions', data=body, content_type='application/json')

    assert response.status_code == 400
    assert response.json == UNREADABLE


def test_a_number_beyond_a_float_is_shown_as_it_was_written():
    assert json_response({'n': numbers.read('-1e999')}).get_data(as_text=True) == '{"n": -1e999}\n'


@pytest.mark.parametrize('kind', ['application/json; charset=utf-8', 'application/vnd.foo+json', 'APPLICATION/JSON'])
def test_every_json_type_will_do(rest, kind):
    assert rest.call('POST', '/subscriptions', data=json.dumps(OK), content_type=kind).status_code == 201


@pytest.mark.parametrize('body', [None, [], [{}], 's', 1, True])
@pytest.mark.parametrize('path', ['/subscriptions', '/users/me/subscriptions', '/events', '/egress/check'])
def test_a_body_that_is_no_object(rest, path, body):
    response = rest.call('POST', path, data=json.dumps(body), content_type='application/json')

    assert response.status_code == 400
    assert response.json['error_id'] == 'invalid-data'
    assert response.json['message'] == 'Sent data is invalid'
    assert response.json['details'] == {'_schema': ['Invalid input type.']}


def test_of_duplicate_keys_the_last_wins(rest):
    text = json.dumps(OK)[:-1] + ', "name": "last"}'
    response = rest.call('POST', '/subscriptions', data=text, content_type='application/json')

    assert response.json['name'] == 'last'


def test_bodies_of_get_and_delete_are_ignored(rest):
    assert rest.call('GET', '/subscriptions', data=b'{', content_type='application/json').status_code == 200


def test_a_body_beyond_the_limit_is_413_and_says_so(rest):
    rest.app.config['MAX_CONTENT_LENGTH'] = 1000
    response = rest.call('POST', '/subscriptions', json=OK | {'name': 'x' * 2000})

    assert response.status_code == 413
    assert response.json['error_id'] == 'request-too-large'
    assert response.json['details'] == {'max_bytes': 1000}


# -- errors


def test_an_api_error_has_four_keys(rest):
    before = time.time()
    response = rest.call('GET', '/subscriptions/nope')
    body = response.json

    assert response.status_code == 404
    assert set(body) == {'message', 'error_id', 'details', 'timestamp'}
    assert body['message'] == 'No such subscription: nope'
    assert body['error_id'] == 'no-such-subscription'
    assert body['details'] == {'subscription_uuid': 'nope'}
    assert before <= body['timestamp'] <= time.time()


@pytest.fixture
def tiny():
    """An application with one resource that does what the test wants."""
    app, api = new_application()
    deeds = {}

    class Tiny(Resource):
        def get(self):
            return deeds['get']()

        def post(self):
            return json_body()

    api.add_resource(Tiny, '/tiny')
    return app.test_client(), deeds


def test_an_unexpected_exception_says_nothing_of_itself(tiny, caplog):
    client, deeds = tiny
    deeds['get'] = lambda: {}['secret']
    response = client.get('/1.0/tiny')

    assert response.status_code == 500
    assert response.json == {'message': 'Internal Server Error'}
    assert response.content_type == 'application/json'
    assert 'A request failed unexpectedly' in caplog.text


def test_the_fifth_key_is_there_when_set(tiny):
    client, deeds = tiny

    def fail():
        raise APIException(409, 'Taken', 'taken', {'a': 1}, resource='things')

    deeds['get'] = fail
    response = client.get('/1.0/tiny')

    assert response.status_code == 409
    assert response.json['resource'] == 'things'


def test_a_guests_own_class_of_errors_is_shown_too(tiny):
    client, deeds = tiny

    class GuestError(Exception):
        status_code, id_, message, details = 404, 'no-such-guest', 'No such guest', {'guest': 1}

    def fail():
        raise GuestError

    deeds['get'] = fail
    response = client.get('/1.0/tiny')

    assert response.status_code == 404
    assert response.json['error_id'] == 'no-such-guest'
    assert response.json['details'] == {'guest': 1}


@pytest.mark.parametrize(
    'path', ['/subscriptions', '/subscriptions/u', '/subscriptions/u/logs', '/subscriptions/u/deliveries']
)
def test_a_database_that_is_away_is_503(rest, away, path):
    away()
    response = rest.call('GET', path)

    assert response.status_code == 503
    assert response.json['error_id'] == 'database-unavailable'
    assert response.json['details'] == {}


# -- tokens


def test_a_token_in_the_query_opens_nothing(rest):
    assert rest.call('GET', '/subscriptions?token=master', token=None).status_code == 401


def test_an_empty_tenant_header_is_none(rest):
    assert rest.call('GET', '/subscriptions', token='tenant', headers={'Wazo-Tenant': ''}).status_code == 200


def test_wazo_auth_down_is_503(rest):
    rest.authority.down = True
    response = rest.call('GET', '/subscriptions')

    assert response.status_code == 503
    assert response.json['error_id'] == 'authentication-server-unreachable'
    assert response.json['message'] == 'Authentication server unreachable'
    assert response.json['details'] == {
        'auth_server_host': 'auth.example', 'auth_server_port': 9497, 'original_error': 'Connection refused',
    }  # fmt: skip


def test_the_token_is_checked_before_anything_else(rest):
    assert rest.call('POST', '/subscriptions', token='bad', data=b'{').status_code == 401
    assert rest.call('PATCH', '/config', token='bad', data=b'{').status_code == 401


def test_dots_of_the_path_become_underscores_in_the_access(rest):
    rest.call('GET', '/subscriptions/abc.def')

    assert rest.authority.asked[-1] == ('webhookd.subscriptions.abc_def.read', None)


def test_a_guests_resource_without_access_needs_any_token(rest):
    class Guest(AuthResource):
        def get(self):
            return {'hello': 1}

    class Open(ErrorCatchingResource):
        def get(self):
            return {'hello': 2}

    guests = Api(rest.app, prefix='/1.0/guests')
    guests.add_resource(Guest, '/closed')
    guests.add_resource(Open, '/open')

    assert rest.call('GET', '/guests/closed').json == {'hello': 1}
    assert rest.call('GET', '/guests/closed', token='bad').status_code == 401
    assert rest.call('GET', '/guests/open', token=None).json == {'hello': 2}


def test_a_resource_may_be_added_again_and_after_the_first_request():
    app, api = new_application()

    class Late(Resource):
        def get(self):
            return {'late': True}

    app.test_client().get('/1.0/late')
    api.add_resource(Late, '/late')
    api.add_resource(Late, '/late')

    assert app.test_client().get('/1.0/late').json == {'late': True}


# -- CORS


def test_cors_without_origin(rest):
    for path in ('/subscriptions', '/nothing'):
        response = rest.call('GET', path, token='bad')
        assert response.headers['Access-Control-Allow-Origin'] == '*'


def test_cors_with_origin(rest):
    response = rest.call('GET', '/subscriptions', headers={'Origin': 'https://a.example'})

    assert response.headers['Access-Control-Allow-Origin'] == 'https://a.example'
    assert 'Origin' in response.headers['Vary']


def test_cors_preflight(rest):
    headers = {
        'Origin': 'https://a.example',
        'Access-Control-Request-Method': 'POST',
        'Access-Control-Request-Headers': 'content-type, x-auth-token, x-strange',
    }
    response = rest.call('OPTIONS', '/subscriptions', token=None, headers=headers)

    assert response.status_code == 200
    assert response.headers['Access-Control-Allow-Methods'] == 'DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT'
    assert response.headers['Access-Control-Allow-Headers'] == 'content-type, x-auth-token'
    assert 'Access-Control-Max-Age' not in response.headers
    assert 'Access-Control-Allow-Credentials' not in response.headers
    assert rest.call('OPTIONS', '/nothing', token=None, headers=headers).status_code == 404


@pytest.mark.parametrize(
    'options',
    [
        {},
        {'origins': ['https://a.example', 'https://b.example']},
        {'origins': r'https://.*\.example'},
        {'supports_credentials': True},
        {'always_send': False},
        {'send_wildcard': True, 'expose_headers': ['X-One', 'X-Two']},
        {'resources': {'/a': {'origins': 'https://a.example'}, '/b': {'origins': '*'}}},
    ],
)
@pytest.mark.parametrize('method', ['GET', 'POST', 'OPTIONS'])
@pytest.mark.parametrize(
    'headers',
    [
        {},
        {'Origin': 'https://a.example'},
        {'Origin': 'https://elsewhere.test'},
        {'Access-Control-Request-Private-Network': 'true'},
        {'Origin': 'https://a.example', 'Access-Control-Request-Method': 'POST'},
    ],
)
def test_cors_headers_are_those_of_the_library(options, method, headers):
    def answers(enable):
        application = Flask('cors', static_folder=None)
        enable(application, **options)

        @application.route('/a', methods=['GET', 'POST'])
        def plain():
            return 'x'

        @application.route('/b', methods=['GET', 'POST'])
        @cross_origin(origins='https://own.example', always_send=False)
        def with_its_own():
            return 'x', {'Vary': 'Cookie'}

        client = application.test_client()
        return [
            sorted(client.open(path, method=method, headers=headers).headers) for path in ('/a', '/b', '/nothing', '/a')
        ]

    assert answers(allow_origins) == answers(CORS)


# -- log


def test_every_request_is_one_line_without_token(rest, caplog):
    with caplog.at_level(logging.DEBUG):
        rest.call('GET', '/subscriptions?token=abcdef0123&x=1', token='secrettoken')
        rest.call('GET', '/subscriptions/u?a=secrettoken', token='secrettoken')
    lines = [record.getMessage() for record in caplog.records if record.getMessage().startswith('response to')]

    assert len(lines) == 2
    assert '127.0.0.1 in 0.0' in lines[0]
    assert lines[0].endswith('GET http://localhost/1.0/subscriptions?token=<hidden>&x=1 401')
    assert 'secrettoken' not in caplog.text
    assert 'abcdef0123' not in caplog.text


def test_the_configuration_is_never_logged(rest, caplog):
    with caplog.at_level(logging.DEBUG):
        rest.call('GET', '/config')

    assert 'rest_api' not in caplog.text.replace('wazo_webhookd.rest_api', '')
