"""A fast HTTP receiver that records every request and answers as told, per path."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

from integration_tests.support.until import until


@dataclass(frozen=True)
class Received:
    """One request; header names in lower case, ``at`` is Unix seconds when it was complete, ``peer`` a port."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes
    at: float
    peer: int = 0

    @property
    def delivery(self) -> str:
        return self.headers.get('webhook-id', '')

    @property
    def text(self) -> str:
        return self.body.decode()


@dataclass
class Answer:
    """What to say to one request. ``status`` 0 closes the connection without a word."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b''
    delay: float = 0.0


class Receiver:
    """Listens on 127.0.0.1; every path answers 200 at once unless told otherwise."""

    def __init__(self, port: int = 0) -> None:
        self.port = port
        self.requests: list[Received] = []
        self._always: dict[str, Answer] = {}
        self._next: dict[str, deque[Answer]] = {}
        self._loop = asyncio.new_event_loop()
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Transport] = set()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True, name='receiver')
        self._thread.start()

    def __enter__(self) -> Receiver:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> None:
        """Listen (again, on the same port)."""
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(10)

    def stop(self) -> None:
        """Refuse connections from now on, and cut those that are open."""
        asyncio.run_coroutine_threadsafe(self._shut(), self._loop).result(10)

    def close(self) -> None:
        self.stop()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def url(self, path: str = '/') -> str:
        return f'http://127.0.0.1:{self.port}{path}'

    def answer(self, path: str, *answers: Answer, always: Answer | None = None) -> None:
        """The next requests of this path get these answers in turn, later ones ``always``."""
        if answers:
            self._next.setdefault(path, deque()).extend(answers)
        if always is not None:
            self._always[path] = always

    def forget(self) -> None:
        """Forget requests and answers."""
        self.requests.clear()
        self._always.clear()
        self._next.clear()

    def at(self, path: str) -> list[Received]:
        """The requests of one path, in order of arrival."""
        return [item for item in list(self.requests) if item.path == path]

    def deliveries(self, path: str | None = None) -> list[str]:
        """The ``webhook-id`` of every request, in order of arrival."""
        return [item.delivery for item in list(self.requests) if path is None or item.path == path]

    def wait_for(
        self, number: int, path: str | None = None, seconds: float = 20, distinct: bool = False
    ) -> list[Received]:
        """Wait until so many requests (or so many different deliveries) have arrived; all of them so far."""

        def arrived() -> list[Received] | None:
            seen = [item for item in list(self.requests) if path is None or item.path == path]
            count = len({item.delivery for item in seen}) if distinct else len(seen)
            return seen if count >= number else None

        what = f'{number} {"deliveries" if distinct else "requests"} at {path or "the receiver"}'
        try:
            found = until(arrived, seconds, what=what)
        except AssertionError:
            raise AssertionError(f'{what} not within {seconds:g} s: {len(self.deliveries(path))} arrived') from None
        assert found is not None
        return found

    async def _listen(self) -> None:
        self._server = await self._loop.create_server(
            lambda: _Connection(self), '127.0.0.1', self.port, reuse_address=True, backlog=1024
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def _shut(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for transport in tuple(self._connections):
            transport.abort()

    def _answer_to(self, path: str) -> Answer:
        waiting = self._next.get(path)
        return waiting.popleft() if waiting else self._always.get(path, _OK)


_OK = Answer()


class _Connection(asyncio.Protocol):
    def __init__(self, receiver: Receiver) -> None:
        self.receiver = receiver
        self.buffer = b''
        self.busy = False
        self.transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.receiver._connections.add(transport)

    def connection_lost(self, _: Exception | None) -> None:
        self.receiver._connections.discard(self.transport)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        if not self.busy:
            self._read()

    def _read(self) -> None:
        end = self.buffer.find(b'\r\n\r\n')
        if end < 0:
            return
        first, *lines = self.buffer[:end].decode('latin-1').split('\r\n')
        headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(':') for line in lines)}
        length = int(headers.get('content-length', 0))
        if len(self.buffer) < end + 4 + length:
            return
        body = self.buffer[end + 4 : end + 4 + length]
        self.buffer = self.buffer[end + 4 + length :]
        method, target, *_ = first.split(' ')
        parts = urlsplit(target)
        peer = self.transport.get_extra_info('peername')[1]
        self.receiver.requests.append(Received(method, parts.path, parts.query, headers, body, time.time(), peer))
        answer = self.receiver._answer_to(parts.path)
        if answer.delay:
            self.busy = True
            self.receiver._loop.call_later(answer.delay, self._say, answer, method)
        else:
            self._say(answer, method)

    def _say(self, answer: Answer, method: str) -> None:
        self.busy = False
        if self.transport.is_closing():
            return
        if answer.status == 0:
            self.transport.abort()
            return
        headers = {'Content-Length': str(len(answer.body)), **answer.headers}
        head = ''.join(f'{name}: {value}\r\n' for name, value in headers.items())
        body = b'' if method == 'HEAD' else answer.body
        first = f'HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}'
        self.transport.write(f'{first}\r\n{head}\r\n'.encode('latin-1') + body)
        if self.buffer:
            self._read()


def doubles(deliveries: Iterable[str]) -> int:
    """How many deliveries came more often than once, counting every further time."""
    seen = list(deliveries)
    return len(seen) - len(set(seen))
