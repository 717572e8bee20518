"""What a subscription may contain; the errors' forms are those of the reference (rest 1.4-1.8)."""

from __future__ import annotations

from typing import Any

import pytest
from marshmallow import ValidationError

from wazo_webhookd.subscriptions.schema import ListQuery, LogsQuery, Subscription, UserSubscription

OK: dict[str, Any] = {'name': 'n', 'service': 'http', 'config': {'url': 'http://x', 'method': 'GET'}, 'events': ['a']}
CUSTOM = {**OK, 'service': 'custom'}


def _error(message: str, constraint_id: str, constraint: Any) -> dict[str, Any]:
    return {'message': message, 'constraint_id': constraint_id, 'constraint': constraint}


STRING = _error('Not a valid string.', 'type', 'string')
REQUIRED = _error('Missing data for required field.', 'required', 'required')
NULL = _error('Field may not be null.', 'not_null', 'not_null')
LIST = _error('Not a valid list.', 'type', 'list')
MAPPING = _error('Not a valid mapping type.', 'type', 'dict')
PAIR = _error('Not a mapping with string keys and string values', 'key-value-type', 'string')
PAIR_LENGTH = _error('Key or value too long', 'key-value-length', {'key-max': 128, 'value-max': 2048})
LENGTH_36 = _error('Length must be 36.', 'length', {'equal': 36})
METHOD = _error(
    'Must be one of: head, get, post, put, delete.', 'enum', {'choices': ['head', 'get', 'post', 'put', 'delete']}
)
CERTIFICATE = _error('Wrong value for verify_certificate', 'verify-certificate-invalid', ['true', 'false', '/*'])
CHARACTERS = _error('Contains a character that cannot be stored.', 'characters', ['\\u0000', '\\ud800-\\udfff'])


def _longer(limit: int) -> dict[str, Any]:
    return _error(f'Longer than maximum length {limit}.', 'length', {'min': None, 'max': limit})


def _http(**config: Any) -> dict[str, Any]:
    return {**OK, 'config': {**OK['config'], **config}}


REFUSED: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    'nothing': ({}, {'name': REQUIRED, 'service': REQUIRED, 'events': REQUIRED, 'config': REQUIRED}),
    'name too long': ({**OK, 'name': 'x' * 129}, {'name': [_longer(128)]}),
    'name is a number': ({**OK, 'name': 5}, {'name': STRING}),
    'name is null': ({**OK, 'name': None}, {'name': NULL}),
    'NUL in name': ({**OK, 'name': '\0'}, {'name': [CHARACTERS]}),
    'half a surrogate pair in name': ({**OK, 'name': '\udc00'}, {'name': [CHARACTERS]}),
    'service is null': ({**OK, 'service': None}, {'service': NULL, 'config': None}),
    'service is an object': (
        {**OK, 'service': {'a': 1}},
        {'service': STRING, 'config': _error('Invalid destination', 'destination-type', {'type': 'string'})},
    ),
    'service is a number': ({**OK, 'service': 3}, {'service': STRING}),
    'events is a text': ({**OK, 'events': 'a'}, {'events': LIST}),
    'events is an object': ({**OK, 'events': {'a': 1}}, {'events': LIST}),
    'some events are no text': ({**OK, 'events': [1, 'ok', None]}, {'events': {0: STRING, 2: NULL}}),
    'an event is too long': ({**OK, 'events': ['x' * 129]}, {'events': {0: [_longer(128)]}}),
    'config is null': ({**OK, 'config': None}, {'config': NULL}),
    'http config is empty': ({**OK, 'config': {}}, {'config': {'url': REQUIRED, 'method': REQUIRED}}),
    'http config is a list': ({**OK, 'config': []}, {'config': MAPPING}),
    'http config is a text': ({**OK, 'config': 'x'}, {'config': MAPPING}),
    'url is null': (_http(url=None), {'config': {'url': NULL}}),
    'url is too long': (_http(url='x' * 8193), {'config': {'url': [_longer(8192)]}}),
    'NUL in url': (_http(url='\0'), {'config': {'url': [CHARACTERS]}}),
    'unknown method': (_http(method='PATCH'), {'config': {'method': METHOD}}),
    'empty method': (_http(method=''), {'config': {'method': METHOD}}),
    'method too long': (_http(method='x' * 65), {'config': {'method': [_longer(64)]}}),
    'body too long': (_http(body='x' * 16385), {'config': {'body': [_longer(16384)]}}),
    'content type too long': (_http(content_type='x' * 257), {'config': {'content_type': [_longer(256)]}}),
    'certificate True': (_http(verify_certificate='True'), {'config': {'verify_certificate': CERTIFICATE}}),
    'certificate empty': (_http(verify_certificate=''), {'config': {'verify_certificate': CERTIFICATE}}),
    'certificate boolean': (_http(verify_certificate=True), {'config': {'verify_certificate': STRING}}),
    'certificate too long': (
        _http(verify_certificate='x' * 1025),
        {'config': {'verify_certificate': [_longer(1024)]}},
    ),
    'unknown key in http config': (_http(foo='bar'), {'config': {'foo': ['Unknown field.']}}),
    'unknown key that is null': (_http(foo=None), {'config': {'foo': ['Unknown field.']}}),
    'timeout of 31 seconds': (
        _http(timeout='31'),
        {'config': {'timeout': _error('Must be whole seconds from 1 to 30.', 'range', {'min': 1, 'max': 30})}},
    ),
    'null in custom config': ({**CUSTOM, 'config': {'a': None}}, {'config': [PAIR]}),
    'list in custom config': ({**CUSTOM, 'config': {'a': []}}, {'config': [PAIR]}),
    'long key in custom config': ({**CUSTOM, 'config': {'k' * 129: 'v'}}, {'config': [PAIR_LENGTH]}),
    'long value in custom config': ({**CUSTOM, 'config': {'k': 'v' * 2049}}, {'config': [PAIR_LENGTH]}),
    'long number in custom config': ({**CUSTOM, 'config': {'k': 10**2048}}, {'config': [PAIR_LENGTH]}),
    'first pair decides': ({**CUSTOM, 'config': {'k': 'v' * 2049, 'a': None}}, {'config': [PAIR_LENGTH]}),
    'NUL in custom config': ({**CUSTOM, 'config': {'k': '\0'}}, {'config': [CHARACTERS]}),
    'custom config is a list': ({**CUSTOM, 'config': []}, {'config': MAPPING}),
    'events_user_uuid empty': ({**OK, 'events_user_uuid': ''}, {'events_user_uuid': [LENGTH_36]}),
    'events_wazo_uuid short': ({**OK, 'events_wazo_uuid': 'abc'}, {'events_wazo_uuid': [LENGTH_36]}),
    'owner_user_uuid a number': ({**OK, 'owner_user_uuid': 1}, {'owner_user_uuid': STRING}),
    'metadata null': ({**OK, 'metadata': None}, {'metadata': NULL}),
    'metadata a text': ({**OK, 'metadata': 'x'}, {'metadata': MAPPING}),
    'nested metadata': ({**OK, 'metadata': {'a': {'b': 'c'}}}, {'metadata': [PAIR]}),
    'NUL in metadata': ({**OK, 'metadata': {'a': '\0'}}, {'metadata': [CHARACTERS]}),
    'several at once': ({**OK, 'name': 5, 'events': 'a'}, {'name': STRING, 'events': LIST}),
}


@pytest.mark.parametrize('case', REFUSED.values(), ids=REFUSED.keys())
def test_refused_in_the_form_that_clients_know(case: tuple[dict[str, Any], dict[str, Any]]) -> None:
    given, expected = case
    with pytest.raises(ValidationError) as refused:
        Subscription().load(given)

    wanted = {key: value for key, value in expected.items() if value is not None}
    assert refused.value.normalized_messages() == wanted


ACCEPTED: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    'method in lower case': (OK, {'config': {'url': 'http://x', 'method': 'get'}}),
    'empty name and service': (
        {**OK, 'name': '', 'service': ''},
        {'name': '', 'service': '', 'config': {'url': 'http://x', 'method': 'GET'}},
    ),
    'no events': ({**OK, 'events': []}, {'events': []}),
    'an event without a name': ({**OK, 'events': ['']}, {'events': ['']}),
    'nulls are dropped': (
        _http(body=None, verify_certificate=None, content_type=None, timeout=None),
        {'config': {'url': 'http://x', 'method': 'get'}},
    ),
    'any text is a URL': (_http(url=''), {'config': {'url': '', 'method': 'get'}}),
    'a path as certificate': (
        _http(verify_certificate='/x', timeout='30'),
        {'config': {'url': 'http://x', 'method': 'get', 'verify_certificate': '/x', 'timeout': '30'}},
    ),
    'service HTTP is another': (
        {**OK, 'service': 'HTTP', 'config': {'verify_certificate': 'zz'}},
        {'config': {'verify_certificate': 'zz'}},
    ),
    'scalars in custom config': (
        {**CUSTOM, 'config': {'a': 10, 'b': True, 'c': 1.5, 'd': ''}},
        {'config': {'a': 10, 'b': True, 'c': 1.5, 'd': ''}},
    ),
    'any 36 characters': ({**OK, 'events_user_uuid': 'x' * 36}, {'events_user_uuid': 'x' * 36}),
    'null uuids': ({**OK, 'events_user_uuid': None}, {'events_user_uuid': None, 'events_wazo_uuid': None}),
    'metadata of scalars': ({**OK, 'metadata': {'a': 1, 'b': None}}, {'metadata': {'a': 1, 'b': None}}),
    'metadata by default': (OK, {'metadata': {}}),
}


@pytest.mark.parametrize('case', ACCEPTED.values(), ids=ACCEPTED.keys())
def test_accepted(case: tuple[dict[str, Any], dict[str, Any]]) -> None:
    given, expected = case
    loaded = Subscription().load(given)

    assert {key: loaded[key] for key in expected} == expected


def test_unknown_and_read_only_keys_are_ignored() -> None:
    loaded = Subscription().load({**OK, 'uuid': 5, 'owner_tenant_uuid': [], 'foo': 1, 'tags': {}})

    assert set(loaded) == {'name', 'service', 'events', 'config', 'metadata', 'events_user_uuid', 'events_wazo_uuid'}


def test_an_owner_that_is_not_named_differs_from_none() -> None:
    assert 'owner_user_uuid' not in Subscription().load(OK)
    assert Subscription().load({**OK, 'owner_user_uuid': None})['owner_user_uuid'] is None


def test_users_have_no_say_in_whose_it_is() -> None:
    loaded = UserSubscription().load({**OK, 'owner_user_uuid': 5, 'events_user_uuid': '', 'events_wazo_uuid': 'x'})

    assert set(loaded) == {'name', 'service', 'events', 'config', 'metadata'}


@pytest.mark.parametrize('body', [None, [], [{}], 's', 1])
def test_a_body_that_is_no_object_is_refused_as_a_whole(body: Any) -> None:
    with pytest.raises(ValidationError) as refused:
        Subscription().load(body)

    assert refused.value.normalized_messages() == {'_schema': ['Invalid input type.']}


# -- queries


def test_metadata_are_searched_by_key_and_value() -> None:
    asked = ['k:a:b', 'nocolon', 'x:', ':y', 'x:last']

    assert ListQuery().load({'search_metadata': asked})['search_metadata'] == {'k': 'a:b', 'x': 'last', '': 'y'}


BAD_LIST_QUERIES: dict[str, tuple[dict[str, Any], Any]] = {
    'recurse empty': ({'recurse': ''}, {'recurse': _error('Not a valid boolean.', 'type', 'boolean')}),
    'recurse maybe': ({'recurse': 'maybe'}, {'recurse': _error('Not a valid boolean.', 'type', 'boolean')}),
    'limit -1': (
        {'limit': '-1'},
        {'limit': [_error('Must be greater than or equal to 0.', 'range', {'min': 0})]},
    ),
    'limit empty': ({'limit': ''}, {'limit': _error('Not a valid integer.', 'type', 'integer')}),
    'limit 1.5': ({'limit': '1.5'}, {'limit': _error('Not a valid integer.', 'type', 'integer')}),
    'limit without end': ({'limit': '9' * 5000}, {'limit': _error('Not a valid integer.', 'type', 'integer')}),
    'offset beyond 64 bits': (
        {'offset': str(2**63)},
        {'offset': [_error(f'Must be less than or equal to {2**63 - 1}.', 'range', {'max': 2**63 - 1})]},
    ),
    'order': (
        {'order': 'events'},
        {'order': [_error('Must be one of: name, service, uuid.', 'enum', {'choices': ['name', 'service', 'uuid']})]},
    ),
    'NUL in search': ({'search': '\0'}, {'search': [CHARACTERS]}),
    'NUL in metadata': ({'search_metadata': ['a:\0']}, {'search_metadata': [CHARACTERS]}),
}


@pytest.mark.parametrize('case', BAD_LIST_QUERIES.values(), ids=BAD_LIST_QUERIES.keys())
def test_bad_query_of_a_list(case: tuple[dict[str, Any], Any]) -> None:
    query, expected = case
    with pytest.raises(ValidationError) as refused:
        ListQuery().load(query)

    assert refused.value.normalized_messages() == expected


@pytest.mark.parametrize(
    'text', ['t', 'T', 'true', 'True', 'TRUE', 'on', 'On', 'ON', 'y', 'Y', 'yes', 'Yes', 'YES', '1']
)
def test_ways_to_say_recurse(text: str) -> None:
    assert ListQuery().load({'recurse': text})['recurse'] is True


@pytest.mark.parametrize('text', ['+5', ' 5', '0_5', '5'])
def test_ways_to_say_five(text: str) -> None:
    assert LogsQuery().load({'limit': text})['limit'] == 5


def test_logs_are_asked_newest_first_unless_told() -> None:
    query = LogsQuery().load({})

    assert (query['order'], query['direction'], query['limit'], query['from_date']) == (
        'started_at',
        'desc',
        None,
        None,
    )


@pytest.mark.parametrize('text', ['DESC', '', 'up'])
def test_bad_direction(text: str) -> None:
    with pytest.raises(ValidationError) as refused:
        LogsQuery().load({'direction': text})

    expected = _error('Must be one of: asc, desc.', 'enum', {'choices': ['asc', 'desc']})
    assert refused.value.normalized_messages() == {'direction': [expected]}


DATES = {
    '2026-01-03T00:00': '2026-01-03T00:00:00+00:00',
    '2026-1-3 4:5': '2026-01-03T04:05:00+00:00',
    '2026-01-03T00:00:00Z': '2026-01-03T00:00:00+00:00',
    '2026-01-04T08:00:00.123456+00:00': '2026-01-04T08:00:00.123456+00:00',
    '2026-01-04T08:00:00.5-05': '2026-01-04T13:00:00.500000+00:00',
    '2026-01-04T08:00:00+0530': '2026-01-04T02:30:00+00:00',
}


@pytest.mark.parametrize(('text', 'moment'), DATES.items())
def test_dates(text: str, moment: str) -> None:
    assert LogsQuery().load({'from_date': text})['from_date'].isoformat() == moment


@pytest.mark.parametrize(
    'text',
    ['2026-01-03', '1767398400', '', '2026-13-01T00:00', '2026-01-03T00:00:00 00:00', '0001-01-01T00:00+10:00',
     '2026-01-03T00:00+99:00', '2026-01-03T00:00\n', '2026-01-03T00:00+01:75'],
)  # fmt: skip
def test_bad_dates(text: str) -> None:
    with pytest.raises(ValidationError) as refused:
        LogsQuery().load({'from_date': text})

    expected = _error('Not a valid datetime', 'type', 'datetime')
    assert refused.value.normalized_messages() == {'from_date': expected}
