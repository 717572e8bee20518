"""Serves the REST application with cheroot, and lets no slow or huge client keep its threads."""

from __future__ import annotations

import contextlib
import logging
import socket
import ssl
import threading
import time
from typing import Any, Final, Protocol

from cheroot import wsgi
from cheroot.server import HTTPConnection, HTTPRequest
from cheroot.ssl.builtin import BuiltinSSLAdapter

from .exceptions import ConfigError

logger = logging.getLogger(__name__)

ACCEPT_FAILED_EXIT_CODE: Final = 71
HEADER_BYTES: Final = 64 * 1024
BODY_BYTES: Final = 32 * 1024 * 1024  # the application has a lower limit, and words for it
SOCKET_SECONDS: Final = 10
REQUEST_SECONDS: Final = 60
SHUTDOWN_SECONDS: Final = 5
BACKLOG: Final = 128
KEPT_CONNECTIONS: Final = 500


class Settings(Protocol):
    """The part of ``config.rest_api`` that the server reads."""

    @property
    def listen(self) -> str: ...
    @property
    def port(self) -> int: ...
    @property
    def max_threads(self) -> int: ...
    @property
    def certificate(self) -> str | None: ...
    @property
    def private_key(self) -> str | None: ...


class AcceptFailed(Exception):
    """The HTTP server cannot accept connections any more; the daemon ends with exit code 71."""


def check_address(settings: Settings) -> None:
    """Raises OSError when somebody else listens there already: better known before anything is started."""
    for family, kind, protocol, _, address in socket.getaddrinfo(
        settings.listen or None, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[:1]:
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)


class HttpServer:
    """``prepare`` binds (OSError says why it cannot), ``serve`` blocks until ``stop``."""

    def __init__(self, settings: Settings, application: Any) -> None:
        """Raises ConfigError when certificate or key cannot be used."""
        self._server = _Server(
            (settings.listen, settings.port),
            application,
            numthreads=settings.max_threads,
            max=settings.max_threads,
            server_name='wazo-webhookd',
            request_queue_size=BACKLOG,
            timeout=SOCKET_SECONDS,
            shutdown_timeout=SHUTDOWN_SECONDS,
        )
        if settings.certificate and settings.private_key:
            logger.warning('TLS in the daemon is deprecated (rest_api.certificate): let nginx do it')
            self._server.ssl_adapter = _tls(settings.certificate, settings.private_key)
        elif settings.certificate or settings.private_key:
            logger.warning('rest_api.certificate and rest_api.private_key need each other: this is plain HTTP')

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens, once prepared."""
        host, port = self._server.bind_addr
        return host, port

    @property
    def beat(self) -> float:
        """When the loop that accepts connections last came round (``time.monotonic()``)."""
        return self._server.beat

    def prepare(self) -> None:
        try:
            self._server.prepare()
        except OSError as error:
            raise self._server.bind_error or error from None  # its own says it at length, without errno
        logger.info('Listening on %s port %d', *self.address)

    def serve(self) -> None:
        """Raises AcceptFailed."""
        self._server.serve()
        if self._server.accept_error is not None:
            raise AcceptFailed(str(self._server.accept_error))

    def run(self) -> None:
        self.prepare()
        self.serve()

    def stop(self) -> None:
        """Stop accepting, let requests under way finish for some seconds. May be called from any thread."""
        self._server.stop()


class _Request(HTTPRequest):
    """Leaves no doubt where the next request on a connection begins."""

    def read_request_headers(self) -> bool:
        """What is left of a chunked body, or of one with a strange length, must not be taken for another request."""
        if not super().read_request_headers():  # type: ignore[no-untyped-call]
            return False
        if not self.inheaders.get(b'Content-Length', b'0').isdigit():
            self.simple_response('400 Bad Request', 'Malformed Content-Length Header.')
            return False
        if self.chunked_read:
            self.close_connection = True
        return True


class _Connection(HTTPConnection):
    """Knows since when it has kept a thread."""

    RequestHandlerClass = _Request
    busy_since: float | None = None
    greeted = False

    def communicate(self) -> bool:
        self.busy_since = time.monotonic()
        self.server.busy.add(self)
        try:
            keep: bool = self._greet() and super().communicate()  # type: ignore[no-untyped-call]
            return keep
        finally:
            self.server.busy.discard(self)
            self.busy_since = None

    def _greet(self) -> bool:
        """Shake hands if this is TLS: here and not while accepting, where one client would stop all others."""
        if not self.greeted and isinstance(self.socket, ssl.SSLSocket):
            try:
                self.socket.do_handshake()
            except OSError as error:
                logger.debug('No TLS connection with %s: %s', self.remote_addr, error)
                return False
        self.greeted = True
        return True


class _TLS(BuiltinSSLAdapter):
    def wrap(self, sock: socket.socket) -> tuple[ssl.SSLSocket, dict[str, str]]:
        wrapped = self.context.wrap_socket(sock, do_handshake_on_connect=False, server_side=True)
        return wrapped, {'wsgi.url_scheme': 'https', 'HTTPS': 'on'}


def _tls(certificate: str, private_key: str) -> _TLS:
    for key, path in (('certificate', certificate), ('private_key', private_key)):
        try:
            with open(path, 'rb'):
                pass
        except OSError as error:
            raise ConfigError([f'rest_api.{key}: cannot read {path}: {error.strerror}']) from error
    try:
        return _TLS(certificate, private_key)
    except OSError as error:  # ssl.SSLError is one
        fault = f'rest_api.certificate, rest_api.private_key: no pair of PEM files: {error}'
        raise ConfigError([fault]) from error


class _Server(wsgi.Server):
    version = 'wazo-webhookd'
    ConnectionClass = _Connection
    max_request_header_size = HEADER_BYTES
    max_request_body_size = BODY_BYTES
    keep_alive_conn_limit = KEPT_CONNECTIONS

    _connections: Any
    _serve_unservicable: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.busy: set[_Connection] = set()
        self.accept_error: OSError | None = None
        self.bind_error: OSError | None = None
        self.beat = time.monotonic()

    def serve(self) -> None:
        """As cheroot's own, but an accept loop that fails is the end instead of a loop of failures."""
        threading.Thread(target=self._serve_unservicable, name='http-refuse', daemon=True).start()
        threading.Thread(target=self._watch, name='http-watch', daemon=True).start()
        expire = self._connections._expire

        def expire_and_beat(threshold: float) -> None:
            self.beat = time.monotonic()
            expire(threshold)

        self._connections._expire = expire_and_beat  # its loop calls this every half second
        while self.ready:
            try:
                self._connections.run(self.expiration_interval)
            except OSError as error:
                if self.ready:
                    logger.critical('The HTTP server cannot accept connections: %s', error)
                    self.accept_error = error
                    self.stop()

    def bind_socket(self, socket_: socket.socket, bind_addr: Any) -> socket.socket:  # type: ignore[override]  # ours knows itself
        try:
            socket_.bind(bind_addr)
        except OSError as error:
            self.bind_error = error
            socket_.close()
            raise
        return socket_

    def process_conn(self, conn: _Connection) -> None:
        """A new connection gets a thread when it has something to say, not before."""
        if conn.last_used is not None:
            super().process_conn(conn)
        elif self._connections.can_add_keepalive_connection:
            self._connections.put(conn)
        else:
            conn.close()

    def error_log(self, msg: str = '', level: int = logging.INFO, traceback: bool = False) -> None:
        """cheroot's own messages; what clients do wrong is no concern of an operator."""
        logger.log(logging.ERROR if level >= logging.ERROR else logging.DEBUG, '%s', msg, exc_info=traceback)

    def _watch(self) -> None:
        """Cut the connections that keep a thread for too long: one byte at a time is a request too."""
        while self.ready:
            time.sleep(1)
            limit = time.monotonic() - REQUEST_SECONDS
            for connection in list(self.busy):
                since = connection.busy_since
                if since is not None and since < limit:
                    logger.info('A client took more than %d s for one request: cut off', REQUEST_SECONDS)
                    with contextlib.suppress(OSError):
                        connection.socket.shutdown(socket.SHUT_RDWR)
