from __future__ import annotations

import json
import types
from typing import Any

import pytest

from tests.unit.attempts.doubles import Hands, Message, Records, Rows, Time, body, ticket
from wazo_webhookd.attempts.desk import Desk
from wazo_webhookd.attempts.runner import Runner
from wazo_webhookd.celery import HOOK_RUNNER
from wazo_webhookd.database.attempts import Send
from wazo_webhookd.domain.delivery import Ticket, Word
from wazo_webhookd.domain.outcome import HookExpectedError, HookRetry
from wazo_webhookd.domain.retry import Schedule


class Services:
    """One service whose ``run`` a test replaces."""

    def __init__(self) -> None:
        self.run: Any = lambda task, config, subscription, event: {'done': True}

    def runner(self, name: str) -> Any:
        return None if name == 'unknown' else self.run

    def why_not(self, name: str) -> str:
        return f'no {name}'


class Task:
    name = HOOK_RUNNER
    max_retries = 2

    def __init__(self) -> None:
        self.request_stack = types.SimpleNamespace(push=lambda context: None, pop=lambda: None)


class Worker:
    """A desk with stand-ins around it."""

    def __init__(self) -> None:
        self.time, self.rows, self.records, self.hands = Time(), Rows(), Records(), Hands()
        self.services = Services()
        self.told: list[Word] = []
        app = types.SimpleNamespace(tasks={HOOK_RUNNER: Task()})
        runner = Runner(app, self.services, {}, Schedule((0.0, 5.0, 30.0)), lambda: 0.5)
        self.desk = Desk(
            self.time.clock, self.hands, runner, self.records, self.rows, 'me',  # type: ignore[arg-type]  # doubles
            limit_of=lambda name: 10.0, tell=self.told.extend,
        )  # fmt: skip

    def receive(self, of: Ticket | None = None, text: Any = None, redelivered: bool = False) -> Message:
        message = Message()
        self.desk.receive(of or ticket(), {'task': HOOK_RUNNER}, text or body(), message, redelivered)
        return message


@pytest.fixture
def worker() -> Worker:
    return Worker()


def test_delivery_is_run_recorded_and_only_then_acknowledged(worker: Worker) -> None:
    message = worker.receive()
    worker.hands.work()
    before = message.end
    worker.records.commit()
    (row,) = worker.records.rows

    assert (before, message.end) == ('', 'acknowledged')
    assert (row.delivery, row.attempt, row.send, row.status, row.detail) == ('d1', 1, 1, 'success', '{"done":true}')
    assert row.event == '{"name": "x", "data": {}}'
    assert row.started_at == worker.time.database()
    assert worker.records.kept[0].word == Word('d1', 1, 1, 'success', 0.0)
    assert len(worker.desk.in_hand) == 0


@pytest.mark.parametrize(
    ('error', 'status', 'verdict', 'due', 'rest'),
    [
        (HookRetry({'error': 'x'}, blame='endpoint'), 'failure', 'silent', 5.0, None),
        (HookRetry({'error': 'x'}, blame='subscription', rest=60.0), 'failure', 'refused', 60.0, 60.0),
        (HookRetry('x', delay=2.0), 'failure', 'crashed', 2.0, None),
        (HookExpectedError({'error': 'x'}, blame='subscription'), 'error', 'refused', None, None),
        (HookExpectedError('x'), 'error', 'crashed', None, None),
        (ValueError('x'), 'error', 'crashed', None, None),
        (SystemExit(3), 'error', 'crashed', None, None),
    ],
)
def test_failures_become_rows_and_words(
    worker: Worker, error: BaseException, status: str, verdict: str, due: float | None, rest: float | None
) -> None:
    def run(*_: Any) -> None:
        raise error

    worker.services.run = run
    worker.receive()
    worker.hands.work()
    (record,) = worker.records.kept

    assert record.row.status == status
    assert record.row.due_at == (None if due is None else worker.time.database() + due)
    assert record.word == Word('d1', 1, 1, verdict, 0.0, record.row.due_at, rest)  # type: ignore[arg-type]
    assert record.row.reason == (None if status == 'failure' else json.loads(record.row.detail)['error'])


def test_last_attempt_is_final(worker: Worker) -> None:
    def run(*_: Any) -> None:
        raise HookRetry({'error': 'x'})

    worker.services.run = run
    worker.receive(ticket(attempt=3, send=3))
    worker.hands.work()

    assert worker.records.rows[0].status == 'error'
    assert worker.records.rows[0].due_at is None


def test_unknown_service_is_an_error_with_a_sentence(worker: Worker) -> None:
    worker.receive(ticket(service='unknown'))
    worker.hands.work()

    assert worker.records.rows[0].status == 'error'
    assert worker.records.rows[0].detail == '{"error":"no unknown"}'


def test_daemon_without_the_service_is_believed(worker: Worker) -> None:
    """An empty entry point in the message: the daemon could not load it, whatever this worker has."""
    worker.receive(text=body(ep_name=''))
    worker.hands.work()

    assert worker.records.rows[0].detail == '{"error":"no http"}'


@pytest.mark.parametrize('text', ['rubbish', '[[1],{},{}]', body(event='not an object')])
def test_message_that_cannot_be_read_ends_in_a_row(worker: Worker, text: str) -> None:
    message = worker.receive(text=text)
    worker.hands.work()
    worker.records.commit()

    assert worker.records.rows[0].status == 'error'
    assert message.end == 'acknowledged'


def test_same_attempt_is_never_in_hand_twice(worker: Worker) -> None:
    """After a lost connection the broker hands the message out again, perhaps to this process."""
    first, copy = worker.receive(), worker.receive(redelivered=True)
    worker.hands.work()
    another = worker.receive(redelivered=True)  # while it is being recorded
    worker.hands.work()
    worker.records.commit()

    assert len(worker.records.rows) == 1
    assert [message.end for message in (first, copy, another)] == ['acknowledged'] * 3


def test_next_attempt_may_come_before_the_last_one_is_cleared_away(worker: Worker) -> None:
    worker.receive()
    worker.hands.work()
    worker.receive(ticket(attempt=2, send=2))
    worker.hands.work()

    assert [row.attempt for row in worker.records.rows] == [1, 2]


def test_message_that_is_not_fresh_asks_first(worker: Worker) -> None:
    worker.receive(ticket(send=2))
    worker.receive(ticket('d2'), redelivered=True)
    worker.receive(ticket('d3', sent_at=worker.time.database() - 40))
    at_once = len(worker.hands.jobs)
    worker.time.passes(2)
    worker.desk.serve_claims()
    worker.hands.work()

    assert at_once == 0
    assert len(worker.records.rows) == 3


def test_refused_claim_is_acknowledged_and_forgotten(worker: Worker) -> None:
    message = worker.receive(ticket(send=2))
    worker.rows.refused = {attempt.send for attempt in worker.desk.in_hand.all()}
    worker.time.passes(2)
    worker.desk.serve_claims()

    assert message.end == 'acknowledged'
    assert worker.told == [Word('d1', 1, 2, 'dropped', 0.0)]
    assert len(worker.desk.in_hand) == 0


def test_old_copy_that_waits_begins_for_the_newest_send(worker: Worker) -> None:
    """A process that was frozen finds the message it was given and the one that replaced it."""
    messages = [worker.receive(redelivered=True), worker.receive(ticket(send=2))]
    worker.rows.refused = {Send('d1', 1, 1)}
    worker.time.passes(2)
    worker.desk.serve_claims()
    worker.hands.work()
    worker.records.commit()

    assert [row.send for row in worker.records.rows] == [2]
    assert [message.end for message in messages] == ['acknowledged'] * 2


def test_attempt_that_runs_stands_for_the_newest_send(worker: Worker) -> None:
    """The process was frozen and taken for dead; what was sent anew came to it, too."""

    def run(*_: Any) -> None:
        worker.desk.in_hand.open()[0].held = True
        messages.append(worker.receive(ticket(send=2)))
        raise HookRetry({'error': 'x'}, blame='endpoint')

    messages: list[Message] = []
    worker.services.run = run
    messages.append(worker.receive(ticket(send=1)))
    worker.hands.work()
    (record,) = worker.records.kept
    worker.records.commit()

    assert (record.row.send, record.row.status) == (2, 'failure')
    assert record.word is not None
    assert record.word.send == 2
    assert [message.end for message in messages] == ['acknowledged', 'acknowledged']


@pytest.mark.parametrize('granted', [True, False])
def test_newest_send_that_comes_while_the_outcome_is_recorded_asks_after_it(worker: Worker, granted: bool) -> None:
    """The outcome may count for nothing, being of an older send; the database knows."""
    first = worker.receive(ticket(send=1))
    worker.hands.work()
    newest = [worker.receive(ticket(send=2)), worker.receive(ticket(send=3))]
    worker.records.commit()
    before = [message.end for message in newest]
    worker.rows.refused = set() if granted else {Send('d1', 1, 3)}
    worker.time.passes(2)
    worker.desk.serve_claims()
    worker.hands.work()
    worker.records.commit()

    assert first.end == 'acknowledged'
    assert before == ['', '']
    assert [row.send for row in worker.records.rows] == ([1, 3] if granted else [1])
    assert [message.end for message in newest] == ['acknowledged'] * 2
    assert len(worker.desk.in_hand) == 0


def test_message_that_waited_for_a_hand_asks_before_it_starts(worker: Worker) -> None:
    worker.receive()
    worker.time.passes(1.5)
    worker.hands.work()
    before = len(worker.records.rows)
    worker.desk.serve_claims()
    worker.time.passes(5)  # once granted, it is ours however long it takes
    worker.hands.work()

    assert (before, len(worker.records.rows)) == (0, 1)


def test_only_what_may_start_unasked_is_taken_for_ours(worker: Worker) -> None:
    worker.receive(ticket('fresh'))
    worker.receive(ticket('copy'), redelivered=True)
    worker.desk.pause()
    worker.receive(ticket('parked'))
    asking = {attempt.ticket.delivery: attempt.asks for attempt in worker.desk.in_hand.all()}
    worker.desk.resume()
    worker.time.passes(2)
    worker.desk.serve_claims()

    assert asking == {'fresh': False, 'copy': True, 'parked': True}
    assert not any(attempt.asks for attempt in worker.desk.in_hand.all())


def test_nothing_starts_while_the_database_is_away(worker: Worker) -> None:
    worker.desk.pause()
    message = worker.receive()
    during = len(worker.hands.jobs)
    worker.desk.resume()
    worker.hands.work()
    worker.records.commit()

    assert during == 0
    assert message.end == 'acknowledged'


def test_parked_too_long_asks_when_the_database_is_back(worker: Worker) -> None:
    worker.desk.pause()
    worker.receive()
    worker.time.passes(35)
    worker.desk.resume()

    assert worker.hands.jobs == []
    assert len(worker.desk.claims) == 1


def test_job_that_reaches_a_hand_after_the_database_went_away_asks(worker: Worker) -> None:
    worker.receive()
    worker.desk.pause()
    worker.hands.work()

    assert worker.records.rows == []
    assert len(worker.desk.claims) == 1


def test_leaving_gives_back_what_was_not_started(worker: Worker) -> None:
    waiting = worker.receive(ticket(send=2))
    queued = worker.receive(ticket('d2'))
    worker.desk.pause()
    parked = worker.receive(ticket('d3'))
    worker.desk.leave()
    late = worker.receive(ticket('d4'))
    worker.hands.work()

    assert [message.end for message in (waiting, queued, parked, late)] == ['given back'] * 4
    assert worker.records.rows == []
    assert len(worker.desk.in_hand) == 0


def test_running_attempt_is_finished_while_leaving(worker: Worker) -> None:
    def run(*_: Any) -> dict[str, Any]:
        worker.desk.leave()
        return {}

    worker.services.run = run
    message = worker.receive()
    worker.hands.work()
    worker.records.commit()

    assert message.end == 'acknowledged'


def test_service_that_never_returns_is_recorded_and_its_hand_written_off(worker: Worker) -> None:
    late: list[bool] = []

    def run(*_: Any) -> dict[str, Any]:
        worker.time.passes(9.9)
        worker.desk.overdue()
        late.append(bool(worker.records.kept))
        worker.time.passes(0.2)
        worker.desk.overdue()
        worker.desk.overdue()
        return {'too': 'late'}

    worker.services.run = run
    message = worker.receive()
    worker.hands.work()
    worker.records.commit()
    (row,) = worker.records.rows

    assert late == [False]
    assert row.status == 'failure'
    assert "'http' did not return within 10 seconds" in row.detail
    assert row.event == '{"name": "x", "data": {}}'
    assert worker.records.kept[0].word is not None
    assert worker.records.kept[0].word.verdict == 'silent'
    assert len(worker.hands.written_off) == 1
    assert message.end == 'acknowledged'


def test_what_waits_for_a_claim_is_not_overdue(worker: Worker) -> None:
    worker.receive(ticket(send=2))
    worker.time.passes(1000)
    worker.desk.overdue()

    assert worker.records.rows == []
