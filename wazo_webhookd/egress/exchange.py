"""One HTTP/1.1 request and its answer on an open connection, within bounds that a hostile receiver cannot stretch.

Of the answer at most so many bytes of head and of body are read. Interim answers are skipped, trailers
too. What came after the end of an answer makes the connection unusable: it would be taken for the answer to
the next request. Total time is not counted here (see watchdog).

Sources: RFC 9112 (messages), RFC 9110 (meaning).
"""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

MAX_HEAD_BYTES: Final = 16384
MAX_HEADERS: Final = 100
MAX_CHUNK_LINE: Final = 1024
QUICK_INTERIM_ANSWERS: Final = 20

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VALUE = re.compile(r'[\t\x20-\x7e\x80-\xff]*')
_STATUS = re.compile(r'HTTP/1\.([01])[ \t]+([1-9][0-9]{2})(?:[ \t]+(.*))?')
_END_OF_HEAD = re.compile(rb'\r?\n\r?\n')
_DIGITS = re.compile(r'[0-9]{1,18}')
_HEX = re.compile(rb'[0-9A-Fa-f]{1,16}')


class BadRequest(ValueError):
    """A method or header that cannot be written."""


class BadAnswer(OSError):
    """The answer is not one of HTTP, or is larger than anybody needs."""


class NoAnswer(BadAnswer):
    """The connection ended before the first byte of an answer."""


@dataclass(slots=True)
class Answer:
    """``truncated``: there was more body than kept. ``reusable``: the connection may carry another request."""

    status: int
    reason: str
    headers: list[tuple[str, str]]
    body: bytes
    truncated: bool
    reusable: bool


def write_request(
    method: str, path_query: str, host: str, headers: Iterable[tuple[str, str]], body: bytes | None
) -> bytes:
    """The bytes of a request. Raises BadRequest."""
    if _TOKEN.fullmatch(method) is None:
        raise BadRequest('not an HTTP method')
    lines = [f'{method} {path_query} HTTP/1.1', f'Host: {host}']
    for name, value in headers:
        if _TOKEN.fullmatch(name) is None or _VALUE.fullmatch(value) is None:
            raise BadRequest(f'header {name!r} has characters that a header cannot have')
        lines.append(f'{name}: {value}')
    lines.append('\r\n')
    head = '\r\n'.join(lines).encode('latin-1')
    return head + body if body else head


class AnswerReader:
    """Reads one answer. ``max_body``: bytes of the body that are kept at most; ``deadline``: monotonic seconds."""

    def __init__(self, sock: socket.socket, max_body: int, deadline: float) -> None:
        self._deadline = deadline
        self._sock = sock
        self._max_body = max_body
        self._data = b''
        self._at = 0  # what of the data is used up
        self._read = 0

    def read(self, method: str) -> Answer:
        """Raises BadAnswer, NoAnswer, TimeoutError, OSError."""
        interim = 0
        while True:
            minor, status, reason, headers = _parse_head(self._head())
            if status >= 200:
                break
            if status == 101:
                raise BadAnswer('the receiver changed the protocol unasked')
            interim += 1
            if interim > QUICK_INTERIM_ANSWERS:
                # Endless ones shall not burn a processor, nor may those that came already outlast the deadline.
                time.sleep(0.05)
                if time.monotonic() > self._deadline:
                    raise TimeoutError
        lower = [(name.lower(), value) for name, value in headers]
        options = {
            option.strip() for name, value in lower if name == 'connection' for option in value.lower().split(',')
        }
        reusable = 'close' not in options and (minor == '1' or 'keep-alive' in options)
        body, complete, framed = self._body(method, status, lower)
        return Answer(
            status=status,
            reason=reason,
            headers=headers,
            body=body,
            truncated=not complete,
            reusable=reusable and complete and framed and self._at == len(self._data),
        )

    def read_tunnel_status(self) -> int:
        """Status of the answer to CONNECT; after a 2xx the connection belongs to the tunnel. Raises as ``read``."""
        status = _parse_head(self._head())[1]
        if 200 <= status < 300 and self._at != len(self._data):
            raise BadAnswer('data before the tunnel was used')
        return status

    def _fill(self) -> bool:
        piece = self._sock.recv(65536)
        self._read += len(piece)
        self._data = self._data[self._at :] + piece if self._at < len(self._data) else piece
        self._at = 0
        return bool(piece)

    def _head(self) -> str:
        start = self._at
        while True:
            end = _END_OF_HEAD.search(self._data, start)
            size = (len(self._data) if end is None else end.start()) - self._at
            if size > MAX_HEAD_BYTES:
                raise BadAnswer(f'the head of the answer is longer than {MAX_HEAD_BYTES} bytes')
            if end is not None:
                head = self._data[self._at : end.start()]
                self._at = end.end()
                return head.decode('latin-1')
            start = max(0, size - 3)  # from here on the data starts with the head
            if not self._fill():
                if self._read == 0:
                    raise NoAnswer('the receiver closed the connection without an answer')
                raise BadAnswer('the receiver closed the connection within the head of its answer')

    def _body(self, method: str, status: int, headers: list[tuple[str, str]]) -> tuple[bytes, bool, bool]:
        """The body as far as kept; whether that is all of it; whether its end was told otherwise than by closing."""
        if method == 'HEAD' or status in (204, 304):
            return b'', True, True
        codings = ','.join(value for name, value in headers if name == 'transfer-encoding').lower()
        lengths = {part.strip() for name, value in headers if name == 'content-length' for part in value.split(',')}
        if codings:
            if codings.rpartition(',')[2].strip() != 'chunked':
                return (*self._until_closed(), False)
            body, complete = self._chunks()
            return body, complete, not lengths  # both told: whom to believe is a matter of taste, so never again
        if not lengths:
            return (*self._until_closed(), False)
        if len(lengths) > 1 or _DIGITS.fullmatch(text := lengths.pop()) is None:
            raise BadAnswer('the answer has a length that is none')
        length = int(text)
        wanted = min(length, self._max_body)
        return self._take(wanted), length == wanted, True

    def _take(self, length: int) -> bytes:
        while len(self._data) - self._at < length:
            if not self._fill():
                raise BadAnswer('the receiver closed the connection within the body of its answer')
        start, self._at = self._at, self._at + length
        return self._data[start : self._at]

    def _until_closed(self) -> tuple[bytes, bool]:
        while len(self._data) - self._at <= self._max_body:
            if not self._fill():
                return self._data[self._at :], True
        return self._data[self._at : self._at + self._max_body], False

    def _chunks(self) -> tuple[bytes, bool]:
        pieces: list[bytes] = []
        room = self._max_body
        ceiling = self._read + 8 * self._max_body + MAX_HEAD_BYTES
        while True:
            size_text = _HEX.match(self._line(MAX_CHUNK_LINE).lstrip(b' \t'))
            if size_text is None:
                raise BadAnswer('the answer has a chunk without a size')
            size = int(size_text[0], 16)
            if size == 0:
                break
            if size > room:
                pieces.append(self._take(room))
                return b''.join(pieces), False
            if self._read > ceiling:
                raise BadAnswer('the answer has more framing than content')
            pieces.append(self._take(size))
            room -= size
            if self._line(2):
                raise BadAnswer('the answer has a chunk that is longer than it says')
        trailer_room = MAX_HEAD_BYTES
        while trailer := self._line(trailer_room):
            trailer_room -= len(trailer)
        return b''.join(pieces), True

    def _line(self, limit: int) -> bytes:
        while (end := self._data.find(b'\n', self._at, self._at + limit + 1)) < 0:
            if len(self._data) - self._at > limit:
                raise BadAnswer('a line of the answer is too long')
            if not self._fill():
                raise BadAnswer('the receiver closed the connection within the body of its answer')
        line, self._at = self._data[self._at : end], end + 1
        return line.removesuffix(b'\r')


def _parse_head(head: str) -> tuple[str, int, str, list[tuple[str, str]]]:
    first, *lines = head.split('\n')
    status = _STATUS.fullmatch(first.removesuffix('\r'))
    if status is None:
        raise BadAnswer('the receiver does not speak HTTP/1')
    if len(lines) > MAX_HEADERS:
        raise BadAnswer(f'the answer has more than {MAX_HEADERS} headers')
    headers: list[tuple[str, str]] = []
    for line in lines:
        if line[:1] in (' ', '\t'):  # a folded line goes on with the one before
            if headers:
                name, value = headers.pop()
                headers.append((name, f'{value} {line.strip()}'))
            continue
        name, colon, value = line.partition(':')
        if colon and _TOKEN.fullmatch(name):
            headers.append((name, value.strip()))
    return status[1], int(status[2]), (status[3] or '').strip(), headers
