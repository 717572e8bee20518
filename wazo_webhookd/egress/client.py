"""One HTTP call to a receiver that may be slow, dead, huge, lying or hostile.

Answers and failures are those of requests, so that callers translate them as they do with requests itself:

    requests.ConnectionError       no connection, no answer, or none that is HTTP
    ├── NameLookupFailed           the name has no address now
    requests.ConnectTimeout        no connection within the connect timeout
    requests.SSLError              no trusted TLS session
    requests.ReadTimeout
    └── DeadlineExceeded           the total deadline passed
    requests.exceptions.InvalidHeader
    OSError (tls.BadBundle)        the CA bundle cannot be used
    guard.EgressRefused, domain.endpoint.BadURL    refused: nothing was sent

The calling thread does all the work; connections, TLS contexts and the watchdog's thread are shared.
"""

from __future__ import annotations

import codecs
import logging
import os
import re
import socket
import ssl
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from http import HTTPStatus
from pathlib import Path
from typing import Final, Protocol

import requests
from requests.structures import CaseInsensitiveDict

from wazo_webhookd.domain.endpoint import MASK, Authority, BadURL, Target, parse
from wazo_webhookd.egress.addresses import Address
from wazo_webhookd.egress.connection import (
    Connect,
    Connection,
    ConnectTooSlow,
    Keeper,
    Opener,
    Proxy,
    TlsFailed,
    basic_authorization,
    connect_directly,
)
from wazo_webhookd.egress.exchange import Answer, AnswerReader, BadRequest, NoAnswer, write_request
from wazo_webhookd.egress.guard import Guard, GuardSettings, Role
from wazo_webhookd.egress.resolver import LookupFailed, Resolver, SystemResolver
from wazo_webhookd.egress.tls import TlsContexts, Verify
from wazo_webhookd.egress.watchdog import Watchdog

logger = logging.getLogger(__name__)

IGNORED_VARIABLES: Final = (
    'HTTP_PROXY', 'HTTPS_PROXY', 'ALL_PROXY', 'NO_PROXY', 'REQUESTS_CA_BUNDLE', 'CURL_CA_BUNDLE',
    'SSL_CERT_FILE', 'SSL_CERT_DIR', 'NETRC',
)  # fmt: skip
METHODS_WITH_BODY: Final = frozenset({'POST', 'PUT', 'PATCH'})
STRANGE_CHARSETS: Final = frozenset({'idna', 'punycode', 'undefined', 'unicode-escape', 'raw-unicode-escape', 'utf-7'})
"""Text codecs of Python that are slow or dangerous on hostile input; no receiver means them."""

_CHARSET = re.compile(r'charset\s*=\s*["\']?([A-Za-z0-9_.:\-]{1,40})', re.IGNORECASE)


class Settings(GuardSettings, Protocol):
    """Part ``egress`` of the configuration."""

    @property
    def proxy(self) -> str | None: ...

    @property
    def connect_timeout(self) -> float: ...

    @property
    def deadline(self) -> float: ...

    @property
    def max_response_bytes(self) -> int: ...


class NameLookupFailed(requests.ConnectionError):
    """The name could not be looked up."""


class DeadlineExceeded(requests.ReadTimeout):
    """The attempt took longer than its total deadline."""


class EgressClient:
    """Shared by all threads of a process. Costs nothing until the first call."""

    def __init__(
        self, settings: Settings, *, resolver: Resolver | None = None, connect: Connect = connect_directly
    ) -> None:
        """Raises BadURL for a proxy that cannot be read, ValueError for a network that is none."""
        self._settings = settings
        self.guard = Guard(settings)
        self._resolver = resolver or SystemResolver()
        self._connect = connect
        self._proxy = read_proxy(settings.proxy) if settings.proxy else None
        self._contexts = TlsContexts()
        self._start()

    def _start(self) -> None:
        self._process = os.getpid()
        self._keeper = Keeper()
        self._watchdog = Watchdog(self._keeper.sweep)
        self._opener = Opener(self.guard, self._watchdog, self._connect, self._proxy)

    def close(self) -> None:
        self._watchdog.stop()
        self._keeper.close()

    def send(
        self,
        method: str,
        url: str | Target,
        headers: Mapping[str, str],
        body: bytes | None = None,
        *,
        role: Role,
        verify: Verify = True,
        deadline: float | None = None,
        connect_timeout: float | None = None,
    ) -> requests.Response:
        """Make one request. ``deadline`` (seconds) is for all of it, ``connect_timeout`` within it.

        Of the answer's body at most ``max_response_bytes`` are read; ``response.truncated`` says whether that
        was not all. Redirects are not followed. Passwords are masked in ``response.url`` and ``.request``.
        """
        if self._process != os.getpid():  # forked: connections and threads are the parent's
            self._start()
        started = time.monotonic()
        target = parse(url) if isinstance(url, str) else url
        authority = target.authority
        ends = started + (self._settings.deadline if deadline is None else deadline)
        connect_by = min(
            ends, started + (self._settings.connect_timeout if connect_timeout is None else connect_timeout)
        )
        sent = _complete(method, headers, body, authority)
        request = _shown(method, target, sent, body)
        try:
            data = write_request(method, target.path_query, authority.host_header, sent.items(), body)
        except BadRequest as error:
            raise requests.exceptions.InvalidHeader(str(error), request=request) from None
        self.guard.judge_authority(authority, role)
        context = self._contexts.context(verify) if authority.scheme == 'https' else None
        key = role, authority.origin, context
        try:
            connection = self._keeper.take(key)
            if connection is not None and self.guard.shut(connection.address, role) is not None:
                connection.close()
                connection = None
            if connection is not None:
                answer = self._exchange(connection, method, data, ends, kept=True)
                if answer is not None:
                    return self._response(answer, request, target, started)
            addresses, route = self._look_up(authority, role, connect_by)
            connection = self._opener.open(authority, addresses, route, key, context, ends, connect_by)
            answer = self._exchange(connection, method, data, ends, kept=False)
            assert answer is not None
            return self._response(answer, request, target, started)
        except LookupFailed as error:
            raise NameLookupFailed(str(error), request=request) from None
        except DeadlineExceeded as error:
            error.request = request
            raise
        except ConnectTooSlow as error:
            if time.monotonic() >= ends:
                raise DeadlineExceeded(f'the deadline passed: {error}', request=request) from None
            raise requests.ConnectTimeout(f'{authority.origin}: {error}', request=request) from None
        except TlsFailed as error:
            raise requests.exceptions.SSLError(f'{authority.origin}: {error}', request=request) from None
        except requests.RequestException:
            raise
        except OSError as error:
            raise requests.ConnectionError(f'{authority.origin}: {_reason(error)}', request=request) from None

    def _look_up(self, authority: Authority, role: Role, by: float) -> tuple[Sequence[Address], Sequence[Address]]:
        """The judged addresses of the receiver, and those of the proxy."""
        route = self._addresses(self._proxy.authority, by) if self._proxy is not None else ()
        if authority.address is not None:
            return (authority.address,), route
        addresses = self._addresses(authority, by)
        self.guard.judge_addresses(addresses, role)
        return addresses, route

    def _addresses(self, authority: Authority, by: float) -> Sequence[Address]:
        if authority.address is not None:
            return (authority.address,)
        return self._resolver.lookup(authority.host, by - time.monotonic())

    def _exchange(self, connection: Connection, method: str, data: bytes, ends: float, *, kept: bool) -> Answer | None:
        """Send and read. None: the kept connection had ended before anything could be sent, so another may try.

        Nothing else is repeated here: once a byte was sent, the receiver may have acted on it.
        """
        answer: Answer | None = None
        failure: OSError | None = None
        token = self._watchdog.watch(connection.sock, ends)
        in_time = False
        try:
            connection.sock.settimeout(max(0.001, ends - time.monotonic()))
            answer = self._talk(connection.sock, method, data, ends, kept)
        except OSError as error:
            failure = error
        finally:
            in_time = self._watchdog.release(token)
            if in_time and answer is not None and answer.reusable:
                self._keeper.put(connection)
            else:
                connection.close()
        if not in_time or isinstance(failure, TimeoutError):
            # What was cut off may look complete: a body that ends with the connection.
            raise DeadlineExceeded('the deadline passed before the answer was complete')
        if failure is not None:
            raise failure
        return answer

    def _talk(self, sock: socket.socket, method: str, data: bytes, ends: float, kept: bool) -> Answer | None:
        refusal: OSError | None = None
        size = 0
        try:
            size = sock.send(data)
            if size < len(data):
                sock.sendall(memoryview(data)[size:])
        except TimeoutError:
            raise
        except OSError as error:
            if kept and size == 0:
                return None
            refusal = error  # it may have answered before it stopped reading
        try:
            answer = AnswerReader(sock, self._settings.max_response_bytes, ends).read(method)
        except NoAnswer:
            raise refusal or NoAnswer('the receiver closed the connection without an answer') from None
        answer.reusable = answer.reusable and refusal is None
        return answer

    def _response(
        self, answer: Answer, request: requests.PreparedRequest, target: Target, started: float
    ) -> requests.Response:
        response = requests.Response()
        response.status_code = answer.status
        response.reason = answer.reason or _phrase(answer.status)
        response.url = target.masked_url
        response.request = request
        headers: CaseInsensitiveDict[str] = CaseInsensitiveDict()
        for name, value in answer.headers:
            before = headers.get(name)
            headers[name] = value if before is None else f'{before}, {value}'
        response.headers = headers
        body, cut = answer.body, answer.truncated
        if body and 'Content-Encoding' in headers:
            body, cut = _decoded(body, headers['Content-Encoding'], self._settings.max_response_bytes, cut)
        response.encoding = charset(headers.get('Content-Type', ''))
        response._content = body
        response._content_consumed = True  # type: ignore[attr-defined]
        response.elapsed = timedelta(seconds=time.monotonic() - started)
        response.truncated = cut  # type: ignore[attr-defined]
        return response


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return 'unknown status'


def _complete(method: str, headers: Mapping[str, str], body: bytes | None, authority: Authority) -> dict[str, str]:
    sent = dict(headers)
    if authority.credentials is not None:
        sent['Authorization'] = basic_authorization(*authority.credentials)
    if body:
        sent['Content-Length'] = str(len(body))
    elif method in METHODS_WITH_BODY:
        sent['Content-Length'] = '0'
    return sent


def _shown(method: str, target: Target, sent: dict[str, str], body: bytes | None) -> requests.PreparedRequest:
    """The request as logs may show it."""
    request = requests.PreparedRequest()
    request.method = method
    request.url = target.masked_url
    if target.authority.credentials is not None:
        sent = sent | {'Authorization': MASK}
    request.headers = CaseInsensitiveDict(sent)
    request.body = body
    return request


def read_proxy(url: str) -> Proxy:
    """The egress proxy of the configuration: ``http://[name:password@]host:port``. Raises BadURL."""
    authority = parse(url).authority
    if authority.scheme != 'http':
        raise BadURL('url-scheme', 'the egress proxy is spoken to over http')
    return Proxy.at(authority)


def charset(content_type: str) -> str:
    """The charset to decode a body with: the declared one when it is a sane text codec, else UTF-8."""
    declared = _CHARSET.search(content_type)
    if declared is None:
        return 'utf-8'
    try:
        codec = codecs.lookup(declared[1])
    except LookupError:
        return 'utf-8'
    return codec.name if is_sane(codec) else 'utf-8'


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


def _reason(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        return f'TLS failed: {error.reason or error}'
    return str(error.strerror or error).lower() if error.errno else str(error)


def ignored_environment(environ: Mapping[str, str], home_has: Callable[[str], bool] | None = None) -> list[str]:
    """What in the environment other programs would use for calls, and we do not."""
    found = [name for name in environ if name.upper() in IGNORED_VARIABLES and environ[name]]
    has = home_has or (lambda name: (Path.home() / name).exists())
    return sorted(found) + (['~/.netrc'] if has('.netrc') else [])


def warn_of_environment(environ: Mapping[str, str]) -> None:
    """One warning at start that names what is ignored."""
    names = ignored_environment(environ)
    if names:
        logger.warning(
            'ignored for deliveries (set egress.proxy instead where a proxy is needed): %s', ', '.join(names)
        )
