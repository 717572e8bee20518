"""Endpoints of every temper, each on a loopback address of its own: hanging, dripping, refusing, slow, healthy."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from typing import Any, Literal

from integration_tests.support.ports import free_port

Temper = Literal['healthy', 'hanging', 'dripping', 'slow']

DRIP_SECONDS = 1.0
SLOW_SECONDS = 2.0


class Crowd:
    """``url(temper, number)`` of any of them; ``arrivals`` are ``(temper, number of the event, Unix seconds)``.

    Nobody listens at ``refusing`` addresses. Events carry their number as ``data.n``.
    """

    _NETS: dict[str, int] = {'healthy': 1, 'hanging': 2, 'dripping': 3, 'slow': 4, 'refusing': 5}

    def __init__(self, **counts: int) -> None:
        self.port = free_port()
        self.arrivals: list[tuple[str, int, float]] = []
        self.most_at_once: dict[str, int] = {}
        self._at_once: dict[str, int] = {}
        self._counts = counts
        self._loop = asyncio.new_event_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._servers: list[asyncio.Server] = []
        self._transports: set[asyncio.Transport] = set()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True, name='crowd')

    def __enter__(self) -> Crowd:
        self._thread.start()
        for temper, count in self._counts.items():
            for number in range(count if temper != 'refusing' else 0):
                asyncio.run_coroutine_threadsafe(self._listen(temper, number), self._loop).result(10)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._shut(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def address(self, temper: str, number: int = 0) -> str:
        return f'127.0.{self._NETS[temper]}.{number + 1}'

    def url(self, temper: str, number: int = 0) -> str:
        return f'http://{self.address(temper, number)}:{self.port}/{temper}'

    def urls(self) -> list[str]:
        return [self.url(temper, number) for temper, count in self._counts.items() for number in range(count)]

    def delays(self, temper: str, published: dict[int, float]) -> list[float]:
        """Seconds from publication (by number of the event) to the request, for those that arrived."""
        return [
            at - published[number] for kind, number, at in list(self.arrivals) if kind == temper and number in published
        ]

    async def _listen(self, temper: str, number: int) -> None:
        self._servers.append(
            await self._loop.create_server(
                lambda: _Member(self, temper), self.address(temper, number), self.port, reuse_address=True, backlog=512
            )
        )

    async def _shut(self) -> None:
        for server in self._servers:
            server.close()
        for task in self._tasks:
            task.cancel()
        for transport in self._transports:
            transport.abort()
        await asyncio.sleep(0.05)  # for the loop to close what was cut

    def _keep(self, task: asyncio.Task[None]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class _Member(asyncio.Protocol):
    def __init__(self, crowd: Crowd, temper: str) -> None:
        self.crowd, self.temper, self.buffer = crowd, temper, b''
        self.transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.crowd._transports.add(transport)

    def connection_lost(self, _: Exception | None) -> None:
        self.crowd._transports.discard(self.transport)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head, blank, rest = self.buffer.partition(b'\r\n\r\n')
        if not blank:
            return
        length = next(
            (int(line[15:]) for line in head.lower().split(b'\r\n') if line.startswith(b'content-length:')), 0
        )
        if len(rest) < length:
            return
        self.buffer = rest[length:]
        number = int(json.loads(rest[:length])['n'])
        self.crowd.arrivals.append((self.temper, number, time.time()))
        if self.temper == 'healthy':
            self.transport.write(b'HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n')
        elif self.temper == 'dripping':
            self.crowd._keep(self.crowd._loop.create_task(self._drip()))
        elif self.temper == 'slow':
            self.crowd._keep(self.crowd._loop.create_task(self._answer_slowly()))

    async def _drip(self) -> None:
        for byte in b'HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n' + b'x' * 1000:
            if self.transport.is_closing():
                return
            self.transport.write(bytes([byte]))
            await asyncio.sleep(DRIP_SECONDS)

    async def _answer_slowly(self) -> None:
        crowd = self.crowd
        now = crowd._at_once['slow'] = crowd._at_once.get('slow', 0) + 1
        crowd.most_at_once['slow'] = max(now, crowd.most_at_once.get('slow', 0))
        await asyncio.sleep(SLOW_SECONDS)
        crowd._at_once['slow'] -= 1
        if not self.transport.is_closing():
            self.transport.write(b'HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n')
