"""Values that all processes share."""

from __future__ import annotations

import threading

from wazo_webhookd.database import facts


def test_unknown_fact_is_zero_and_nothing(database):
    with database.reading() as connection:
        assert facts.get(connection, 'index_version') == (0, None)


def test_bump_counts_from_one(database):
    with database.transaction() as connection:
        assert [facts.bump(connection, 'index_version') for _ in range(3)] == [1, 2, 3]
        assert facts.bump(connection, 'admission_epoch') == 1


def test_text_and_number_do_not_disturb_each_other(database):
    with database.transaction() as connection:
        facts.put(connection, 'master_tenant', 'one')
        facts.bump(connection, 'master_tenant')
        facts.put(connection, 'master_tenant', 'two')
        assert facts.get(connection, 'master_tenant') == (1, 'two')
        facts.put(connection, 'master_tenant', None)
        assert facts.get(connection, 'master_tenant') == (1, None)


def test_bump_rolled_back_never_happened(database):
    try:
        with database.transaction() as connection:
            facts.bump(connection, 'index_version')
            raise KeyError
    except KeyError:
        pass

    with database.reading() as connection:
        assert facts.get(connection, 'index_version') == (0, None)


def test_no_two_writers_get_the_same_number(database):
    numbers = []

    def bump() -> None:
        for _ in range(20):
            with database.transaction() as connection:
                numbers.append(facts.bump(connection, 'index_version'))

    threads = [threading.Thread(target=bump) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(numbers) == list(range(1, 101))
