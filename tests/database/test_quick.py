"""Single reads beside the pool."""

from __future__ import annotations

import threading
from collections import deque

import pytest

from wazo_webhookd.database import quick as quick_module
from wazo_webhookd.database.quick import Prepared
from wazo_webhookd.database.session import Database
from wazo_webhookd.exceptions import DatabaseUnavailable

from .test_session import end_sessions

TWICE = Prepared('twice', 'int', 'SELECT 2 * $1, pg_backend_pid()', 'EXECUTE twice (%s)')
SLOW = Prepared('slow', 'int', 'SELECT pg_sleep(0.2), pg_backend_pid()', 'EXECUTE slow (%s)')
NONSENSE = Prepared('nonsense', 'int', 'SELECT 1 / $1', 'EXECUTE nonsense (%s)')


def ask(database, value: int = 4) -> tuple[int, int]:
    [(twice, backend)] = database.quick.rows(TWICE, (value,))
    return twice, backend


def test_one_connection_serves_reads_that_follow_each_other(postgresql):
    answers = {ask(postgresql, value) for value in (1, 2, 3)}

    assert {twice for twice, _ in answers} == {2, 4, 6}
    assert len({backend for _, backend in answers}) == 1


def test_reads_at_the_same_time_have_a_connection_each(postgresql):
    backends: list[int] = []
    threads = [
        threading.Thread(target=lambda: backends.append(postgresql.quick.rows(SLOW, (1,))[0][1])) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(set(backends)) == 4


def test_no_more_are_kept_than_allowed(postgresql):
    reads = postgresql.quick
    taken = [reads._take() for _ in range(reads._most_idle + 3)]
    for kept in taken:
        reads._give_back(kept)

    assert len(reads._idle) == reads._most_idle
    assert [kept.driver.closed for kept in taken].count(1) == 3
    reads.close()
    assert {kept.driver.closed for kept in taken} == {1}


def test_what_was_given_back_may_be_taken_at_once(postgresql):
    reads = postgresql.quick
    kept = reads._take()

    class Taken(deque):
        """Somebody takes each connection as soon as it is there."""

        def append(self, item):
            pass

    reads._idle = Taken()
    reads._give_back(kept)
    kept.close()


def test_connections_closed_by_a_restart_are_replaced_unnoticed(postgresql):
    _, before = ask(postgresql)
    end_sessions(postgresql)
    twice, after = ask(postgresql)

    assert twice == 8
    assert after != before


def test_long_idle_connections_are_replaced(postgresql, monkeypatch):
    _, before = ask(postgresql)
    clock = quick_module.time.monotonic
    monkeypatch.setattr(quick_module.time, 'monotonic', lambda: clock() + 60)

    assert ask(postgresql)[1] != before


def test_a_connection_lost_while_reading_is_absence(postgresql, monkeypatch, caplog):
    ask(postgresql)
    kept = postgresql.quick._idle[-1]
    end_sessions(postgresql)
    monkeypatch.setattr(type(kept), 'is_well', lambda self, seconds: True)

    with pytest.raises(DatabaseUnavailable):
        ask(postgresql)
    assert kept.driver.closed
    assert caplog.messages == []  # nobody has to act
    assert ask(postgresql)[0] == 8


def test_when_one_is_lost_nobody_waits_for_the_others(postgresql, monkeypatch):
    reads = postgresql.quick
    for kept in [reads._take() for _ in range(3)]:
        reads._give_back(kept)
    end_sessions(postgresql)
    monkeypatch.setattr(quick_module._Kept, 'is_well', lambda self, seconds: True)

    with pytest.raises(DatabaseUnavailable):
        ask(postgresql)
    assert not reads._idle


def test_what_the_statement_is_guilty_of_stays_what_it_is(postgresql):
    with pytest.raises(Exception, match='division by zero'):
        postgresql.quick.rows(NONSENSE, (0,))
    assert ask(postgresql)[0] == 8


def test_the_embedded_database_has_none(tmp_path):
    assert Database.from_uri(f'sqlite:///{tmp_path / "x"}').quick is None
