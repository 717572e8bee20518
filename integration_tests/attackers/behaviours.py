"""What attackers do with a connection."""

from __future__ import annotations

import gzip
import itertools
import socket
import struct
from collections.abc import Iterable

from integration_tests.attackers.server import Attacker, Behaviour

OK = b'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'
MEBIBYTE = 1024 * 1024


def honest(sock: socket.socket, attacker: Attacker) -> None:
    while attacker.read(sock):
        sock.sendall(OK)


def answers(*given: bytes) -> Behaviour:
    """One answer per request, the last one for ever."""

    def behave(sock: socket.socket, attacker: Attacker) -> None:
        left = list(given)
        while attacker.read(sock):
            sock.sendall(left.pop(0) if len(left) > 1 else left[0])

    return behave


def silent(sock: socket.socket, attacker: Attacker) -> None:
    attacker.over.wait()


def deaf(sock: socket.socket, attacker: Attacker) -> None:
    """Never reads, so that a large request fills all buffers."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    attacker.over.wait()


def drips(first: bytes, drop: bytes, seconds: float = 0.05) -> Behaviour:
    """Sends ``first``, then ``drop`` byte by byte, over and over."""

    def behave(sock: socket.socket, attacker: Attacker) -> None:
        attacker.read(sock)
        sock.sendall(first)
        for number in itertools.cycle(drop):
            if attacker.wait(seconds):
                return
            sock.sendall(bytes([number]))

    return behave


def drips_within_handshake(sock: socket.socket, attacker: Attacker) -> None:
    """Says that a TLS record of 16 KiB follows and sends it byte by byte."""
    sock.recv(65536)
    sock.sendall(b'\x16\x03\x03\x40\x00\x02\x00\x3f\xfc')
    while not attacker.wait(0.05):
        sock.sendall(b'\x00')


def floods(first: bytes, pieces: Iterable[bytes]) -> Behaviour:
    def behave(sock: socket.socket, attacker: Attacker) -> None:
        attacker.read(sock)
        sock.sendall(first)
        for piece in pieces:
            sock.sendall(piece)

    return behave


def sends_and_closes(data: bytes) -> Behaviour:
    return floods(data, [])


def resets(sock: socket.socket, attacker: Attacker) -> None:
    attacker.read(sock)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))


def answers_once_then(second: Behaviour) -> Behaviour:
    def behave(sock: socket.socket, attacker: Attacker) -> None:
        attacker.read(sock)
        sock.sendall(OK)
        second(sock, attacker)

    return behave


def adds_an_answer(seconds: float) -> Behaviour:
    """After each answer, another one that nobody asked for."""

    def behave(sock: socket.socket, attacker: Attacker) -> None:
        while attacker.read(sock):
            sock.sendall(OK)
            attacker.wait(seconds)
            sock.sendall(b'HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n')

    return behave


def proxies(sock: socket.socket, attacker: Attacker) -> None:
    """An honest CONNECT proxy, however named the target is."""
    line = attacker.read(sock).split(b'\r\n')[0].decode()
    host, _, port = line.split(' ')[1].rpartition(':')
    with socket.create_connection((host, int(port))) as far:
        sock.sendall(b'HTTP/1.1 200 Connection established\r\n\r\n')
        sock.settimeout(0.02)
        far.settimeout(0.02)
        while not attacker.over.is_set():
            for one, other in ((sock, far), (far, sock)):
                try:
                    data = one.recv(65536)
                except TimeoutError:
                    continue
                if not data:
                    return
                other.sendall(data)


def gzip_bomb() -> bytes:
    """An answer of some kilobytes that unpacks to ten mebibytes."""
    body = gzip.compress(b'\0' * 10 * MEBIBYTE)
    return b'HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%s' % (len(body), body)
