"""What becomes of a posted event (new.md, POST /events): its text as it came, its tenant behind a wall."""

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from marshmallow import ValidationError

from wazo_webhookd.plugins.events.event import posted_event
from wazo_webhookd.plugins.events.raw_json import is_deeper_than, members

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def make(text='{"data": {}}', *, master=False, headers=None, origin_uuid=None, max_bytes=10_000, name='some_event'):
    asked = {'name': name, 'origin_uuid': origin_uuid, 'headers': headers or {}}
    return posted_event(
        asked, members(text)['data'], uuid='u', scope_tenant='scope', in_master_tenant=master, origin_uuid='here',
        received_at=NOW, max_bytes=max_bytes,
    )  # fmt: skip


def test_the_body_repeats_the_headers_as_on_the_bus():
    event = make('{"data": {"a": 1}}', headers={'user_uuid:u': True})

    assert event.headers == {
        'name': 'some_event', 'origin_uuid': 'here', 'tenant_uuid': 'scope', 'user_uuid:u': True,
    }  # fmt: skip
    assert event.body == {**event.headers, 'data': {'a': 1}}
    assert json.loads(event.text) == event.body
    assert (event.name, event.source, event.received_at, event.uuid) == ('some_event', 'rest', NOW, 'u')
    assert event.fingerprint is None


def test_a_named_origin_is_kept():
    assert make(origin_uuid='there').headers['origin_uuid'] == 'there'


@pytest.mark.parametrize(
    'data', ['1e400', '"\\u0000"', '"\\ud800"', '1.50', '12345678901234567890', '{"a":1,"a":2}', '[ 1 ]']
)
def test_the_data_are_in_the_text_as_they_came(data):
    assert make(f'{{"data": {data}}}').text.endswith(f', "data": {data}}}')


@pytest.mark.parametrize(
    ('master', 'headers', 'tenant'),
    [
        (False, {}, 'scope'),
        (False, {'tenant_uuid': 'other'}, 'scope'),
        (False, {'tenant_uuid': None}, 'scope'),
        (True, {}, 'scope'),
        (True, {'tenant_uuid': 'other'}, 'other'),
        (True, {'tenant_uuid': None}, None),
        (True, {'tenant_uuid': ''}, None),
    ],
)
def test_only_the_master_tenant_names_another_tenant_or_none(master, headers, tenant):
    event = make(master=master, headers=headers)

    assert event.tenant_uuid == tenant
    assert event.body.get('tenant_uuid') == tenant
    assert json.loads(event.text).get('tenant_uuid') == tenant


def test_headers_cannot_say_another_name_or_data():
    event = make('{"data": 1}', headers={'name': 'other', 'origin_uuid': 'other', 'data': 'other'})

    assert event.headers['name'] == 'some_event'
    assert json.loads(event.text)['data'] == 1
    assert json.loads(event.text)['name'] == 'some_event'


def test_an_event_beyond_the_limit_is_refused():
    with pytest.raises(ValidationError) as caught:
        make(json.dumps({'data': 'x' * 200}), max_bytes=200)

    assert caught.value.messages['data'][0]['constraint'] == {'max': 200}


@pytest.mark.parametrize(('depth', 'refused'), [(199, False), (200, True)])
def test_an_event_that_is_too_deep_is_refused(depth, refused):
    text = f'{{"data": {"[" * depth}{"]" * depth}}}'
    if refused:
        with pytest.raises(ValidationError):
            make(text)
    else:
        make(text)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=15,
)


@given(st.dictionaries(st.text(max_size=8), json_values, max_size=5), st.sampled_from([None, 1, '\t']), st.booleans())
def test_members_are_the_values_and_their_texts(document, indent, ascii_only):
    text = f' {json.dumps(document, indent=indent, ensure_ascii=ascii_only)}\n'
    found = members(text)

    assert {key: member.value for key, member in found.items()} == document
    assert all(json.loads(member.text) == member.value for member in found.values())


@pytest.mark.parametrize('text', ['[]', '1', 'null', '"x"'])
def test_what_is_no_object_has_no_members(text):
    assert members(text) is None


@pytest.mark.parametrize('text', ['', '{', '{"a": NaN}', '{"a": Infinity}', "{'a': 1}", '{"a": 1,}', '{"a": 1} x'])
def test_what_is_no_json_is_an_error(text):
    with pytest.raises(ValueError, match=r'.'):
        members(text)


def test_of_a_repeated_key_the_last_counts():
    assert members('{"a": 1, "a": 2.0}')['a'].text == '2.0'


@given(json_values)
def test_depth_is_counted_right(value):
    def depth(value):
        if isinstance(value, dict):
            return 1 + max(map(depth, value.values()), default=0)
        if isinstance(value, list):
            return 1 + max(map(depth, value), default=0)
        return 0

    assert is_deeper_than(depth(value), value) is False
    assert depth(value) == 0 or is_deeper_than(depth(value) - 1, value) is True
