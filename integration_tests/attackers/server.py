"""A server whose every connection is handled by a behaviour, on a thread of its own."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable
from types import TracebackType

Behaviour = Callable[[socket.socket, 'Attacker'], None]


class Attacker:
    """``with Attacker(behaviour) as attacker: attacker.url``.

    ``requests`` are those that came, ``connections`` is how many were accepted.
    """

    def __init__(self, behaviour: Behaviour, tls: ssl.SSLContext | None = None) -> None:
        self._behaviour = behaviour
        self._tls = tls
        self._listener = socket.create_server(('127.0.0.1', 0), backlog=256)
        self._open: set[socket.socket] = set()
        self.port: int = self._listener.getsockname()[1]
        self.url = f'{"https" if tls else "http"}://127.0.0.1:{self.port}/hook'
        self.over = threading.Event()
        self.requests: list[bytes] = []
        self.connections = 0

    def __enter__(self) -> Attacker:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.over.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for sock in list(self._open):
            with contextlib.suppress(OSError):
                socket.socket.shutdown(sock, socket.SHUT_RDWR)

    def wait(self, seconds: float) -> bool:
        """Sleep; True when it is over."""
        return self.over.wait(seconds)

    def read(self, sock: socket.socket) -> bytes:
        """One request, remembered; b'' when the client has closed."""
        data = b''
        while b'\r\n\r\n' not in data:
            piece = sock.recv(65536)
            if not piece:
                return b''
            data += piece
        head, _, body = data.partition(b'\r\n\r\n')
        length = int(head.lower().partition(b'content-length:')[2].partition(b'\r\n')[0] or 0)
        while len(body) < length:
            body += sock.recv(65536)
        self.requests.append(head + b'\r\n\r\n' + body)
        return self.requests[-1]

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._handle, args=(sock,), daemon=True).start()

    def _handle(self, sock: socket.socket) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            if self._tls is not None:
                sock = self._tls.wrap_socket(sock, server_side=True)
            self._open.add(sock)
            self._behaviour(sock, self)
        except (OSError, ValueError):
            pass
        finally:
            self._open.discard(sock)
            sock.close()
