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

import os
import socket
import ssl
import time
from collections.abc import Mapping, Sequence
from typing import Protocol

import requests

from wazo_webhookd.domain.endpoint import Authority, BadURL, Target, parse
from wazo_webhookd.egress.addresses import Address
from wazo_webhookd.egress.connection import (
    Connect,
    Connection,
    ConnectTooSlow,
    Opener,
    Proxy,
    TlsFailed,
    connect_directly,
)
from wazo_webhookd.egress.exchange import Answer, AnswerReader, BadRequest, NoAnswer, write_request
from wazo_webhookd.egress.guard import Guard, GuardSettings, Role
from wazo_webhookd.egress.keeper import Keeper
from wazo_webhookd.egress.resolver import LookupFailed, Resolver, SystemResolver
from wazo_webhookd.egress.shown import as_request, as_response, complete_headers
from wazo_webhookd.egress.tls import TlsContexts, Verify
from wazo_webhookd.egress.watchdog import Watchdog


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
        sent = complete_headers(method, headers, body, authority)
        request = as_request(method, target, sent, body)
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
                    return self._response(answer, request, started)
            addresses, route = self._look_up(authority, role, connect_by)
            connection = self._opener.open(authority, addresses, route, key, context, ends, connect_by)
            answer = self._exchange(connection, method, data, ends, kept=False)
            assert answer is not None
            return self._response(answer, request, started)
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

    def _response(self, answer: Answer, request: requests.PreparedRequest, started: float) -> requests.Response:
        return as_response(answer, request, self._settings.max_response_bytes, time.monotonic() - started)


def read_proxy(url: str) -> Proxy:
    """The egress proxy of the configuration: ``http://[name:password@]host:port``. Raises BadURL."""
    authority = parse(url).authority
    if authority.scheme != 'http':
        raise BadURL('url-scheme', 'the egress proxy is spoken to over http')
    return Proxy.at(authority)


def _reason(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        return f'TLS failed: {error.reason or error}'
    return str(error.strerror or error).lower() if error.errno else str(error)
