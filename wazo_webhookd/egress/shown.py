"""What was sent and answered, as objects of requests that logs may show."""

from __future__ import annotations

import codecs
import encodings
import functools
import pkgutil
import re
import zlib
from collections.abc import Mapping
from datetime import timedelta
from encodings.aliases import aliases
from http import HTTPStatus
from typing import Final

import requests
from requests.structures import CaseInsensitiveDict

from wazo_webhookd.domain.endpoint import MASK, Authority, Target
from wazo_webhookd.egress.connection import basic_authorization
from wazo_webhookd.egress.exchange import Answer

METHODS_WITH_BODY: Final = frozenset({'POST', 'PUT', 'PATCH'})
STRANGE_CHARSETS: Final = frozenset({'idna', 'punycode', 'undefined', 'unicode-escape', 'raw-unicode-escape', 'utf-7'})
"""Text codecs of Python that are slow or dangerous on hostile input; no receiver means them."""

_NOT_OF_NAMES = re.compile(r'[^0-9a-z]+')
_CHARSET = re.compile(r'charset\s*=\s*["\']?([A-Za-z0-9_.:\-]{1,40})', re.IGNORECASE)


def complete_headers(
    method: str, headers: Mapping[str, str], body: bytes | None, authority: Authority
) -> dict[str, str]:
    """The given headers and those that follow from body and URL."""
    sent = dict(headers)
    if authority.credentials is not None:
        sent['Authorization'] = basic_authorization(*authority.credentials)
    if body:
        sent['Content-Length'] = str(len(body))
    elif method in METHODS_WITH_BODY:
        sent['Content-Length'] = '0'
    return sent


def as_request(method: str, target: Target, sent: dict[str, str], body: bytes | None) -> requests.PreparedRequest:
    """The request as logs may show it."""
    request = requests.PreparedRequest()
    request.method = method
    request.url = target.masked_url
    if target.authority.credentials is not None:
        sent = sent | {'Authorization': MASK}
    request.headers = CaseInsensitiveDict(sent)
    request.body = body
    return request


def as_response(answer: Answer, request: requests.PreparedRequest, limit: int, seconds: float) -> requests.Response:
    """The answer as requests would give it, with ``truncated`` added; at most ``limit`` bytes of body, unpacked."""
    response = requests.Response()
    response.status_code = answer.status
    response.reason = answer.reason or _phrase(answer.status)
    response.url = request.url or ''
    response.request = request
    headers: CaseInsensitiveDict[str] = CaseInsensitiveDict()
    for name, value in answer.headers:
        before = headers.get(name)
        headers[name] = value if before is None else f'{before}, {value}'
    response.headers = headers
    body, cut = answer.body, answer.truncated
    if body and 'Content-Encoding' in headers:
        body, cut = _decoded(body, headers['Content-Encoding'], limit, cut)
    response.encoding = charset(headers.get('Content-Type', ''))
    response._content = body
    response._content_consumed = True  # type: ignore[attr-defined]
    response.elapsed = timedelta(seconds=seconds)
    response.truncated = cut  # type: ignore[attr-defined]
    return response


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return 'unknown status'


def charset(content_type: str) -> str:
    """The charset to decode a body with: the declared one when it is a sane text codec, else UTF-8."""
    declared = _CHARSET.search(content_type)
    name = None if declared is None else _codecs().get(_NOT_OF_NAMES.sub('', declared[1].lower()))
    if name is None:
        return 'utf-8'
    try:
        codec = codecs.lookup(name)
    except LookupError:  # one of another system
        return 'utf-8'
    return codec.name if is_sane(codec) else 'utf-8'


@functools.cache
def _codecs() -> dict[str, str]:
    """The codecs there are, by their names without punctuation. Python remembers for ever whatever name it was asked
    for, so it is asked for none that receivers made up."""
    names = [*(module.name for module in pkgutil.iter_modules(encodings.__path__)), *aliases]
    return {_NOT_OF_NAMES.sub('', name): name for name in names if name != 'aliases'}


def is_sane(codec: codecs.CodecInfo) -> bool:
    return getattr(codec, '_is_text_encoding', True) and codec.name not in STRANGE_CHARSETS


def _decoded(body: bytes, coding: str, limit: int, cut: bool) -> tuple[bytes, bool]:
    """Undo gzip or deflate, which nobody asked for, up to ``limit`` bytes; anything odd stays as it came."""
    if coding.strip().lower() not in ('gzip', 'x-gzip', 'deflate'):
        return body, cut
    decoder = zlib.decompressobj(zlib.MAX_WBITS | 32)
    try:
        plain = decoder.decompress(body, limit)
    except zlib.error:
        return body, cut
    return plain, cut or bool(decoder.unconsumed_tail)
