"""What a message of the bus says: bytes and headers in, an event out, or the reason why not."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from hashlib import blake2b
from typing import Any, Final, NoReturn

from ..domain.event import Event
from ..exceptions import WebhookdError

UNREADABLE: Final = 'x-wazo-webhookd-unreadable'
"""Header that ``bus.broker`` puts in the place of properties that the AMQP library cannot read."""

_CHARSETS: Final = {
    '': 'utf-8',
    'binary': 'utf-8',
    'utf-8': 'utf-8',
    'utf8': 'utf-8',
    'ascii': 'ascii',
    'us-ascii': 'ascii',
    'latin-1': 'latin-1',
    'latin1': 'latin-1',
    'iso-8859-1': 'latin-1',
}


class Malformed(WebhookdError):
    """The message is not an event."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


@dataclass(frozen=True, slots=True)
class Limits:
    """``depth`` counts nested lists and objects; ``body_bytes`` is checked by the consumer too, before decoding."""

    body_bytes: int = 1_048_576
    depth: int = 200


@dataclass(frozen=True, slots=True)
class Properties:
    """The AMQP properties of a message that matter to us."""

    content_type: str | None = None
    content_encoding: str | None = None
    message_id: str | None = None


def decode(
    body: bytes,
    *,
    headers: Mapping[Any, Any] | None,
    properties: Properties,
    redelivered: bool,
    limits: Limits,
    uuid: str,
    received_at: datetime,
) -> Event:
    """The event in a message. Raises Malformed.

    The body has to be a JSON object in UTF-8, whatever the content type claims. The name is the header's
    where there is one. ``text`` of the event is the body exactly as received, so that what JSON
    allows and other encodings do not (``\\u0000``, lone surrogates, ``1e400``) survives.
    """
    if len(body) > limits.body_bytes:
        raise Malformed(f'larger than {limits.body_bytes} bytes')
    plain = plain_headers(headers or {})
    if UNREADABLE in plain:
        raise Malformed('its headers cannot be read')
    text = _text(body, properties)
    content = _content(text, properties, limits)
    return Event(
        uuid=uuid,
        name=_name(plain, content),
        headers=plain,
        body=content,
        text=text,
        source='bus',
        received_at=received_at,
        fingerprint=_fingerprint(body, plain, content, properties.message_id),
        redelivered=redelivered,
    )


def plain_headers(headers: Mapping[Any, Any]) -> dict[str, Any]:
    """AMQP headers as JSON can hold them. Text, booleans, integers and finite floats stay what they are."""
    return {_plain_text(key): _plain(value, 0) for key, value in headers.items()}


def _plain(value: Any, depth: int) -> Any:
    if isinstance(value, str) and not value.isascii():
        return _plain_text(value)
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, (datetime, date)):
        return value.isoformat()
    if depth > 20:
        raise Malformed('its headers are nested too deeply')
    if isinstance(value, Mapping):
        return {_plain_text(key): _plain(item, depth + 1) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item, depth + 1) for item in value]
    return _plain_text(value)


def _plain_text(value: Any) -> str:
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value).decode('utf-8', 'replace')
    return str(value).encode('utf-8', 'replace').decode('utf-8')


def _text(body: bytes, properties: Properties) -> str:
    encoding = (properties.content_encoding or '').strip().lower()
    charset = _CHARSETS.get(encoding)
    if charset is None:
        raise Malformed(f'unknown content encoding {encoding[:40]!r}')
    try:
        return body.decode(charset)
    except UnicodeDecodeError as error:
        raise Malformed(f'not {charset.upper()}: byte {error.start} is wrong') from None


def _content(text: str, properties: Properties, limits: Limits) -> dict[str, Any]:
    try:
        content = json.loads(text, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        claimed = properties.content_type
        also = '' if claimed in (None, 'application/json') else f' (content type {claimed[:60]!r})'
        raise Malformed(f'not JSON: {error.msg} at character {error.pos}{also}') from None
    except RecursionError:
        raise Malformed(f'nested more than {limits.depth} deep') from None
    except ValueError as error:  # an integer with more digits than Python converts
        raise Malformed(f'not usable JSON: {error}'[:200]) from None
    if not isinstance(content, dict):
        raise Malformed(f'a JSON {_json_type(content)} instead of an object')
    if text.count('[') + text.count('{') > limits.depth and _deeper_than(content, limits.depth):
        raise Malformed(f'nested more than {limits.depth} deep')
    return content


def _refuse_constant(constant: str) -> NoReturn:
    raise Malformed(f'{constant} is not JSON')


def _json_type(value: Any) -> str:
    if value is None:
        return 'null'
    return {list: 'array', str: 'string', bool: 'boolean'}.get(type(value), 'number')


def _deeper_than(content: Any, depth: int) -> bool:
    level: list[Any] = [content]
    for _ in range(depth):
        level = [inner for outer in level for inner in _members(outer) if isinstance(inner, (dict, list))]
        if not level:
            return False
    return True


def _members(container: Any) -> Iterable[Any]:
    return container.values() if isinstance(container, dict) else container


def _name(headers: Mapping[str, Any], content: Mapping[str, Any]) -> str:
    where, name = ('header', headers['name']) if 'name' in headers else ('body', content.get('name'))
    if name is None:
        raise Malformed('it has no name')
    if not isinstance(name, str):
        raise Malformed(f'its name ({where}) is not a string')
    if not name:
        raise Malformed(f'its name ({where}) is empty')
    tenant = headers.get('tenant_uuid')
    for what, value in (('name', name), ('tenant_uuid', tenant)):
        if isinstance(value, str) and not _storable(value):
            raise Malformed(f'its {what} has characters that cannot be stored')
    return name


def _storable(text: str) -> bool:
    """PostgreSQL's text takes no NUL, and UTF-8 no lone surrogate."""
    return '\0' not in text and (text.isascii() or text.encode('utf-8', 'ignore').decode() == text)


def _fingerprint(
    body: bytes, headers: Mapping[str, Any], content: Mapping[str, Any], message_id: str | None
) -> str | None:
    """What recognises the same message when the broker hands it over again; None if nothing does.

    The message's own id and its content (publishers are known whose ids are all the same); else its content, if that
    includes the time at which it was made.
    """
    if message_id:
        digest = blake2b(body, digest_size=32, person=b'message id')
        digest.update(message_id.encode('utf-8', 'replace'))
        return digest.hexdigest()
    stamp = headers.get('timestamp', content.get('timestamp'))
    if not stamp or isinstance(stamp, bool) or not isinstance(stamp, (str, int, float)):
        return None
    own = {key: value for key, value in headers.items() if not key.startswith('x-')}  # the broker's own change
    digest = blake2b(body, digest_size=32, person=b'content')
    digest.update(json.dumps(own, sort_keys=True, separators=(',', ':')).encode())
    return digest.hexdigest()
