"""A server that answers every connection with the same bytes and hangs up, whatever is asked."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator


@contextlib.contextmanager
def rude_server(port: int, answer: bytes, hold_seconds: float = 0) -> Iterator[None]:
    """``hold_seconds``: how long it keeps the connection open after its answer."""
    listening = socket.create_server(('127.0.0.1', port), backlog=64)

    def talk(connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            connection.recv(65536)
            connection.sendall(answer)
            time.sleep(hold_seconds)

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=talk, args=(listening.accept()[0],), daemon=True).start()

    threading.Thread(target=serve, daemon=True, name='rude').start()
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            listening.shutdown(socket.SHUT_RDWR)
        listening.close()
