from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.attempts.doubles import ticket
from wazo_webhookd.attempts.parcel import BadParcel, open_parcel, parcel_of, ticket_of

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda children: st.lists(children) | st.dictionaries(st.text(), children),
    max_leaves=20,
)


def test_event_text_is_what_stands_in_the_message() -> None:
    event = '{"name": "x",  "data": {"big": 1e400, "twice": 1, "twice": 2, "lone": "\\ud800"}}'
    parcel = open_parcel(f'[["u","m:C",null,{{"uuid":"s"}},{event}],{{}},{{"chord":null}}]')

    assert parcel.event_text == event
    assert parcel.event['data']['big'] == float('inf')
    assert parcel.subscription == {'uuid': 's'}
    assert parcel.args[:3] == ['u', 'm:C', None]


@pytest.mark.parametrize('kind', [str, bytes, memoryview])
def test_body_may_come_in_any_form(kind: Any) -> None:
    text = '[[{"uuid":"s"},{"é":1}],{},{}]'
    body = text if kind is str else kind(text.encode())

    assert open_parcel(body).event == {'é': 1}


def test_white_space_is_allowed_wherever_json_allows_it() -> None:
    parcel = open_parcel(' [ [ {"uuid":"s"} , {"a" : 1}\n ] , {}, {} ]')

    assert (parcel.args, parcel.event_text) == ([{'uuid': 's'}, {'a': 1}], '{"a" : 1}')


@pytest.mark.parametrize(
    'body',
    ['', 'x', '[]', '[[]]', '[[1],{},{}]', '{"args": []}', '[[1,2', '[[1 2],{},{}]', '[1,2,3]', b'\xff', '[' * 10_000],
)
def test_rubbish_is_a_bad_parcel(body: Any) -> None:
    with pytest.raises(BadParcel):
        open_parcel(body)


@given(json_values, json_values, st.sampled_from([None, (',', ':'), (' , ', ' : ')]), st.booleans())
def test_whatever_json_says_comes_out_again(subscription: Any, event: Any, signs: Any, ascii_only: bool) -> None:
    text = json.dumps(event, separators=signs, ensure_ascii=ascii_only)
    body = f'[["u",null,{json.dumps(subscription)},{text}],{{}},{{}}]'
    parcel = open_parcel(body)

    assert parcel.event_text == text
    assert (parcel.subscription, parcel.event) == (subscription, event)


def test_ticket_travels_as_a_table_or_as_text() -> None:
    header = ticket().to_header()

    assert ticket_of({'webhookd': header}) == ticket()
    assert ticket_of({'webhookd': json.dumps(header)}) == ticket()
    assert ticket_of({'webhookd': {**header, 'of a newer daemon': 1}}) == ticket()
    assert ticket_of({'task': 'x'}) is None


@pytest.mark.parametrize('header', ['', '{', '[]', '7', {}, {'delivery': 'x'}, 7, []])
def test_ticket_that_cannot_be_read_is_a_bad_parcel(header: Any) -> None:
    with pytest.raises(BadParcel):
        ticket_of({'webhookd': header})


def test_decoded_arguments_make_the_same_parcel() -> None:
    parcel = parcel_of(['u', 'm:C', None, {'uuid': 's'}, {'a': 1}])

    assert (parcel.subscription, parcel.event, parcel.event_text) == ({'uuid': 's'}, {'a': 1}, '{"a": 1}')
    with pytest.raises(BadParcel):
        parcel_of([1])
