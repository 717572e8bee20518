from __future__ import annotations

import enum
import json
from collections import OrderedDict
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wazo_webhookd.domain import detail
from wazo_webhookd.domain.detail import LARGEST, MASK, SENTENCE


def kept(value: Any) -> Any:
    return json.loads(detail.remembered({'x': value}))['x']


class Broken:
    def __str__(self) -> str:
        raise RuntimeError


class Colour(enum.IntEnum):
    RED = 1


@pytest.mark.parametrize(
    ('value', 'expected'),
    [
        (None, {}),
        ({}, {}),
        ('', {}),
        (0, {}),
        ({'a': 1}, {'a': 1}),
        ('done', {'value': 'done'}),
        ([1, 2], {'value': [1, 2]}),
        (True, {'value': True}),
    ],
)
def test_detail_of_a_success_is_an_object(value: Any, expected: dict[str, Any]) -> None:
    assert detail.of_success(value) == expected


@pytest.mark.parametrize(
    ('value', 'expected'),
    [('refused', {'error': 'refused'}), ({'a': 1}, {'a': 1}), (None, {}), (['a'], {'value': ['a']}), (7, {'value': 7})],
)
def test_detail_of_a_failure_is_an_object(value: Any, expected: dict[str, Any]) -> None:
    assert detail.of_failure(value) == expected


@pytest.mark.parametrize(
    ('error', 'text'),
    [
        (KeyError('sleep_time'), "missing key: 'sleep_time'"),
        (ValueError('unknown encoding: nope'), 'unknown encoding: nope'),
        (RuntimeError(), 'RuntimeError'),
        (KeyError(), 'KeyError'),
        (KeyError('a', 'b'), "('a', 'b')"),
    ],
)
def test_detail_of_an_exception_is_what_it_says(error: Exception, text: str) -> None:
    assert detail.of_exception(error) == {'error': text}


def test_exception_that_cannot_be_shown_is_named() -> None:
    class Odd(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    assert detail.of_exception(Odd()) == {'error': 'Odd'}


@pytest.mark.parametrize(
    'value',
    [None, True, False, 0, -7, 1.5, 'text', 'é€\N{GRINNING FACE}', 'a\0b', '\ud800', [1, [2]], {'a': {'b': [None]}}],
)
def test_what_json_knows_is_kept(value: Any) -> None:
    assert kept(value) == value


@pytest.mark.parametrize(
    ('value', 'expected'),
    [
        (float('nan'), 'nan'),
        (float('inf'), 'inf'),
        (b'ab\xff', 'ab�'),
        ((1, 2), [1, 2]),
        ({3}, [3]),
        (OrderedDict(a=1), {'a': 1}),
        ({1: 'a', None: 'b'}, {'1': 'a', 'None': 'b'}),
        (Colour.RED, '1'),
        (Broken(), '<Broken>'),
        (10**400, '…'),
        (complex(1, 2), '(1+2j)'),
    ],
)
def test_what_json_lacks_is_told_in_words(value: Any, expected: Any) -> None:
    assert kept(value) == expected


@pytest.mark.parametrize(
    ('text', 'expected'),
    [
        ('https://bob:secret@example.com/x', f'https://bob:{MASK}@example.com/x'),
        ('https://token@example.com/', f'https://{MASK}@example.com/'),
        ('see http://a:b@c/ and http://d:e@f/', f'see http://a:{MASK}@c/ and http://d:{MASK}@f/'),
        ('https://bob:@example.com', f'https://bob:{MASK}@example.com'),
        ('https://example.com/?mail=a@b.c', 'https://example.com/?mail=a@b.c'),
        ('https://example.com/@you', 'https://example.com/@you'),
        ('Authorization: Bearer eyJhbGciOi.J9', f'Authorization: Bearer {MASK}'),
        ('basic dXNlcjpwYXNz', f'basic {MASK}'),
        ('a basic idea', 'a basic idea'),
        ('plain', 'plain'),
    ],
)
def test_secrets_in_texts_are_blacked_out(text: str, expected: str) -> None:
    assert detail.blacked_out(text) == expected
    assert kept({'deep': [text]}) == {'deep': [expected]}


@pytest.mark.parametrize('name', ['Authorization', 'authorization', 'X-Auth-Token', 'Set-Cookie', 'password', 'Cookie'])
def test_values_of_secret_names_are_blacked_out(name: str) -> None:
    assert kept({'request_headers': {name: 'anything', 'Accept': '*/*'}}) == {
        'request_headers': {name: MASK, 'Accept': '*/*'}
    }


def test_absent_secret_stays_absent() -> None:
    assert kept({'password': None}) == {'password': None}


def test_long_text_is_cut_and_says_so() -> None:
    text = kept('a' * 20_000)

    assert len(text) < 17_000
    assert text.endswith('… (3616 more characters)')


def test_many_members_are_cut() -> None:
    assert len(kept(list(range(10_000)))) <= 501
    assert len(kept({str(n): n for n in range(10_000)})) <= 501


def test_deep_nesting_ends() -> None:
    value: Any = 'end'
    for _ in range(100_000):
        value = [value]

    assert 'end' not in json.dumps(kept(value))


def test_value_that_contains_itself_ends() -> None:
    value: dict[str, Any] = {}
    value['self'] = value

    assert kept(value)


def test_large_detail_is_cut_down_but_keeps_its_error() -> None:
    text = detail.remembered({'error': 'it failed', **{f'key {n}': 'é' * 10_000 for n in range(20)}})

    assert len(text) <= LARGEST
    assert json.loads(text)['error'] == 'it failed'
    assert json.loads(text)['truncated'] is True


def test_sentence_fits_a_text_column() -> None:
    text = detail.sentence('a\0b \ud800 https://u:p@h/ ' + 'x' * 5_000)

    assert text.startswith(f'a�b � https://u:{MASK}@h/')
    assert len(text) < SENTENCE + 50
    text.encode()


@pytest.mark.parametrize(
    ('value', 'reason'),
    [
        ({'error': 'Gone'}, 'Gone'),
        ({'message': 'no token', 'error_id': 'x'}, 'no token'),
        ({}, None),
        ({'error': {'a': 1}}, None),
    ],
)
def test_reason_is_the_error(value: dict[str, Any], reason: str | None) -> None:
    assert detail.reason_of(value) == reason


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda children: st.lists(children) | st.dictionaries(st.text(), children) | st.tuples(children, children),
    max_leaves=40,
)


@given(st.dictionaries(st.text(), anything))
def test_whatever_a_service_returns_becomes_bounded_ascii_json(value: dict[str, Any]) -> None:
    text = detail.remembered(value)

    assert text.isascii()
    assert '\0' not in text
    assert len(text) <= LARGEST
    assert isinstance(json.loads(text, parse_constant=pytest.fail), dict)
