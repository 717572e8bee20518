"""Connections that lead only to judged addresses, and how they are opened.

OSError
├── ConnectFailed      nobody answered at the address, or the egress proxy refused
├── ConnectTooSlow     no connection within the time allowed for connecting
└── TlsFailed          no trusted TLS session
"""

from __future__ import annotations

import base64
import contextlib
import ipaddress
import select
import socket
import ssl
import time
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from wazo_webhookd.domain.endpoint import Authority
from wazo_webhookd.egress.addresses import Address
from wazo_webhookd.egress.exchange import AnswerReader, write_request
from wazo_webhookd.egress.guard import Guard, Role, plain
from wazo_webhookd.egress.watchdog import Watchdog

MAX_TRIED_ADDRESSES: Final = 8


class ConnectFailed(OSError):
    """No connection."""


class ConnectTooSlow(OSError):
    """No connection in time."""


class TlsFailed(OSError):
    """No trusted TLS session."""


Connect = Callable[[Address, int, float], socket.socket]
"""Opens a TCP connection to (address, port) within seconds; raises OSError."""

Key = tuple[Role, str, object]
"""What a kept connection may serve: role, origin, way of checking certificates."""


class Proxy(NamedTuple):
    """The egress proxy: where it is, and the header that it wants."""

    authority: Authority
    authorization: str | None

    @classmethod
    def at(cls, authority: Authority) -> Proxy:
        if authority.credentials is None:
            return cls(authority, None)
        return cls(authority, basic_authorization(*authority.credentials))


def basic_authorization(name: str, password: str) -> str:
    """Value of an Authorization header (RFC 7617); latin-1 as long as that can write it, as receivers are used to."""
    text = f'{name}:{password}'
    try:
        raw = text.encode('latin-1')
    except UnicodeEncodeError:
        raw = text.encode('utf-8', errors='replace')
    return f'Basic {base64.b64encode(raw).decode("ascii")}'


class Connection:
    """An open connection. ``address`` is the judged address that it leads to."""

    __slots__ = ('address', 'key', 'opened_at', 'sock', 'used_at')

    def __init__(self, sock: socket.socket, address: Address, key: Key) -> None:
        self.sock = sock
        self.address = address
        self.key = key
        self.opened_at = self.used_at = time.monotonic()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.sock.close()

    def is_quiet(self) -> bool:
        """Nothing to read: neither the end nor an answer that nobody asked for. Checked before every reuse."""
        if isinstance(self.sock, ssl.SSLSocket) and self.sock.pending():
            return False
        poll = select.poll()
        poll.register(self.sock, select.POLLIN)
        return not poll.poll(0)


def connect_directly(address: Address, port: int, timeout: float) -> socket.socket:
    place = plain(address)
    sock = socket.socket(socket.AF_INET if place.version == 4 else socket.AF_INET6, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.settimeout(timeout)
        sock.connect((str(place), port))
    except BaseException:
        sock.close()
        raise
    return sock


class Opener:
    """Opens connections; holds what that needs."""

    def __init__(self, guard: Guard, watchdog: Watchdog, connect: Connect, proxy: Proxy | None) -> None:
        self._guard = guard
        self._watchdog = watchdog
        self._connect = connect
        self._proxy = proxy

    def open(
        self,
        authority: Authority,
        addresses: Sequence[Address],
        route: Sequence[Address],
        key: Key,
        context: ssl.SSLContext | None,
        deadline: float,
        connect_by: float,
    ) -> Connection:
        """Connect to one of the judged ``addresses`` (through the proxy at ``route``, when there is one).

        Times are monotonic seconds. Raises ConnectFailed, ConnectTooSlow, TlsFailed, EgressRefused.
        """
        role = key[0]
        if self._proxy is None:
            sock, address = self._try_each(addresses, authority.port, role, connect_by)
        else:
            sock, _ = self._try_each(route, self._proxy.authority.port, role, connect_by)
            address = addresses[0]
        try:
            sock.settimeout(max(0.001, deadline - time.monotonic()))
            if self._proxy is not None:
                self._tunnel(self._proxy, sock, address, authority.port, deadline)
            if context is not None:
                sock = self._secure(sock, authority.host, context, deadline)
        except BaseException:
            sock.close()
            raise
        return Connection(sock, address, key)

    def _try_each(
        self, addresses: Sequence[Address], port: int, role: Role, connect_by: float
    ) -> tuple[socket.socket, Address]:
        problem: OSError = ConnectTooSlow('no connection in time')
        tried = addresses[:MAX_TRIED_ADDRESSES]
        for place, address in enumerate(tried):
            left = connect_by - time.monotonic()
            if left <= 0:
                break
            try:
                sock = self._connect(address, port, left / (len(tried) - place))
            except TimeoutError:
                problem = ConnectTooSlow('no connection in time')
                continue
            except OSError as error:
                problem = ConnectFailed((error.strerror or 'no connection').lower())
                continue
            try:
                peer = ipaddress.ip_address(sock.getpeername()[0].partition('%')[0])
                self._guard.judge_peer(peer, address, role)
            except OSError as error:
                sock.close()
                problem = ConnectFailed((error.strerror or 'no connection').lower())
                continue
            except BaseException:
                sock.close()
                raise
            return sock, address
        raise problem

    def _tunnel(self, proxy: Proxy, sock: socket.socket, address: Address, port: int, deadline: float) -> None:
        """Ask the proxy for the judged address, not for the name: the proxy must not look it up once more."""
        place = plain(address)
        target = f'[{place}]:{port}' if place.version == 6 else f'{place}:{port}'
        headers = [('Proxy-Authorization', proxy.authorization)] if proxy.authorization is not None else []
        token = self._watchdog.watch(sock, deadline)
        failure: OSError | None = None
        try:
            sock.sendall(write_request('CONNECT', target, target, headers, None))
            status = AnswerReader(sock, 0, deadline).read_tunnel_status()
        except OSError as error:
            failure = error
        finally:
            in_time = self._watchdog.release(token)
        if not in_time or isinstance(failure, TimeoutError):
            raise ConnectTooSlow('no answer of the egress proxy in time')
        if failure is not None:
            raise ConnectFailed(f'the egress proxy: {failure.strerror or failure}')
        if not 200 <= status < 300:
            raise ConnectFailed(f'the egress proxy answered {status}')

    def _secure(self, sock: socket.socket, host: str, context: ssl.SSLContext, deadline: float) -> ssl.SSLSocket:
        secure = context.wrap_socket(sock, server_hostname=host, do_handshake_on_connect=False)
        token = self._watchdog.watch(secure, deadline)
        try:
            secure.do_handshake()
        except TimeoutError:
            secure.close()
            raise ConnectTooSlow('no TLS session in time') from None
        except (OSError, ValueError) as error:
            secure.close()
            if not self._watchdog.release(token):
                raise ConnectTooSlow('no TLS session in time') from None
            if isinstance(error, ssl.SSLCertVerificationError):
                raise TlsFailed(f'certificate not trusted: {error.verify_message}') from None
            reason = error.reason if isinstance(error, ssl.SSLError) else getattr(error, 'strerror', None)
            raise TlsFailed(f'no TLS session: {reason or error}') from None
        if not self._watchdog.release(token):
            secure.close()
            raise ConnectTooSlow('no TLS session in time')
        return secure
