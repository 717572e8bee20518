"""Reading AMQP frames ahead: the same frames in the same order, however the bytes come and whoever reads."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from amqp.exceptions import UnexpectedFrame
from amqp.transport import TCPTransport
from hypothesis import given
from hypothesis import strategies as st

from wazo_webhookd.bus.ahead import ReadsAhead


def frame(payload: bytes, channel: int = 1, end: int = 0xCE) -> bytes:
    return struct.pack('>BHI', 1, channel, len(payload)) + payload + bytes([end])


@contextmanager
def connected() -> Iterator[tuple[ReadsAhead, socket.socket, list[bytes]]]:
    """A connection whose frames are collected, and the broker's end of it."""
    ours, theirs = socket.socketpair()
    transport = TCPTransport('nowhere')
    transport.sock = ours
    transport._setup_transport()
    connection = ReadsAhead()
    seen: list[bytes] = []
    connection._transport = transport
    connection.on_inbound_frame = lambda read: seen.append(read[2])
    ours.settimeout(2)
    try:
        yield connection, theirs, seen
    finally:
        ours.close()
        theirs.close()


def read_all(connection: Any) -> None:
    """Until there is nothing more."""
    with suppress(TimeoutError):
        while True:
            connection.blocking_read(0)


def test_many_frames_in_one_piece_are_all_read() -> None:
    with connected() as (connection, broker, seen):
        broker.sendall(b''.join(frame(b'%d' % number) for number in range(100)))
        read_all(connection)

        assert seen == [b'%d' % number for number in range(100)]


def test_half_a_frame_waits_for_the_other_half_without_being_lost() -> None:
    with connected() as (connection, broker, seen):
        whole = frame(b'x' * 1000)
        broker.sendall(whole[:500])
        read_all(connection)
        assert seen == []

        broker.sendall(whole[500:] + frame(b'next'))
        read_all(connection)

        assert seen == [b'x' * 1000, b'next']


def test_blocking_read_takes_what_was_read_ahead_first() -> None:
    with connected() as (connection, broker, seen):
        broker.sendall(frame(b'one') + frame(b'two') + frame(b'three')[:5])
        connection.blocking_read(0)
        broker.sendall(frame(b'three')[5:] + frame(b'four'))
        connection.blocking_read()
        connection.blocking_read(1)
        read_all(connection)

        assert seen == [b'one', b'two', b'three', b'four']


def test_frames_left_by_a_blocking_read_are_seen_by_the_next_one_that_does_not_block() -> None:
    with connected() as (connection, broker, seen):
        broker.sendall(frame(b'one') + frame(b'two') + frame(b'three'))
        connection.blocking_read(0)  # all three are in memory
        connection.blocking_read()  # gives them back to the library, takes one
        read_all(connection)  # the socket has nothing more

        assert seen == [b'one', b'two', b'three']


def test_broken_frame_is_an_error() -> None:
    with connected() as (connection, broker, _):
        broker.sendall(frame(b'one', end=0))

        with pytest.raises(UnexpectedFrame):
            connection.blocking_read(0)


def test_closed_connection_is_an_error() -> None:
    with connected() as (connection, broker, _):
        broker.close()

        with pytest.raises(OSError, match='closed'):
            connection.blocking_read(0)


@given(
    st.lists(st.binary(max_size=300), max_size=20),
    st.lists(st.tuples(st.integers(1, 400), st.booleans()), max_size=30),
)
def test_order_and_content_survive_any_cut_and_any_mixture_of_reads(
    payloads: list[bytes], cuts: list[tuple[int, bool]]
) -> None:
    stream = b''.join(map(frame, payloads))
    with connected() as (connection, broker, seen):
        sent = 0
        for size, blocking in cuts:
            broker.sendall(stream[sent : sent + size])
            sent = min(len(stream), sent + size)
            complete = sum(
                1 for number in range(len(payloads)) if len(b''.join(map(frame, payloads[: number + 1]))) <= sent
            )
            if blocking and complete > len(seen):
                connection.blocking_read()
            else:
                read_all(connection)
        broker.sendall(stream[sent:])
        read_all(connection)

        assert seen == payloads
