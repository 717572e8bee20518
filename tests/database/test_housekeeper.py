"""What needs the database now and then is done in order, again after trouble, and ends the daemon where it must."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from integration_tests.support.until import until
from wazo_webhookd import housekeeper
from wazo_webhookd.database import processes
from wazo_webhookd.database.listen import Listener
from wazo_webhookd.database.retention import RetentionConfig
from wazo_webhookd.database.session import Database
from wazo_webhookd.exceptions import DatabaseUnavailable, SchemaBehind
from wazo_webhookd.housekeeper import Housekeeper
from wazo_webhookd.settings import Retention
from wazo_webhookd.subscriptions.feed import CHANNEL

Begin = Callable[..., Housekeeper]


@pytest.fixture
def begin(monkeypatch: pytest.MonkeyPatch) -> Iterator[Begin]:
    monkeypatch.setattr(housekeeper, 'RENEW_SECONDS', 0.02)
    begun: list[Housekeeper] = []

    def begin(database: Database, *on_contact: Callable[[], None], misfits: list[SchemaBehind] | None = None) -> Any:
        settings: RetentionConfig = Retention()
        keeper = Housekeeper(
            database, 'life', settings, on_contact=on_contact, on_misfit=([] if misfits is None else misfits).append
        )
        begun.append(keeper)
        keeper.start()
        return keeper

    yield begin
    for keeper in begun:
        keeper.stop()


def living(database: Database) -> list[str]:
    with database.reading() as connection:
        return [row.id for row in processes.living(connection)]


def test_a_life_begins_with_the_first_contact_and_ends_when_it_is_stopped(database: Database, begin: Begin) -> None:
    keeper = begin(database)
    assert keeper.ready.wait(10)
    assert living(database) == ['life']
    with database.reading() as connection:
        (first,) = processes.living(connection)

    def renewed() -> bool:
        with database.reading() as connection:
            return processes.living(connection)[0].seen_at > first.seen_at

    until(renewed, 10, what='the life is renewed')
    keeper.stop()
    assert living(database) == []


def test_errands_are_done_once_each_in_order_whatever_one_of_them_does(
    database: Database, begin: Begin, caplog: pytest.LogCaptureFixture
) -> None:
    done: list[str] = []
    trouble = iter([DatabaseUnavailable('away'), DatabaseUnavailable('away')])

    def fails() -> None:
        done.append('fails')
        raise ValueError('its own mistake')

    def meets_trouble() -> None:
        done.append('tries')
        for error in trouble:
            raise error

    keeper = begin(database, lambda: done.append('first'), fails, meets_trouble, lambda: done.append('last'))
    assert keeper.ready.wait(10)
    keeper.do_later(lambda: done.append('later'))
    until(lambda: 'later' in done, 10)

    assert done == ['first', 'fails', 'tries', 'tries', 'tries', 'last', 'later']
    assert [record.levelno for record in caplog.records if record.exc_info] == [logging.ERROR]


def test_a_schema_that_does_not_fit_is_told_at_first_contact(empty: Database, begin: Begin) -> None:
    misfits: list[SchemaBehind] = []
    keeper = begin(empty, misfits=misfits)
    keeper.join(10)

    assert not keeper.is_alive()
    assert not keeper.ready.is_set()
    assert 'wazo-webhookd-init-db' in str(misfits[0])


def test_a_schema_that_does_not_fit_any_more_is_told_later(database: Database, begin: Begin) -> None:
    misfits: list[SchemaBehind] = []
    keeper = begin(database, misfits=misfits)
    assert keeper.ready.wait(10)

    def behind() -> None:
        raise SchemaBehind('behind')

    keeper.do_later(behind)
    keeper.join(10)

    assert not keeper.is_alive()
    assert [str(misfit) for misfit in misfits] == ['behind']


def test_other_daemons_are_told_of_one_that_begins(postgresql: Database, begin: Begin) -> None:
    heard: list[str] = []
    listens = threading.Event()
    listener = Listener(postgresql, [CHANNEL], lambda _, payload: heard.append(payload), listens.set)
    listener.start()
    try:
        assert listens.wait(10)
        begin(postgresql)
        until(lambda: heard, 10, what='the word of the new daemon')
    finally:
        listener.stop()
    assert '"reload"' in heard[0]
