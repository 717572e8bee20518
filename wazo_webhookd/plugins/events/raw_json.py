"""Reads a JSON object and keeps the text of its members.

What JSON allows and Python's numbers and other programs do not (``1e400``, the spelling of a number,
lone surrogates) goes into the journal as it came.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple, NoReturn

_SPACE = ' \t\n\r'


class Member(NamedTuple):
    value: Any
    text: str


def members(text: str) -> dict[str, Member] | None:
    """Key to value and its text; of a repeated key the last. None if the text is valid JSON but no object.

    Raises ValueError or RecursionError when it is not JSON.
    """
    if not isinstance(_decoder.decode(text), dict):
        return None
    found: dict[str, Member] = {}
    at = _skip(text, _skip(text, 0) + 1)
    while text[at] != '}':
        key, at = _decoder.raw_decode(text, at)
        start = _skip(text, _skip(text, at) + 1)
        value, end = _decoder.raw_decode(text, start)
        found[key] = Member(value, text[start:end])
        at = _skip(text, end)
        if text[at] == ',':
            at = _skip(text, at + 1)
    return found


def is_deeper_than(limit: int, value: Any) -> bool:
    """Whether more than ``limit`` lists and objects lie within each other."""
    level = [value]
    for _ in range(limit):
        level = [inner for outer in level for inner in _inner(outer)]
        if not level:
            return False
    return any(isinstance(value, (dict, list)) for value in level)


def _inner(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []


def _skip(text: str, at: int) -> int:
    while text[at] in _SPACE:
        at += 1
    return at


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f'{constant} is not JSON')


_decoder = json.JSONDecoder(parse_constant=_refuse)
