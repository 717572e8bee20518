"""Receivers without a network: sockets in pairs, and a resolver that knows its answers."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from types import SimpleNamespace
from typing import Any

from wazo_webhookd.egress.addresses import Address
from wazo_webhookd.egress.resolver import LookupFailed

PUBLIC = '93.184.216.34'
OK = b'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'

Script = Callable[[socket.socket], None]


def settings(**changes: Any) -> Any:
    """Part ``egress`` of the configuration with its defaults."""
    role = SimpleNamespace(allow=(), deny=())
    values = {
        'user': role,
        'admin': role,
        'proxy': None,
        'connect_timeout': 5,
        'deadline': 15,
        'max_response_bytes': 16384,
    }
    return SimpleNamespace(**{**values, **changes})


def allowing(*networks: str) -> Any:
    return SimpleNamespace(allow=networks, deny=())


class FakeResolver:
    """Answers per name; a list of lists is one list per look-up; a name it does not know gets PUBLIC."""

    def __init__(self, answers: dict[str, Any] | None = None) -> None:
        self._answers: dict[str, Iterator[list[str]]] = {
            name: iter(given if given and isinstance(given[0], list) else [given] * 1000)
            for name, given in (answers or {}).items()
        }
        self.asked: list[str] = []

    def lookup(self, name: str, timeout: float) -> list[Address]:
        self.asked.append(name)
        found = next(self._answers[name]) if name in self._answers else [PUBLIC]
        if not found:
            raise LookupFailed(f'{name} has no address')
        return [ipaddress.ip_address(address) for address in found]


class _Socket(socket.socket):
    peer = ''

    def getpeername(self) -> Any:
        return self.peer, 80


class FakeNetwork:
    """Connects every address to a thread that follows a script. ``peer``: what sockets say where they lead."""

    def __init__(self, script: Script | bytes = OK, peer: str | None = None) -> None:
        self.script = answering(script) if isinstance(script, bytes) else script
        self.peer = peer
        self.connected: list[str] = []

    def __call__(self, address: Address, port: int, timeout: float) -> socket.socket:
        self.connected.append(str(address))
        ours, theirs = socket.socketpair()
        near = _Socket(fileno=ours.detach())
        near.peer = self.peer or str(address)
        threading.Thread(target=self._serve, args=(theirs,), daemon=True).start()
        return near

    def _serve(self, sock: socket.socket) -> None:
        with sock, contextlib.suppress(OSError):
            self.script(sock)


def read_request(sock: socket.socket) -> bytes:
    """One request as sent, b'' when the other side has closed."""
    data = b''
    while b'\r\n\r\n' not in data:
        piece = sock.recv(65536)
        if not piece:
            return b''
        data += piece
    head = data.partition(b'\r\n\r\n')[0].lower()
    length = int(head.partition(b'content-length:')[2].partition(b'\r\n')[0] or 0)
    while len(data) - len(head) - 4 < length:
        data += sock.recv(65536)
    return data


def answering(*answers: bytes, requests: list[bytes] | None = None) -> Script:
    """A script that gives each request the next answer (the last one for ever)."""

    def script(sock: socket.socket) -> None:
        left = list(answers)
        while request := read_request(sock):
            if requests is not None:
                requests.append(request)
            sock.sendall(left.pop(0) if len(left) > 1 else left[0])

    return script


def flooding(first: bytes, pieces: Iterable[bytes]) -> Script:
    """A script that sends ``first`` and then pieces until nobody listens."""

    def script(sock: socket.socket) -> None:
        read_request(sock)
        sock.sendall(first)
        for piece in pieces:
            sock.sendall(piece)

    return script
