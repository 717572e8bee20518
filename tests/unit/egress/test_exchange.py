from __future__ import annotations

import http.client
import io
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from wazo_webhookd.egress.exchange import (
    Answer,
    AnswerReader,
    BadAnswer,
    BadRequest,
    NoAnswer,
    write_request,
)

MAX = 1000
NEVER = float('inf')


class Pieces:
    """A socket that hands out given pieces, then the end."""

    def __init__(self, *pieces: bytes) -> None:
        self._pieces = [piece for piece in pieces if piece]

    def recv(self, size: int) -> bytes:
        return self._pieces.pop(0) if self._pieces else b''

    def makefile(self, mode: str) -> io.BytesIO:
        return io.BytesIO(b''.join(self._pieces))


def read(*pieces: bytes, method: str = 'POST') -> Answer:
    sock: Any = Pieces(*pieces)
    return AnswerReader(sock, MAX, NEVER).read(method)


def answer(headers: bytes, body: bytes = b'', status: bytes = b'HTTP/1.1 200 OK') -> bytes:
    return status + b'\r\n' + headers + b'\r\n' + body


@pytest.mark.parametrize(
    ('data', 'body', 'reusable'),
    [
        (answer(b'Content-Length: 2\r\n', b'ok'), b'ok', True),
        (answer(b'content-length:2\r\n', b'ok'), b'ok', True),
        (answer(b'Content-Length: 2, 2\r\n', b'ok'), b'ok', True),
        (answer(b'Content-Length: 2\r\nContent-Length: 2\r\n', b'ok'), b'ok', True),
        (answer(b'Content-Length: 2\r\n', b'okmore'), b'ok', False),
        (answer(b'Content-Length: 2\r\nConnection: close\r\n', b'ok'), b'ok', False),
        (answer(b'Content-Length: 2\r\nConnection: x, Close\r\n', b'ok'), b'ok', False),
        (answer(b'Content-Length: 2\r\n', b'ok', b'HTTP/1.0 200 OK'), b'ok', False),
        (answer(b'Content-Length: 2\r\nConnection: keep-alive\r\n', b'ok', b'HTTP/1.0 200 OK'), b'ok', True),
        (answer(b'Content-Length: 0\r\n'), b'', True),
        (answer(b'', b'until closed'), b'until closed', False),
        (answer(b'Transfer-Encoding: chunked\r\n', b'2\r\nok\r\n0\r\n\r\n'), b'ok', True),
        (answer(b'Transfer-Encoding: chunked\r\n', b'2;x=y\r\nok\r\n1\r\n!\r\n0\r\nTrailer: x\r\n\r\n'), b'ok!', True),
        (answer(b'Transfer-Encoding: CHUNKED\r\nContent-Length: 9\r\n', b'2\r\nok\r\n0\r\n\r\n'), b'ok', False),
        (answer(b'Transfer-Encoding: gzip, chunked\r\n', b'2\r\nok\r\n0\r\n\r\n'), b'ok', True),
        (answer(b'Transfer-Encoding: gzip\r\nContent-Length: 1\r\n', b'all'), b'all', False),
        (answer(b'Content-Length: 2\r\n', b'ok').replace(b'\r\n', b'\n'), b'ok', True),
        (b'HTTP/1.1 100 Continue\r\n\r\n' + answer(b'Content-Length: 2\r\n', b'ok'), b'ok', True),
        (b'HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n' * 3 + answer(b'Content-Length: 2\r\n', b'ok'), b'ok', True),
        (answer(b'', b'', b'HTTP/1.1 204 No Content'), b'', True),
        (answer(b'Content-Length: 5\r\n', b'', b'HTTP/1.1 304 Not Modified'), b'', True),
        (answer(b'Content-Length: 2000\r\n', b'x' * 2000), b'x' * MAX, False),
        (answer(b'', b'x' * 2000), b'x' * MAX, False),
        (answer(b'Transfer-Encoding: chunked\r\n', b'7d0\r\n' + b'x' * 2000), b'x' * MAX, False),
    ],
)
def test_bodies_and_whether_the_connection_can_go_on(data: bytes, body: bytes, reusable: bool) -> None:
    whole, dripping = read(data), read(*(data[place : place + 1] for place in range(len(data))))

    assert (whole.body, whole.reusable) == (body, reusable)
    assert dripping.body == body
    assert whole.truncated == dripping.truncated == (len(body) == MAX)


def test_head_requests_have_no_body() -> None:
    assert read(answer(b'Content-Length: 5\r\n'), method='HEAD').reusable


def test_status_reason_and_headers() -> None:
    given_ = read(
        answer(b'A: 1\r\nb:  two \r\nA: 3\r\nno colon\r\nC: x\r\n y\r\nbad name: z\r\n', b'', b'HTTP/1.1 418 \xfcber')
    )

    assert (given_.status, given_.reason) == (418, 'über')
    assert given_.headers == [('A', '1'), ('b', 'two'), ('A', '3'), ('C', 'x y')]


@pytest.mark.parametrize('status', [b'HTTP/1.1 200', b'HTTP/1.1 200 ', b'HTTP/1.1  200  OK'])
def test_lazy_status_lines_are_read(status: bytes) -> None:
    assert read(answer(b'Content-Length: 0\r\n', b'', status)).status == 200


@pytest.mark.parametrize(
    'data',
    [
        b'HTTP/2 200 OK\r\n\r\n',
        b'HTTP/1.1 20 OK\r\n\r\n',
        b'HTTP/1.1 099 OK\r\n\r\n',
        b'HTTP/1.1 2000 OK\r\n\r\n',
        b'ICY 200 OK\r\n\r\n',
        b'\r\n\r\nHTTP/1.1 200 OK\r\n\r\n',
        b'HTTP/1.1 101 Switching\r\n\r\n',
        answer(b'Content-Length: x\r\n'),
        answer(b'Content-Length: +1\r\n'),
        answer(b'Content-Length: 1\r\nContent-Length: 2\r\n', b'xx'),
        answer(b'Content-Length: 9999999999999999999999\r\n'),
        answer(b'Content-Length: 5\r\n', b'half'),
        answer(b'Transfer-Encoding: chunked\r\n', b'5\r\nhal'),
        answer(b'Transfer-Encoding: chunked\r\n', b'-5\r\nhal'),
        answer(b'Transfer-Encoding: chunked\r\n', b'\r\n\r\n'),
        answer(b'X: ' + b'x' * 20000 + b'\r\n'),
        answer(b'X: y\r\n' * 101),
        b'HTTP/1.1 200 OK\r\nX: y',
    ],
)
def test_answers_that_are_none(data: bytes) -> None:
    with pytest.raises(BadAnswer):
        read(data)


def test_an_end_before_anything_is_told_apart() -> None:
    with pytest.raises(NoAnswer):
        read(b'')


HEADER = st.tuples(st.from_regex(r'X-[A-Za-z0-9]{1,10}', fullmatch=True), st.from_regex(r'[!-~]{0,20}', fullmatch=True))


@example(204, [], b'x', 'chunks', [1])
@example(304, [], b'x', 'length', [1])
@given(
    st.integers(200, 599),
    st.lists(HEADER, max_size=5),
    st.binary(max_size=500),
    st.sampled_from(['length', 'chunks', 'close']),
    st.lists(st.integers(1, 50), min_size=1, max_size=20),
)
def test_well_formed_answers_are_read_as_by_the_standard_library(
    status: int, headers: list[tuple[str, str]], body: bytes, framing: str, cuts: list[int]
) -> None:
    lines = ''.join(f'{name}: {value}\r\n' for name, value in headers).encode()
    if framing == 'length':
        data = answer(lines + b'Content-Length: %d\r\n' % len(body), body, b'HTTP/1.1 %d Reason' % status)
    elif framing == 'chunks':
        pieces, rest = [], body
        for cut in cuts:
            if rest:
                pieces.append(b'%x\r\n%s\r\n' % (len(rest[:cut]), rest[:cut]))
            rest = rest[cut:]
        if rest:
            pieces.append(b'%x\r\n%s\r\n' % (len(rest), rest))
        pieces.append(b'0\r\n\r\n')
        data = answer(lines + b'Transfer-Encoding: chunked\r\n', b''.join(pieces), b'HTTP/1.1 %d Reason' % status)
    else:
        data = answer(lines, body, b'HTTP/1.1 %d Reason' % status)
    places = [sum(cuts[: number + 1]) for number in range(len(cuts))]
    split = [data[a:b] for a, b in zip([0, *places], [*places, None], strict=True)]
    sock: Any = Pieces(data)
    theirs = http.client.HTTPResponse(sock)
    theirs.begin()

    ours = read(*split)

    assert (ours.status, ours.reason) == (theirs.status, theirs.reason)
    assert ours.headers == theirs.getheaders()
    # The standard library reads chunks after statuses that have no body (RFC 9112, section 6.3).
    assert ours.body == (b'' if status in (204, 304) else theirs.read())


@given(st.lists(st.binary(max_size=300), max_size=20))
def test_no_bytes_make_more_than_a_failure(pieces: list[bytes]) -> None:
    try:
        got = read(b'HTTP/1.1 200 OK\r\n', *pieces)
    except BadAnswer:
        return

    assert len(got.body) <= MAX


def test_a_request_is_written_in_one_piece() -> None:
    written = write_request('POST', '/a?b', 'e.com:81', {'A': '1', 'Content-Length': '2'}.items(), b'ok')

    assert written == b'POST /a?b HTTP/1.1\r\nHost: e.com:81\r\nA: 1\r\nContent-Length: 2\r\n\r\nok'


@pytest.mark.parametrize(
    ('method', 'name', 'value'),
    [
        ('PO ST', 'A', '1'),
        ('', 'A', '1'),
        ('POST', 'A:', '1'),
        ('POST', 'A\r\nB', '1'),
        ('POST', 'A', '1\r\nB: 2'),
        ('POST', 'A', '1\n'),
        ('POST', 'A', '\0'),
        ('POST', 'A', '☃'),
    ],
)
def test_what_cannot_be_written_is_not_sent(method: str, name: str, value: str) -> None:
    with pytest.raises(BadRequest):
        write_request(method, '/', 'e.com', [(name, value)], None)
