"""Numbers beyond a float."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wazo_webhookd.domain.numbers import Immense, dumps, read


def loads(text: str) -> Any:
    return json.loads(text, parse_float=read)


@pytest.mark.parametrize(
    'text',
    [
        '1e400',
        '-1E+999',
        '[1e400, -1e400, 1e400]',
        '{"a": {"b": [{"c": 1.5e309}]}, "d": "Infinity"}',
        '["Infinity", 1.5, 12345678901234567890]',
        '["\\ud800 \\u0000", 2e308]',
    ],
)
def test_what_was_read_is_written_as_it_was(text: str) -> None:
    assert dumps(loads(text)) == text


def test_who_calculates_sees_an_infinite_float() -> None:
    number = loads('-1e400')

    assert number == float('-inf')
    assert isinstance(number, Immense)
    assert f'{number}' == str(number) == '-1e400'


def test_options_are_those_of_json() -> None:
    assert dumps(loads('{"b": 1e400, "a": 1}'), sort_keys=True, indent=1) == '{\n "a": 1,\n "b": 1e400\n}'


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_everything_else_is_as_json_writes_it(value: Any) -> None:
    assert dumps(value) == json.dumps(value)
    assert loads(json.dumps(value)) == value
