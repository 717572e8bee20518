import contextlib
import json
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wazo_webhookd.bus.message import UNREADABLE, Limits, Malformed, Properties, decode, plain_headers

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
LIMITS = Limits()
JSON = Properties(content_type='application/json', content_encoding='utf-8')


def decoded(body, headers=None, properties=JSON, limits=LIMITS, redelivered=False):
    if isinstance(body, str):
        body = body.encode()
    return decode(
        body,
        headers={'name': 'call_created'} if headers is None else headers,
        properties=properties,
        redelivered=redelivered,
        limits=limits,
        uuid='event-uuid',
        received_at=NOW,
    )


def test_an_event_carries_what_was_received():
    text = '{"name": "call_created", "data": {"é": [1, null]}}'
    event = decoded(text, {'name': 'call_created', 'tenant_uuid': 't', 'user_uuid:u': True})

    assert event.name == 'call_created'
    assert event.text == text
    assert event.body == {'name': 'call_created', 'data': {'é': [1, None]}}
    assert event.headers == {'name': 'call_created', 'tenant_uuid': 't', 'user_uuid:u': True}
    assert (event.tenant_uuid, event.source, event.uuid, event.received_at) == ('t', 'bus', 'event-uuid', NOW)


def test_the_header_names_the_event_when_there_is_one():
    assert decoded('{"name": "from_body"}', {'name': 'from_header'}).name == 'from_header'
    assert decoded('{"name": "from_body"}', {}).name == 'from_body'


@pytest.mark.parametrize(
    'text',
    [
        r'{"name": "n", "data": "\u0000"}',
        r'{"name": "n", "data": "\ud800"}',
        r'{"name": "n", "data": 1e400}',
        '{"name": "n", "a": 1, "a": 2}',
        '{"name": "n", "data": 12345678901234567890123}',
        '{ "name" : "n" }\n',
        '{"name": "n"' + ''.join(f', "k{i}": [{{}}]' for i in range(500)) + '}',
    ],
)
def test_what_json_allows_is_kept_as_received(text):
    assert decoded(text).text == text


def test_of_two_equal_keys_the_last_one_counts():
    assert decoded('{"name": "n", "a": 1, "a": 2}').body['a'] == 2


@pytest.mark.parametrize('content_type', [None, 'text/plain', 'application/octet-stream', 'application/json'])
def test_the_content_type_does_not_matter(content_type):
    assert decoded('{"name": "n"}', properties=Properties(content_type, None)).body == {'name': 'n'}


@pytest.mark.parametrize(
    ('body', 'headers', 'reason'),
    [
        (b'', None, 'not JSON'),
        (b'hello', None, 'not JSON'),
        (b'{"name": "n"', None, 'not JSON'),
        (b'\xff\xfe{}', None, 'not UTF-8'),
        (b'{"name": "\xed\xa0\x80"}', None, 'not UTF-8'),
        (b'[1]', None, 'array instead of an object'),
        (b'"text"', None, 'string instead of an object'),
        (b'null', None, 'null instead of an object'),
        (b'true', None, 'boolean instead of an object'),
        (b'1', None, 'number instead of an object'),
        (b'{"data": NaN}', None, 'NaN is not JSON'),
        (b'{"data": -Infinity}', None, '-Infinity is not JSON'),
        (b'{"data": "\x00"}', None, 'not JSON'),
        (b'{"data": ' + b'1' * 5000 + b'}', None, 'not usable JSON'),
        (b'{}', {}, 'no name'),
        (b'{"name": null}', {}, 'no name'),
        (b'{"name": 1}', {}, 'not a string'),
        (b'{"name": ["n"]}', {}, 'not a string'),
        (b'{"name": ""}', {}, 'empty'),
        (b'{"name": "n"}', {'name': 7}, 'not a string'),
        (b'{"name": "n"}', {'name': 'a\0b'}, 'cannot be stored'),
        (b'{"name": "a\\ud800"}', {}, 'cannot be stored'),
        (b'{"name": "n"}', {'name': 'n', 'tenant_uuid': '\0'}, 'cannot be stored'),
        (b'{"name": "n"}', {UNREADABLE: True}, 'cannot be read'),
        (b'{"name": "n"}', {'name': 'n', 'a': json.loads('[' * 30 + ']' * 30)}, 'nested too deeply'),
    ],
)
def test_what_is_no_event_is_refused_with_its_reason(body, headers, reason):
    with pytest.raises(Malformed, match=reason):
        decoded(body, headers)


@pytest.mark.parametrize(('opening', 'closing'), [('[', ']'), ('{"a":', '}')])
@pytest.mark.parametrize(('depth', 'fine'), [(199, True), (200, False), (100_000, False)])
def test_nesting_is_bounded(opening, closing, depth, fine):
    text = f'{{"name": "n", "data": {opening * depth}1{closing * depth}}}'

    if fine:
        assert decoded(text).text == text
    else:
        with pytest.raises(Malformed, match='nested'):
            decoded(text)


def test_size_is_bounded():
    with pytest.raises(Malformed, match='larger than 20 bytes'):
        decoded('{"name": "0123456789"}', limits=Limits(body_bytes=20))


def test_an_unknown_encoding_is_refused():
    with pytest.raises(Malformed, match='encoding'):
        decoded('{"name": "n"}', properties=Properties(None, 'zlib_codec'))


def test_latin_1_is_understood():
    event = decoded('{"name": "é"}'.encode('latin-1'), {}, Properties(None, 'ISO-8859-1'))

    assert event.name == 'é'


def test_headers_become_what_json_can_hold():
    headers = {
        'text': 'é', b'bytes': b'\xff', 'yes': True, 'number': 1, 'half': 0.5, 'nan': float('nan'), 'none': None,
        'money': Decimal('1.5'), 'when': datetime(2026, 1, 2, 3, 4, 5), 'table': {'a': [b'x', {'b': 1}]},
        'surrogate': '\ud800',
    }  # fmt: skip

    assert plain_headers(headers) == {
        'text': 'é', 'bytes': '�', 'yes': True, 'number': 1, 'half': 0.5, 'nan': 'nan', 'none': None,
        'money': '1.5', 'when': '2026-01-02T03:04:05', 'table': {'a': ['x', {'b': 1}]},
        'surrogate': '?',
    }  # fmt: skip


# -- fingerprints


STAMPED = '{"name": "n", "timestamp": "2026-11-23T12:00:00.000001"}'


def test_the_message_id_with_the_content_is_the_fingerprint():
    one = decoded('{"name": "n"}', properties=Properties(message_id='1'))
    same = decoded('{"name": "n"}', properties=Properties(message_id='1'), redelivered=True)
    other = decoded('{"name": "n"}', properties=Properties(message_id='2'))
    careless = decoded('{"name": "n", "other": 1}', properties=Properties(message_id='1'))

    assert one.fingerprint == same.fingerprint
    assert len({one.fingerprint, other.fingerprint, careless.fingerprint}) == 3
    assert len(one.fingerprint) == 64
    assert same.redelivered


def test_content_with_its_own_time_is_a_fingerprint():
    headers = {'name': 'n', 'tenant_uuid': 't'}
    one = decoded(STAMPED, headers)

    assert one.fingerprint == decoded(STAMPED, {**headers, 'x-delivery-count': 1}).fingerprint
    assert one.fingerprint != decoded(STAMPED, {**headers, 'tenant_uuid': 'u'}).fingerprint
    assert one.fingerprint != decoded(STAMPED.replace('01"', '02"'), headers).fingerprint


@pytest.mark.parametrize(
    'text', ['{"name": "n"}', '{"name": "n", "timestamp": null}', '{"name": "n", "timestamp": ""}']
)
def test_events_without_a_time_of_their_own_are_never_taken_for_each_other(text):
    assert decoded(text).fingerprint is None


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(st.text(), json_values, max_size=5), st.booleans())
def test_any_json_object_is_delivered_as_received(body, escaped):
    text = json.dumps(body, ensure_ascii=True) if escaped else json.dumps(body, ensure_ascii=False)
    try:
        raw = text.encode()
    except UnicodeEncodeError:
        raw = json.dumps(body).encode()

    event = decoded(raw)

    assert event.text.encode() == raw
    assert event.body == body


@given(st.binary(max_size=200))
def test_any_bytes_are_an_event_or_malformed(body):
    with contextlib.suppress(Malformed):
        assert decoded(body).text.encode() == body
