"""What an http hook sends: from a subscription's configuration and an event to one request. Pure.

Source: the reference, delivery 5.1 to 5.4.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from wazo_webhookd.domain import numbers
from wazo_webhookd.domain.endpoint import BadURL, Target, literal_authority, parse
from wazo_webhookd.egress.guard import Role
from wazo_webhookd.services.http.template import renderer

MAX_URL: Final = 16384
JSON_TYPE: Final = 'application/json; charset=utf-8'
DEFAULT_TYPE: Final = 'text/plain'
SLOW_CODECS: Final = frozenset({'idna', 'punycode', 'undefined'})

_MEDIA_TYPE = re.compile(r'\s*([!#$&^_.+\-0-9A-Za-z]+/[!#$&^_.+\-0-9A-Za-z]+)\s*')
_PARAMETER = re.compile(r'\s*([^=;"\s]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^;"]*?))\s*\Z')
_WRITABLE = re.compile(r'[\x20-\x7e\xa0-\xff]*')


class BadHook(ValueError):
    """The subscription cannot be turned into a request; the message says why."""


@dataclass(frozen=True, slots=True)
class Hook:
    """One request. ``text`` is the body as people read it; ``verify`` as in egress.tls; ``deadline`` in seconds."""

    method: str
    target: Target
    headers: dict[str, str]
    body: bytes | None
    text: str | None
    verify: bool | str
    deadline: float | None


def build(
    config: Mapping[str, Any],
    event: Mapping[str, Any],
    *,
    role: Role,
    delivery_uuid: str,
    timestamp: int,
    user_agent: str,
) -> Hook:
    """``timestamp`` in Unix seconds.

    Raises KeyError for an event without name, data or origin_uuid, BadHook, BadURL, TemplateFailed.
    """
    names = {'event_name': event['name'], 'event': event['data'], 'wazo_uuid': event['origin_uuid']}
    target = build_target(config['url'], names, role)
    text, body, content_type = build_body(config, names)
    return Hook(
        method=str(config['method']).upper(),
        target=target,
        headers={
            'User-Agent': user_agent,
            'Accept-Encoding': 'identity',
            'Accept': '*/*',
            'Connection': 'keep-alive',
            'Content-Type': content_type,
            'webhook-id': delivery_uuid,
            'webhook-timestamp': str(timestamp),
        },
        body=body,
        text=text,
        verify=_verify(config.get('verify_certificate')),
        deadline=_deadline(config.get('timeout')),
    )


def build_target(template: str, names: Mapping[str, Any], role: Role) -> Target:
    """The rendered URL. What follows a literal origin cannot change it; users have to write it out."""
    authority = literal_authority(template)
    if '{' not in template:  # nothing to render
        return parse(renderer('text').render(template, names), spaces=role == 'admin')
    if authority is None:
        if role == 'user':
            raise BadURL('url-template', 'scheme, host and port have to be written out before the first brace')
        return parse(renderer('text').render(template, names, MAX_URL), spaces=True)
    kind = renderer('value') if role == 'user' else renderer('rest')
    target = parse(kind.render(template, names, MAX_URL), spaces=role == 'admin')
    if target.authority != authority:
        raise BadURL('url-template', 'the template changes where the URL leads')
    return target


def build_body(config: Mapping[str, Any], names: Mapping[str, Any]) -> tuple[str | None, bytes | None, str]:
    """The body as text and as bytes, and its content type."""
    template = config.get('body')
    if not template:
        text = numbers.dumps(names['event'])
        return text, text.encode('ascii'), JSON_TYPE
    content_type, charset = build_content_type(config.get('content_type'))
    text = renderer('text').render(template, names)
    if not text:
        return None, None, content_type
    return text, _encode(text, charset), content_type


def build_content_type(configured: Any) -> tuple[str, str]:
    """The content type to send, always with a charset, and that charset."""
    media_type, options = parse_content_type(configured if isinstance(configured, str) else '')
    charset = options.setdefault('charset', 'utf-8')
    return '; '.join([media_type, *(f'{name}={value}' for name, value in options.items())]), charset


def parse_content_type(text: str) -> tuple[str, dict[str, str]]:
    """Media type and parameters: names in lower case, quotes undone, parameters without value dropped.

    What is not a media type becomes ``text/plain``; a text that no header can carry counts as absent.
    """
    first, *rest = _split(text)
    media_type = _MEDIA_TYPE.fullmatch(first)
    if _WRITABLE.fullmatch(text) is None:
        return DEFAULT_TYPE, {}
    options: dict[str, str] = {}
    for piece in rest:
        parameter = _PARAMETER.match(piece)
        if parameter is not None:
            name, quoted, plain = parameter.groups()
            options[name.lower()] = re.sub(r'\\(.)', r'\1', quoted) if quoted is not None else plain
    return DEFAULT_TYPE if media_type is None else media_type[1].lower(), options


def _split(text: str) -> list[str]:
    """Pieces between semicolons outside quotes."""
    pieces, start, quoted = [], 0, False
    position = 0
    while position < len(text):
        character = text[position]
        if character == '\\' and quoted:
            position += 1
        elif character == '"':
            quoted = not quoted
        elif character == ';' and not quoted:
            pieces.append(text[start:position])
            start = position + 1
        position += 1
    return [*pieces, text[start:]]


def _encode(text: str, charset: str) -> bytes:
    try:
        codec = codecs.lookup(charset)
    except (LookupError, ValueError):
        raise BadHook(f'unknown encoding: {charset}') from None
    if not getattr(codec, '_is_text_encoding', True) or codec.name in SLOW_CODECS:
        raise BadHook(f'unknown encoding: {charset}')
    try:
        return codec.encode(text)[0]
    except UnicodeError as error:
        raise BadHook(str(error)) from None


def _verify(configured: Any) -> bool | str:
    """``"true"``, ``"false"`` or the path of a bundle."""
    if isinstance(configured, str) and configured.startswith('/'):
        return configured
    return configured not in ('false', False)


def _deadline(configured: Any) -> float | None:
    """Whole seconds from 1 to 30; None where nothing usable is configured."""
    try:
        seconds = int(configured)
    except (TypeError, ValueError):
        return None
    return float(seconds) if 1 <= seconds <= 30 else None
