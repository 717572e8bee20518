"""A wire between a program and a server: TCP carried through, until a test cuts it or lets nothing pass."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import Any, Literal

from integration_tests.support.ports import free_port

Way = Literal['out', 'back']


class Wire:
    """Listens on ``port`` of 127.0.0.1 and carries every connection to ``target`` (a port there)."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.port = free_port()
        self.carried = 0
        """Connections ever made."""

        self._loop = asyncio.new_event_loop()
        self._passing = {way: asyncio.Event() for way in ('out', 'back')}
        self.let_pass()
        self._pairs: set[tuple[asyncio.StreamWriter, asyncio.StreamWriter]] = set()
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True, name='wire')

    def __enter__(self) -> Wire:
        self._thread.start()
        self.join()
        return self

    def __exit__(self, *_: object) -> None:
        self._do(self._shut())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def cut(self) -> int:
        """Reset every connection, on both sides; new ones are carried. How many there were."""
        return self._do(self._cut())

    def part(self) -> None:
        """Reset every connection and refuse new ones."""
        self._do(self._part())

    def join(self) -> None:
        """Accept connections (again)."""
        self._do(self._listen())

    def hold(self, *ways: Way) -> None:
        """Let nothing pass from now on, without a word to anybody: ``out`` to the server, ``back`` from it, or both."""
        for way in ways or ('out', 'back'):
            self._loop.call_soon_threadsafe(self._passing[way].clear)

    def let_pass(self) -> None:
        for passing in self._passing.values():
            self._loop.call_soon_threadsafe(passing.set)

    def _do(self, what: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(what, self._loop).result(10)

    async def _listen(self) -> None:
        if self._server is None:
            self._server = await asyncio.start_server(self._carry, '127.0.0.1', self.port, reuse_address=True)

    async def _part(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        await self._cut()

    async def _cut(self) -> int:
        pairs, self._pairs = self._pairs, set()
        for pair in pairs:
            for writer in pair:
                writer.transport.abort()
        return len(pairs)

    async def _shut(self) -> None:
        await self._part()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.carried += 1
        try:
            far_reader, far_writer = await asyncio.open_connection('127.0.0.1', self.target)
        except OSError:
            writer.transport.abort()
            return
        pair = (writer, far_writer)
        self._pairs.add(pair)
        for source, sink, way in ((reader, far_writer, 'out'), (far_reader, writer, 'back')):
            task = self._loop.create_task(self._pump(source, sink, self._passing[way], pair))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pump(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, passing: asyncio.Event, pair: Any
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(65536):
                await passing.wait()
                sink.write(data)
                await sink.drain()
        self._pairs.discard(pair)
        for writer in pair:
            writer.close()
