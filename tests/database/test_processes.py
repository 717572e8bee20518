"""Lives and their ends."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select, update

from wazo_webhookd.database import processes
from wazo_webhookd.database.models import Process
from wazo_webhookd.database.processes import LifeForgotten
from wazo_webhookd.database.types import seconds_ago

PROCESS = Process.__table__


def register(database, *ids: str, kind: str = 'worker', hands: int = 128) -> datetime:
    with database.transaction() as connection:
        for life in ids:
            now = processes.register(connection, life, kind, 'host', 42, hands)
    return now


def fall_silent(database, life: str, seconds: float = 16) -> None:
    with database.transaction() as connection:
        connection.execute(update(PROCESS).where(PROCESS.c.id == life).values(seen_at=seconds_ago(seconds)))


def living(database) -> list[str]:
    with database.reading() as connection:
        return [row.id for row in processes.living(connection)]


def test_registered_life_lives(database):
    now = register(database, 'a')

    assert abs(now - datetime.now(UTC)) < timedelta(seconds=5)
    with database.reading() as connection:
        (row,) = processes.living(connection)
    assert (row.id, row.kind, row.host, row.pid, row.hands, row.written_off) == ('a', 'worker', 'host', 42, 128, 0)
    assert row.started_at.tzinfo is UTC


def test_registering_again_after_a_commit_whose_answer_was_lost(database):
    register(database, 'a', hands=1)
    register(database, 'a', hands=2)

    with database.reading() as connection:
        assert [(row.id, row.hands) for row in processes.living(connection)] == [('a', 2)]


def test_renewing_says_what_changed(database):
    register(database, 'a')
    with database.transaction() as connection:
        now = processes.renew(connection, 'a', 100, 28)

    with database.reading() as connection:
        (row,) = processes.living(connection)
    assert (row.hands, row.written_off, row.seen_at) == (100, 28, now)


def test_ended_life_does_not_live(database):
    register(database, 'a', 'b')
    with database.transaction() as connection:
        processes.end(connection, 'a')

    assert living(database) == ['b']


def test_silent_life_does_not_live(database):
    register(database, 'a', 'b', 'c')
    fall_silent(database, 'a', 16)
    fall_silent(database, 'b', 13.5)

    assert living(database) == ['b', 'c']


def test_sleeper_lives_again_when_it_renews(database):
    register(database, 'a')
    fall_silent(database, 'a')
    with database.transaction() as connection:
        assert processes.bury(connection) == ['a']
        assert processes.bury(connection) == []
    assert living(database) == []

    with database.transaction() as connection:
        processes.renew(connection, 'a', 1, 0)
    assert living(database) == ['a']


def test_life_whose_row_is_gone_has_to_register_again(database):
    with pytest.raises(LifeForgotten), database.transaction() as connection:
        processes.renew(connection, 'nobody', 1, 0)


def test_ending_twice_keeps_the_first_end(database):
    register(database, 'a')
    ends = []
    for _ in range(2):
        with database.transaction() as connection:
            processes.end(connection, 'a')
        with database.reading() as connection:
            ends.append(connection.execute(select(PROCESS.c.ended_at)).scalar_one())

    assert ends[0] == ends[1]


def test_ended_since_knows_the_ended_and_the_silent(database):
    start = register(database, 'ended', 'silent', 'living', 'old')
    fall_silent(database, 'old', 3600)
    fall_silent(database, 'silent', 20)
    with database.transaction() as connection:
        processes.end(connection, 'ended')
        found = processes.ended_since(connection, start - timedelta(seconds=60))

    assert {row.id for row in found} == {'ended', 'silent'}


def test_ended_among_counts_the_unknown_as_ended(database):
    register(database, 'living', 'ended', 'silent')
    fall_silent(database, 'silent')
    with database.transaction() as connection:
        processes.end(connection, 'ended')
        found = processes.ended_among(connection, ['living', 'ended', 'silent', 'unknown'])
        assert processes.ended_among(connection, []) == set()

    assert found == {'ended', 'silent', 'unknown'}


def test_holder_of_the_admission_lock_is_known_until_it_ends(database):
    register(database, 'a', kind='daemon')
    seen = []
    for change in (lambda c: processes.hold_lock(c, 'a', 4711), lambda c: processes.end(c, 'a')):
        with database.transaction() as connection:
            change(connection)
            seen.append(connection.execute(select(PROCESS.c.backend_pid)).scalar_one())

    assert seen == [4711, None]
