"""Reads many AMQP frames with one system call where the library makes nine for each message.

Only non-blocking reads (``timeout`` 0) read ahead, because whoever makes them goes on until nothing is left. All other
reads take what was read ahead first and then exactly one frame, so that nothing waits unseen in memory while an event
loop watches the socket.
"""

from __future__ import annotations

import struct
from typing import Any, Final

import amqp
from amqp.exceptions import UnexpectedFrame
from amqp.transport import TCPTransport

AHEAD_BYTES: Final = 32 * 1024
_HEADER: Final = struct.Struct('>BHI')  # type, channel, size of the payload (AMQP 0-9-1, 4.2.3)
_FRAME_END: Final = 0xCE


class ReadsAhead(amqp.Connection):  # type: ignore[misc]  # the library has no types
    """An ``amqp.Connection`` that does so over plain TCP; over TLS it is the library's own."""

    _ahead = b''
    _at = 0

    def blocking_read(self, timeout: float | None = None) -> Any:
        """Read one frame and act on it. Raises TimeoutError when none is there in time."""
        transport = self.transport
        if timeout == 0 and isinstance(transport, TCPTransport):
            return self.on_inbound_frame(self._frame_ahead(transport))
        if self._ahead:
            transport._read_buffer = self._ahead[self._at :] + transport._read_buffer
            self._ahead, self._at = b'', 0
        return super().blocking_read(timeout)

    def _frame_ahead(self, transport: Any) -> tuple[int, int, bytes]:
        if transport._read_buffer:  # left by a blocking read
            self._ahead = self._ahead[self._at :] + transport._read_buffer
            self._at, transport._read_buffer = 0, b''
        while True:
            ahead, at = self._ahead, self._at
            there = len(ahead) - at
            if there >= _HEADER.size:
                kind, channel, size = _HEADER.unpack_from(ahead, at)
                if there >= size + 8:
                    end = at + 7 + size
                    if ahead[end] != _FRAME_END:
                        raise UnexpectedFrame(f'Received frame_end {ahead[end]:#04x} while expecting 0xce')
                    self._ahead, self._at = (ahead, end + 1) if end + 1 < len(ahead) else (b'', 0)
                    return kind, channel, ahead[at + 7 : end]
            self._read_more(transport)

    def _read_more(self, transport: Any) -> None:
        with transport.having_timeout(0):
            try:
                more = transport.sock.recv(AHEAD_BYTES)
            except BlockingIOError:
                raise TimeoutError from None
            except OSError:
                transport.connected = False
                raise
        if not more:
            transport.connected = False
            raise OSError('Server unexpectedly closed connection')
        self._ahead = self._ahead[self._at :] + more
        self._at = 0
