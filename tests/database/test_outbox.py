"""Bus events that wait to be published."""

from __future__ import annotations

from datetime import UTC

import pytest

from wazo_webhookd.database import outbox, processes


def write(database, life: str | None, *names: str) -> None:
    with database.transaction() as connection:
        for name in names:
            outbox.write(connection, life, name, f'key.{name}', {'name': name}, {'data': {'é': '\ud83d\x00'}})


def taken(database, life: str | None, limit: int = 100) -> list[str]:
    with database.reading() as connection:
        return [row.name for row in outbox.take(connection, life, limit)]


def test_event_comes_back_as_written(database):
    write(database, 'life', 'created')
    with database.reading() as connection:
        (row,) = outbox.take(connection, 'life')

    assert (row.name, row.routing_key, row.life) == ('created', 'key.created', 'life')
    assert row.headers == {'name': 'created'}
    assert row.body == {'data': {'é': '\ud83d\x00'}}
    assert row.created_at.tzinfo is UTC


def test_oldest_come_first_and_stay_until_done(database):
    write(database, 'life', 'one', 'two', 'three')

    assert taken(database, 'life', limit=2) == ['one', 'two']
    with database.transaction() as connection:
        outbox.done(connection, [row.id for row in outbox.take(connection, 'life', 2)])
    assert taken(database, 'life') == ['three']


def test_each_life_sees_its_own(database):
    write(database, 'a', 'of a')
    write(database, 'b', 'of b')

    assert taken(database, 'a') == ['of a']


def test_events_of_the_dead_and_of_nobody_are_taken_by_whoever_asks(database):
    with database.transaction() as connection:
        for life in ('living', 'dead'):
            processes.register(connection, life, 'daemon', 'host', 1, 0)
        processes.end(connection, 'dead')
    write(database, 'living', 'mine')
    write(database, 'dead', 'of the dead')
    write(database, None, 'of a script')
    write(database, 'unheard of', 'of one long gone')

    assert taken(database, None) == ['of the dead', 'of a script', 'of one long gone']


def test_event_of_a_change_that_was_rolled_back_is_not_told(database):
    with pytest.raises(KeyError), database.transaction() as connection:
        outbox.write(connection, 'life', 'n', 'k', {}, {})
        raise KeyError

    assert taken(database, 'life') == []


def test_done_with_nothing(database):
    with database.transaction() as connection:
        outbox.done(connection, [])
