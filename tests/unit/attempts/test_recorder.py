from __future__ import annotations

import json
from collections.abc import Sequence

import pytest

from tests.unit.attempts.doubles import Rows
from wazo_webhookd.attempts.recorder import Record, Recorder
from wazo_webhookd.database.attempts import Ended, RowRefused
from wazo_webhookd.domain.delivery import Word


class PickyRows(Rows):
    """Refuses groups with a detail or an event that it does not like."""

    def record(self, group: Sequence[Ended], words: Sequence[Word]) -> None:
        if any('bad' in row.detail or row.event == 'bad' or row.delivery == 'hopeless' for row in group):
            raise RowRefused
        super().record(group, words)


class Contact:
    def __init__(self) -> None:
        self.said: list[str] = []

    def lost(self) -> None:
        self.said.append('lost')

    def found(self) -> None:
        self.said.append('found')


class Desk:
    def __init__(self, rows: Rows | None = None) -> None:
        self.rows = rows or Rows()
        self.contact = Contact()
        self.done: list[str] = []
        self.heard: list[Word] = []
        self.slept: list[float] = []
        self.recorder = Recorder(self.rows, self.contact, hear=self.heard.extend, sleep=self.sleep)

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        if len(self.slept) == 4:
            self.rows.away = False

    def record(self, delivery: str, detail: str = '{}', event: str = '{}', attempt: int = 1) -> Record:
        row = Ended(delivery, 's', attempt, 1, 3, 'error', 0.0, 1.0, event, detail, None, 'why')
        return Record(row, Word(delivery, attempt, 1, 'crashed', 1.0), lambda: self.done.append(delivery), 'http')

    def write(self, *records: Record) -> None:
        for record in records:
            self.recorder.add(record)
        group = self.recorder._collect()
        while group:
            self.recorder.write(group)
            if not self.recorder.pending:
                return
            group = self.recorder._collect()


def test_what_waits_is_written_as_one_group() -> None:
    desk = Desk()
    desk.write(*[desk.record(f'd{number}') for number in range(5)])

    assert [len(group) for group in desk.rows.recorded] == [5]
    assert desk.done == [f'd{number}' for number in range(5)]
    assert len(desk.heard) == 5
    assert desk.recorder.pending == 0


def test_two_attempts_of_a_delivery_go_into_two_groups() -> None:
    desk = Desk()
    desk.write(desk.record('d1'), desk.record('d2'), desk.record('d1', attempt=2))

    assert [[row.attempt for row in group] for group in desk.rows.recorded] == [[1, 1], [2]]


def test_group_is_repeated_until_it_goes_in() -> None:
    desk = Desk()
    desk.rows.away = True
    desk.write(desk.record('d1'), desk.record('d2'))

    assert desk.contact.said == ['lost', 'lost', 'lost', 'found']
    assert [len(group) for group in desk.rows.recorded] == [2]
    assert desk.slept[1:] == [0.05, 0.1, 0.25]


def test_bad_row_loses_its_detail_and_its_neighbours_nothing() -> None:
    desk = Desk(PickyRows())
    desk.write(desk.record('d1'), desk.record('d2', detail='{"bad":1}'), desk.record('d3'))
    rows = {row.delivery: row for group in desk.rows.recorded for row in group}

    assert set(rows) == {'d1', 'd2', 'd3'}
    assert json.loads(rows['d2'].detail) == {'error': 'What this attempt left could not be stored.'}
    assert rows['d1'].detail == '{}'
    assert sorted(desk.done) == ['d1', 'd2', 'd3']


def test_event_that_is_refused_is_left_out() -> None:
    desk = Desk(PickyRows())
    desk.write(desk.record('d1', event='bad'))

    assert desk.rows.recorded[0][0].event is None


def test_row_that_is_refused_in_every_form_is_given_up_without_a_word() -> None:
    desk = Desk(PickyRows())
    desk.write(desk.record('hopeless'), desk.record('d2'))

    assert [row.delivery for group in desk.rows.recorded for row in group] == ['d2']
    assert sorted(desk.done) == ['d2', 'hopeless']
    assert [word.delivery for word in desk.heard] == ['d2']


def test_thread_flushes_and_stops() -> None:
    desk = Desk()
    desk.recorder.start()
    for number in range(300):
        desk.recorder.add(desk.record(f'd{number}'))

    assert desk.recorder.flush(5)
    assert len(desk.done) == 300
    assert desk.recorder.stop(5)
    assert not desk.recorder.is_alive()


def test_stopping_does_not_wait_for_a_database_that_stays_away() -> None:
    desk = Desk()
    desk.rows.away = True
    desk.recorder = Recorder(desk.rows, desk.contact)
    desk.recorder.start()
    desk.recorder.add(desk.record('d1'))

    assert desk.recorder.flush(0.05) is False
    assert desk.recorder.stop(0.05) is False
    assert desk.done == []


def test_callback_that_fails_does_not_end_the_recorder(caplog: pytest.LogCaptureFixture) -> None:
    desk = Desk()

    def fail() -> None:
        raise RuntimeError

    desk.write(desk.record('d1')._replace(done=fail), desk.record('d2'))

    assert desk.done == ['d2']
    assert 'after recording delivery d1' in caplog.text
