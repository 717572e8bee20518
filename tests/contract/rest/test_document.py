"""The API document says what the application does: valid, complete, with the limits of the schemas."""

import json
import re

import pytest
import yaml
from openapi_spec_validator import OpenAPIV2SpecValidator, OpenAPIV31SpecValidator

from wazo_webhookd.domain.delivery import STATES
from wazo_webhookd.plugins.api import document as module
from wazo_webhookd.plugins.api.document import installed_document, merged
from wazo_webhookd.plugins.api.openapi import openapi
from wazo_webhookd.plugins.config.schema import ConfigPatchSchema
from wazo_webhookd.plugins.deliveries.http import HIGHEST_LIMIT, DeliveriesQuery
from wazo_webhookd.plugins.egress.http import EgressCheckSchema
from wazo_webhookd.plugins.events.schema import EventSchema
from wazo_webhookd.subscriptions import schema

OF_THE_DOCUMENT_ITSELF = ('/api/', '/api/api.yml', '/api/openapi.json', '/api/start.js', '/api/assets/{name}')
REFERENCE_OPERATIONS = {
    'list_subscriptions', 'create_subscription', 'get_subscription', 'update_subscription', 'delete_subscription',
    'list_user_subscriptions', 'create_user_subscription', 'get_user_subscription', 'update_user_subscription',
    'delete_user_subscription', 'get_subscription_logs', 'getSubscriptionsServices', 'getConfig', 'patchConfig',
    'postMobileNotification',
}  # fmt: skip


@pytest.fixture
def document():
    return installed_document()


def operations(document):
    for path, item in document['paths'].items():
        for method, operation in item.items():
            yield path, method, operation


def test_the_served_document_is_valid_swagger(rest):
    response = rest.call('GET', '/api/api.yml', token=None)
    served = yaml.safe_load(response.text)

    assert response.status_code == 200
    assert response.content_type == 'application/x-yaml'
    OpenAPIV2SpecValidator(served).validate()
    assert served['basePath'] == '/1.0'
    assert served['schemes'] == ['http']
    assert served['produces'] == ['application/json']
    assert served['info']['title'] == 'wazo-webhookd'
    assert served['info']['version'] == '1.0.0'
    assert served['x-xivo-port'] == 9300
    assert served['x-xivo-name'] == 'webhookd'
    assert served['securityDefinitions'] == {
        'wazo_auth_token': {'type': 'apiKey', 'name': 'X-Auth-Token', 'in': 'header'}
    }
    assert served['security'] == [{'wazo_auth_token': []}]


def test_behind_nginx_the_document_speaks_of_the_outside(rest):
    def served(script_name):
        text = rest.call('GET', '/api/api.yml', token=None, headers={'X-Script-Name': script_name}).text
        return yaml.safe_load(text)

    assert served('/api/webhookd')['basePath'] == '/api/webhookd/1.0'
    assert served('/api/webhookd')['schemes'] == ['https']
    assert served('')['basePath'] == '/1.0'
    assert served('"><script>')['basePath'] == '/1.0'


def test_the_same_as_openapi_3_1(rest):
    response = rest.call('GET', '/api/openapi.json', token=None, headers={'X-Script-Name': '/api/webhookd'})
    served = response.json

    assert response.status_code == 200
    OpenAPIV31SpecValidator(served).validate()
    assert served['openapi'] == '3.1.0'
    assert served['servers'] == [{'url': '/api/webhookd/1.0'}]
    assert set(served['paths']) == set(installed_document()['paths'])
    assert 'x-nullable' not in response.text
    assert '#/definitions/' not in response.text
    post = served['paths']['/subscriptions']['post']
    assert post['requestBody']['content']['application/json']['schema'] == {
        '$ref': '#/components/schemas/NewSubscription'
    }


def test_routes_and_document_are_the_same(rest, document):
    rules = {
        (re.sub(r'<(?:\w+:)?(\w+)>', r'{\1}', rule.rule).removeprefix('/1.0'), method.lower())
        for rule in rest.app.url_map.iter_rules()
        for method in rule.methods - {'HEAD', 'OPTIONS'}
    }
    routes = {(path, method) for path, method in rules if path not in OF_THE_DOCUMENT_ITSELF}
    documented = {(path, method) for path, method, _ in operations(document)}
    documented.discard(('/mobile/notifications', 'post'))  # has a test of its own beside its parts

    assert routes == documented


def test_every_operation_is_described(document):
    for path, method, operation in operations(document):
        assert operation.get('summary'), (method, path)
        assert operation.get('tags'), (method, path)
        assert 'Required ACL' in operation.get('description', ''), (method, path)
        assert {'401', '503'} <= set(operation['responses']), (method, path)
        assert any(code.startswith('2') for code in operation['responses']), (method, path)


def test_the_acl_of_the_document_is_the_one_that_is_asked_for(rest, document):
    for path, method, operation in operations(document):
        if path == '/mobile/notifications':
            continue
        called = re.sub(r'\{\w+\}', 'x', path)
        rest.call(method.upper(), called, token='bad')
        access = rest.authority.asked[-1][0]
        pattern = re.search(r'Required ACL:\*\* `([^`]+)`', operation['description'])[1]

        assert re.sub(r'\{\w+\}', 'x', pattern) == access


def test_operation_ids_are_unique_and_those_of_the_reference_are_there(document):
    ids = [operation['operationId'] for _, _, operation in operations(document) if 'operationId' in operation]

    assert len(ids) == len(set(ids))
    assert set(ids) >= REFERENCE_OPERATIONS
    assert 'operationId' not in document['paths']['/status']['get']


def test_every_tag_is_declared(document):
    used = {tag for _, _, operation in operations(document) for tag in operation['tags']}

    assert used == {tag['name'] for tag in document['tags']}


def test_every_definition_parameter_and_response_is_used(document):
    text = json.dumps(document)
    for kind in ('definitions', 'parameters', 'responses'):
        for name in document[kind]:
            assert f'#/{kind}/{name}"' in text, (kind, name)


def body_properties(document, name):
    definition = document['definitions'][name]
    properties = dict(definition.get('properties', {}))
    required = set(definition.get('required', ()))
    for part in definition.get('allOf', ()):
        if '$ref' in part:
            more, needed = body_properties(document, part['$ref'].rpartition('/')[2])
        else:
            more, needed = part.get('properties', {}), set(part.get('required', ()))
        properties |= more
        required |= needed
    return properties, required


@pytest.mark.parametrize(
    ('definition', 'described'),
    [
        ('NewSubscription', schema.Subscription),
        ('NewUserSubscription', schema.UserSubscription),
        ('EventPost', EventSchema),
        ('EgressQuestion', EgressCheckSchema),
        ('ConfigPatchItem', ConfigPatchSchema),
    ],
)
def test_bodies_have_the_keys_that_are_read(document, definition, described):
    properties, required = body_properties(document, definition)
    fields = {field.data_key or name: field for name, field in described().fields.items()}

    assert set(properties) == set(fields)
    assert required == {name for name, field in fields.items() if field.required}
    for name, field in fields.items():
        assert bool(properties[name].get('x-nullable')) == (field.allow_none and 'type' in properties[name]), name


@pytest.mark.parametrize(
    ('path', 'described'),
    [
        ('/subscriptions', schema.ListQuery),
        ('/subscriptions/{subscription_uuid}/logs', schema.LogsQuery),
        ('/subscriptions/{subscription_uuid}/deliveries', DeliveriesQuery),
    ],
)
def test_lists_have_the_parameters_that_are_read(document, path, described):
    parameters = [
        document['parameters'][parameter['$ref'].rpartition('/')[2]] if '$ref' in parameter else parameter
        for parameter in document['paths'][path]['get']['parameters']
    ]

    assert {parameter['name'] for parameter in parameters if parameter['in'] == 'query'} == set(described().fields)


def test_limits_are_those_of_the_schemas(rest, document):
    name = document['definitions']['NewUserSubscription']['properties']['name']
    limit = next(
        parameter
        for parameter in document['paths']['/subscriptions/{subscription_uuid}/deliveries']['get']['parameters']
        if parameter.get('name') == 'limit'
    )

    assert name['maxLength'] == 128
    assert limit['maximum'] == HIGHEST_LIMIT
    assert document['definitions']['Delivery']['properties']['state']['enum'] == list(STATES)
    uuid = rest.create()['uuid']
    assert rest.call('GET', f'/subscriptions/{uuid}/deliveries?limit=1000').status_code == 200
    assert rest.call('GET', f'/subscriptions/{uuid}/deliveries?limit=1001').status_code == 400


def test_answers_have_the_keys_of_the_document(rest, document):
    def keys(name):
        return set(document['definitions'][name]['properties'])

    created = rest.create()
    assert set(created) == keys('Subscription')
    assert set(rest.call('GET', '/subscriptions').json) == keys('Subscriptions')
    assert set(rest.call('GET', f'/subscriptions/{created["uuid"]}/logs').json) == keys('SubscriptionLogs')
    assert set(rest.call('GET', f'/subscriptions/{created["uuid"]}/deliveries').json) == keys('Deliveries')
    assert set(rest.call('GET', f'/subscriptions/{created["uuid"]}/health').json) == keys('Health')
    assert set(rest.call('GET', '/subscriptions/services').json) == keys('Services')
    assert set(rest.call('GET', '/subscriptions/nope').json) == keys('APIError') - {'resource'}


# -- the merge


def test_the_first_definition_wins():
    assert merged([{'a': {'b': 1}, 'c': [1]}, {'a': {'b': 2, 'd': 3}, 'c': [2]}]) == {'a': {'b': 1, 'd': 3}, 'c': [1]}


def test_without_info_there_is_no_document(rest, monkeypatch):
    monkeypatch.setattr(module, 'installed_document', dict)
    response = rest.call('GET', '/api/openapi.json', token=None)

    assert response.status_code == 404
    assert response.json == {'error': 'API spec does not exist'}


def test_a_guest_with_a_broken_document_takes_nothing_from_the_others(monkeypatch, tmp_path, caplog):
    package = tmp_path / 'guest_with_api'
    package.mkdir()
    (package / '__init__.py').touch()
    (package / 'plugin.py').touch()
    (package / 'api.yml').write_text('paths: [')
    monkeypatch.syspath_prepend(tmp_path)
    entry = module.EntryPoint('guest', 'guest_with_api.plugin:Plugin', module.GROUP)

    assert module._read(entry) == {}
    assert 'The API document of plugin guest cannot be read' in caplog.text

    (package / 'api.yml').write_text('paths: {/guest: {}}')
    assert module._read(entry) == {'paths': {'/guest': {}}}


def test_null_is_a_type_in_openapi_3_1():
    swagger = {
        'info': {}, 'paths': {},
        'definitions': {
            'a': {'type': 'string', 'x-nullable': True, 'enum': ['x']},
            'n': {'x-types': ['string', 'boolean'], 'maxLength': 5},
            'b': {'properties': {'c': {'$ref': '#/definitions/a', 'x-nullable': True}}},
        },
    }  # fmt: skip
    schemas = openapi(swagger)['components']['schemas']

    assert schemas['a'] == {'type': ['string', 'null'], 'enum': ['x', None]}
    assert schemas['n'] == {'type': ['string', 'boolean'], 'maxLength': 5}
    assert schemas['b']['properties']['c'] == {'anyOf': [{'$ref': '#/components/schemas/a'}, {'type': 'null'}]}


# -- the page for people


def test_the_page_needs_no_token_and_no_internet(rest):
    response = rest.call('GET', '/api/', token=None, headers={'X-Script-Name': '/api/webhookd'})

    assert response.status_code == 200
    assert response.content_type == 'text/html; charset=utf-8'
    assert '<base href="/api/webhookd/1.0/api/">' in response.text
    assert not re.search(r'(?:src|href)="(?:https?:)?//', response.text)
    assert "default-src 'none'" in response.headers['Content-Security-Policy']
    for address in re.findall(r'(?:src|href)="([^/"][^"]*)"', response.text):
        assert rest.call('GET', f'/api/{address}', token=None).status_code == 200, address


def test_the_page_is_there_without_the_slash_too(rest):
    assert rest.call('GET', '/api', token=None).status_code == 200


@pytest.mark.parametrize('name', ['nothing.js', '..%2Fflask_swagger_ui.py', 'index.css'])
def test_no_other_file_is_an_asset(rest, name):
    assert rest.call('GET', f'/api/assets/{name}', token=None).status_code == 404
