"""Stand-ins for what attempts stand on: a clock that is set, rows in memory, messages that remember their end."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime
from typing import Any

from wazo_webhookd.attempts.clock import Clock
from wazo_webhookd.attempts.inhand import Attempt
from wazo_webhookd.attempts.recorder import Record
from wazo_webhookd.database.attempts import Ended, Send
from wazo_webhookd.domain.delivery import Ticket, Word
from wazo_webhookd.exceptions import DatabaseUnavailable

START = 1_000_000.0


class Time:
    """The monotonic clock of a test; the database's is START ahead."""

    def __init__(self) -> None:
        self.now = 100.0
        self.clock = Clock(lambda: self.now, lambda: self.now)
        self.clock.set(datetime.fromtimestamp(START + self.now, UTC), self.now, self.now)

    def passes(self, seconds: float) -> None:
        self.now += seconds

    def database(self) -> float:
        return START + self.now


class Message:
    def __init__(self) -> None:
        self.end = ''

    def acknowledge(self) -> None:
        self.end += 'acknowledged'

    def give_back(self) -> None:
        self.end += 'given back'


class Rows:
    """The table of deliveries: who may be held. ``away``: it cannot be reached."""

    def __init__(self) -> None:
        self.away = False
        self.refused: set[Send] = set()
        self.held: list[Send] = []
        self.words: list[Word] = []
        self.recorded: list[list[Ended]] = []

    def hold(self, items: Collection[Send], life: str, words: Sequence[Word] = ()) -> set[Send]:
        if self.away:
            raise DatabaseUnavailable
        self.words += words
        granted = {item for item in items if item not in self.refused}
        self.held += sorted(granted)
        return granted

    def record(self, group: Sequence[Ended], words: Sequence[Word]) -> None:
        if self.away:
            raise DatabaseUnavailable
        self.recorded.append(list(group))
        self.words += words

    def release(self, life: str) -> None:
        self.held.clear()

    def close(self) -> None: ...


class Records:
    """A recorder that keeps what it is given until it is told to commit."""

    def __init__(self) -> None:
        self.kept: list[Record] = []

    def add(self, record: Record) -> None:
        self.kept.append(record)

    def commit(self) -> None:
        for record in self.kept:
            record.done()

    @property
    def rows(self) -> list[Ended]:
        return [record.row for record in self.kept]


class Hands:
    """Hands that work when the test says so."""

    def __init__(self) -> None:
        self.jobs: list[tuple[Any, Callable[[], None]]] = []
        self.written_off: list[Any] = []
        self.count = 8
        self.lost = 0

    def submit(self, key: Any, job: Callable[[], None]) -> None:
        self.jobs.append((key, job))

    def write_off(self, key: Any) -> bool:
        self.written_off.append(key)
        self.lost += 1
        return True

    def work(self) -> None:
        while self.jobs:
            self.jobs.pop(0)[1]()


def ticket(
    delivery: str = 'd1', *, attempt: int = 1, send: int = 1, sent_at: float = START + 100, service: str = 'http'
) -> Ticket:
    return Ticket(delivery, 's1', 'e1', service, 'sub:s1', attempt, send, 3, sent_at)


def body(event: Any = None, subscription: Any = None, ep_name: str = 'guest:Service') -> str:
    arguments = ['d1', ep_name, None, subscription or {'uuid': 's1', 'config': {}}, event or {'name': 'x', 'data': {}}]
    return json.dumps([arguments, {}, {'callbacks': None}])


def attempt(of: Ticket | None = None, message: Message | None = None, received: float = 100.0) -> Attempt:
    return Attempt(of or ticket(), 'task', body(), message or Message(), False, received, 300.0)
