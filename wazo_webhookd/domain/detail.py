"""What is remembered of an attempt, how much of it, and what is blacked out."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any, Final

MASK: Final = '********'

LARGEST: Final = 65_536
"""Characters of JSON that a detail may have."""

SENTENCE: Final = 1_000
"""Characters that the reason shown beside a delivery may have."""

SECRET_NAMES: Final = frozenset(
    {
        'authorization',
        'proxy-authorization',
        'x-auth-token',
        'x-api-key',
        'cookie',
        'set-cookie',
        'access_token',
        'refresh_token',
        'client_secret',
        'password',
    }
)
"""Keys (headers, members of bodies; any case) whose values are blacked out."""


@dataclass(frozen=True, slots=True)
class Caps:
    """How much is kept: characters per text, members per container, containers within each other, values in all."""

    text: int
    members: int
    depth: int
    values: int


USUAL: Final = Caps(text=16_384, members=500, depth=16, values=4_000)
TIGHT: Final = Caps(text=1_000, members=20, depth=5, values=200)

_USERINFO = re.compile(r'(://)(?:([^\s/?#@:\\]*):)?[^\s/?#@\\]*@')
_CREDENTIALS = re.compile(r'\b(bearer|basic)(\s+)[\w.~+/=-]{6,}', re.IGNORECASE)
_UNSTORABLE = re.compile('[\x00\ud800-\udfff]')

_encode = json.JSONEncoder(separators=(',', ':'), allow_nan=False).encode


def of_success(value: Any) -> dict[str, Any]:
    """The detail of an attempt that went well: the object that the service returned (anything else falsy is ``{}``)."""
    if not value:
        return {}
    return dict(value) if isinstance(value, Mapping) else {'value': value}


def of_failure(detail: Any) -> dict[str, Any]:
    """The detail of a failed attempt; a bare text (guests raise those) is its ``error``."""
    if isinstance(detail, str):
        return {'error': detail}
    return of_success(detail)


def of_exception(error: BaseException) -> dict[str, Any]:
    """What the reference keeps of an exception, ``str()``; a missing key says that it is one."""
    if isinstance(error, KeyError) and len(error.args) == 1:
        return {'error': f'missing key: {error.args[0]!r}'}
    try:
        text = str(error)
    except Exception:  # a guest's exception class may be broken too
        text = ''
    return {'error': text or type(error).__name__}


def remembered(detail: Mapping[str, Any]) -> str:
    """The detail as JSON (ASCII) that every database takes: capped, secrets blacked out, nothing that JSON lacks."""
    text = _encode(_Cleaner(USUAL).clean(detail, 0))
    if len(text) > LARGEST:
        text = _encode(_Cleaner(TIGHT).clean(detail, 0) | {'truncated': True})
        if len(text) > LARGEST:
            text = _encode({'error': sentence(str(detail.get('error', ''))), 'truncated': True})
    return text


def blacked_out(text: str) -> str:
    """The text without passwords in URLs and without the credentials of Authorization headers."""
    if '@' in text and '://' in text:
        text = _USERINFO.sub(_masked_userinfo, text)
    if 'earer' in text or 'asic' in text or 'EARER' in text or 'ASIC' in text:
        text = _CREDENTIALS.sub(rf'\1\2{MASK}', text)
    return text


def sentence(text: str) -> str:
    """A short text for a column of type text: one piece, no NUL, no lone surrogates, no secrets."""
    text = text[: 2 * SENTENCE]
    return shortened(_UNSTORABLE.sub('\N{REPLACEMENT CHARACTER}', blacked_out(text)), SENTENCE)


def reason_of(detail: Mapping[str, Any]) -> str | None:
    """The sentence that says why, for the delivery itself."""
    error = detail.get('error') or detail.get('message')
    return sentence(error) if isinstance(error, str) else None


def shortened(text: str, length: int) -> str:
    if len(text) <= length:
        return text
    return f'{text[:length]}… ({len(text) - length} more characters)'


def _masked_userinfo(match: re.Match[str]) -> str:
    scheme, name = match.groups()
    return f'{scheme}{MASK}@' if name is None else f'{scheme}{name}:{MASK}@'


class _Cleaner:
    def __init__(self, caps: Caps) -> None:
        self._caps = caps
        self._left = caps.values

    def clean(self, value: Any, depth: int) -> Any:
        kind = type(value)
        if kind is str:
            return blacked_out(value if len(value) <= self._caps.text else shortened(value, self._caps.text))
        if value is None or kind is int or kind is bool:
            return value if kind is not int or -(10**300) < value < 10**300 else '…'
        if kind is float:
            return value if isfinite(value) else str(value)
        self._left -= 1
        if isinstance(value, Mapping):
            return self._mapping(value, depth)
        if isinstance(value, (list, tuple, set, frozenset)):
            return self._list(value, depth)
        if isinstance(value, (bytes, bytearray)):
            return self.clean(bytes(value[: self._caps.text]).decode('utf-8', 'replace'), depth)
        try:
            return self.clean(str(value)[:], depth)
        except Exception:  # a guest's object may be broken too
            return f'<{kind.__name__}>'

    def _mapping(self, value: Mapping[Any, Any], depth: int) -> dict[str, Any]:
        caps = self._caps
        if depth >= caps.depth:
            return {'…': f'{len(value)} members'}
        kept: dict[str, Any] = {}
        for key, item in value.items():
            name = key if type(key) is str else str(key)
            if len(kept) >= caps.members or self._left <= 0:
                kept['…'] = f'{len(value) - len(kept)} more members'
                break
            self._left -= 1
            if item and name.lower() in SECRET_NAMES:
                kept[name] = MASK
            else:
                kept[name if len(name) <= 200 else shortened(name, 200)] = self.clean(item, depth + 1)
        return kept

    def _list(self, value: Iterable[Any], depth: int) -> list[Any]:
        caps = self._caps
        if depth >= caps.depth:
            return ['…']
        kept: list[Any] = []
        for item in value:
            if len(kept) >= caps.members or self._left <= 0:
                kept.append('…')
                break
            self._left -= 1
            kept.append(self.clean(item, depth + 1))
        return kept
