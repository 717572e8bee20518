"""A receiver that answers as fast as Python can, in a process of its own, and remembers when each request came.

    python benchmarks/receiver.py [--port N] [--delay SECONDS]

prints its port on the first line. Any request is answered 200. ``GET /_count`` answers how many requests
came since the last ``GET /_reset``; ``GET /_arrivals`` answers ``[[path, unix seconds], …]`` of the first 200,000.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from typing import Any

_OK = b'HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Type: text/plain\r\n\r\nok'
_REMEMBERED = 200_000


class Ledger:
    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.count = 0
        self.arrivals: list[tuple[str, float]] = []


class Receiver(asyncio.Protocol):
    """Just enough HTTP/1.1 for clients that send Content-Length."""

    def __init__(self, ledger: Ledger, delay: float) -> None:
        self.ledger = ledger
        self.delay = delay
        self.buffer = b''
        self.transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while True:
            end = self.buffer.find(b'\r\n\r\n')
            if end < 0:
                return
            head = self.buffer[:end]
            length = 0
            at = head.lower().find(b'content-length:')
            if at >= 0:
                length = int(head[at + 15 :].split(b'\r\n', 1)[0])
            if len(self.buffer) < end + 4 + length:
                return
            self.buffer = self.buffer[end + 4 + length :]
            self.answer(head.split(b' ', 2)[1].decode('latin-1'))

    def answer(self, path: str) -> None:
        if path == '/_count':
            self.send_json(self.ledger.count)
        elif path == '/_arrivals':
            self.send_json(self.ledger.arrivals)
        elif path == '/_reset':
            self.ledger.reset()
            self.send_json(0)
        else:
            self.ledger.count += 1
            if len(self.ledger.arrivals) < _REMEMBERED:
                self.ledger.arrivals.append((path, time.time()))
            if self.delay:
                asyncio.get_running_loop().call_later(self.delay, self.transport.write, _OK)
            else:
                self.transport.write(_OK)

    def send_json(self, value: Any) -> None:
        body = json.dumps(value).encode()
        self.transport.write(b'HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n' % len(body) + body)


async def serve(port: int, delay: float) -> None:
    ledger = Ledger()
    server = await asyncio.get_running_loop().create_server(lambda: Receiver(ledger, delay), '127.0.0.1', port)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--port', type=int, default=0)
    parser.add_argument('--delay', type=float, default=0.0, help='seconds before each answer')
    arguments = parser.parse_args()
    asyncio.run(serve(arguments.port, arguments.delay))


if __name__ == '__main__':
    main()
