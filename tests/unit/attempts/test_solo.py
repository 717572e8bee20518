from __future__ import annotations

import threading
from typing import Any

import pytest

from tests.unit.attempts.doubles import Records, Rows, Time, ticket
from tests.unit.attempts.test_desk import Services, Task
from wazo_webhookd.attempts.parcel import Parcel
from wazo_webhookd.attempts.recorder import Record
from wazo_webhookd.attempts.runner import Runner
from wazo_webhookd.attempts.solo import Solo
from wazo_webhookd.celery import HOOK_RUNNER
from wazo_webhookd.database.attempts import Send
from wazo_webhookd.domain.delivery import Word
from wazo_webhookd.domain.retry import Schedule


class Committed(Records):
    """A recorder that commits at once."""

    def add(self, record: Record) -> None:
        super().add(record)
        record.done()


class Process:
    def __init__(self) -> None:
        self.time, self.rows, self.records, self.services = Time(), Rows(), Committed(), Services()
        self.told: list[Word] = []
        self.slept: list[float] = []
        self.ended = 0

        class App:
            tasks = {HOOK_RUNNER: Task()}

        self.solo = Solo(
            self.time.clock, Runner(App, self.services, {}, Schedule((0.0, 5.0)), lambda: 0.5), self.records, self.rows,
            'me', limit_of=lambda name: 10.0, tell=self.told.extend, on_overdue=self.end, sleep=self.sleep,
        )  # fmt: skip

    def end(self) -> None:
        self.ended += 1

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        if len(self.slept) > 2:
            self.rows.away = False

    def deliver(self, redelivered: bool = False, **of: Any) -> None:
        parcel = Parcel(['d1', 'm:C', None, {'uuid': 's1'}, {'a': 1}], {'uuid': 's1'}, {'a': 1}, '{"a": 1}')
        self.solo.deliver(ticket(**of), HOOK_RUNNER, parcel, redelivered)


@pytest.fixture
def process() -> Process:
    return Process()


def test_returns_when_the_attempt_is_in_the_database(process: Process) -> None:
    process.deliver()

    assert [row.status for row in process.records.rows] == ['success']
    assert process.slept == []
    assert len(process.solo.in_hand) == 0


def test_message_that_is_not_fresh_waits_and_claims(process: Process) -> None:
    process.rows.away = True
    process.deliver(redelivered=True)

    assert process.slept == [2.0, 0.05, 0.1]  # the wait, then until the database is back
    assert process.rows.held == [Send('d1', 1, 1)]
    assert len(process.records.rows) == 1


def test_refused_claim_is_told_and_not_run(process: Process) -> None:
    process.rows.refused.add(Send('d1', 1, 2))
    process.deliver(send=2)

    assert process.records.rows == []
    assert process.told == [Word('d1', 1, 2, 'dropped', 0.0)]


def test_service_that_never_returns_is_recorded_and_ends_the_process(process: Process) -> None:
    def run(*_: Any) -> dict[str, Any]:
        process.time.passes(11)
        watching = threading.Thread(target=process.solo.overdue)
        watching.start()
        watching.join(5)
        return {'too': 'late'}

    process.services.run = run
    process.deliver()

    assert [row.status for row in process.records.rows] == ['failure']
    assert process.ended == 1
