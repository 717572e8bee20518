"""A PostgreSQL that says nothing any more is taken for one that is away."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import psycopg2
import pytest
from sqlalchemy.engine import make_url

from integration_tests.support.wire import Wire
from wazo_webhookd.database import patience as patience_module
from wazo_webhookd.database import session as session_module
from wazo_webhookd.database.session import Database
from wazo_webhookd.exceptions import DatabaseUnavailable


@pytest.fixture
def wire(postgresql_with_tables: str) -> Iterator[Wire]:
    with Wire(make_url(postgresql_with_tables).port or 5432) as wire:
        yield wire


@pytest.fixture
def far(postgresql_with_tables: str, wire: Wire, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    """The database at the other end of the wire."""
    monkeypatch.setattr(patience_module, 'LOOK_SECONDS', 0.05)
    monkeypatch.setattr(session_module, 'CONNECT_SECONDS', 2)  # the least that the client library takes
    uri = make_url(postgresql_with_tables).set(host='127.0.0.1', port=wire.port)
    database = Database.from_uri(uri.render_as_string(hide_password=False), statement_seconds=0.3)
    yield database
    wire.let_pass()
    database.dispose()


def ask(database: Database) -> int:
    with database.reading() as connection:
        return int(connection.exec_driver_sql('SELECT 1').scalar_one())


def test_statements_that_are_answered_are_left_alone(far: Database) -> None:
    with far.reading() as connection:
        for _ in range(4):
            connection.exec_driver_sql('SELECT pg_sleep(0.15)')

    assert ask(far) == 1


def test_a_statement_without_an_answer_is_cut_and_the_database_comes_back(far: Database, wire: Wire) -> None:
    assert ask(far) == 1
    wire.hold()
    started = time.monotonic()
    with pytest.raises(DatabaseUnavailable):
        ask(far)
    assert time.monotonic() - started < 1.5
    wire.let_pass()

    assert ask(far) == 1


def test_a_commit_without_an_answer_is_cut(far: Database, wire: Wire) -> None:
    started = time.monotonic()
    with pytest.raises(DatabaseUnavailable), far.transaction() as connection:
        connection.exec_driver_sql('SELECT 1')
        wire.hold()
    assert time.monotonic() - started < 1.5


def test_an_idle_connection_that_says_nothing_is_not_waited_for(
    far: Database, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ask(far) == 1
    monkeypatch.setattr(session_module, 'IDLE_SECONDS', 0)
    wire.hold()
    started = time.monotonic()
    with pytest.raises(DatabaseUnavailable):
        ask(far)
    assert time.monotonic() - started < 4


def test_all_who_wait_are_told(far: Database, wire: Wire) -> None:
    told = []

    def wait() -> None:
        try:
            with far.reading() as connection:
                met.wait(5)
                connection.exec_driver_sql('SELECT pg_sleep(20)')
        except DatabaseUnavailable as error:
            told.append(error)

    met = threading.Barrier(5)
    threads = [threading.Thread(target=wait) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(5)

    assert len(told) == 5


def test_a_connection_that_took_long_to_fail_is_not_tried_by_everybody(far: Database, wire: Wire) -> None:
    wire.hold()
    started = time.monotonic()
    with pytest.raises(DatabaseUnavailable):
        ask(far)
    waited = time.monotonic() - started
    with pytest.raises(DatabaseUnavailable, match='a moment ago'):
        ask(far)

    assert waited > 1
    assert time.monotonic() - started - waited < 0.5
    wire.let_pass()
    time.sleep(session_module.SLOW_SECONDS)
    assert ask(far) == 1


@pytest.fixture
def patient(far: Database, wire: Wire, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    """One that lets statements take long, and soon asks whether the server is there."""
    monkeypatch.setattr(patience_module, 'DOUBT_SECONDS', 0.3)
    monkeypatch.setattr(session_module, 'ASK_SECONDS', 2)
    database = Database.from_uri(far.engine.url.render_as_string(hide_password=False), statement_seconds=60)
    yield database
    wire.let_pass()
    database.dispose()


def test_a_server_that_answers_nobody_is_given_up_long_before_a_slow_statement(patient: Database, wire: Wire) -> None:
    assert ask(patient) == 1
    wire.hold()
    started = time.monotonic()
    with pytest.raises(DatabaseUnavailable):
        ask(patient)
    assert time.monotonic() - started < 5
    wire.let_pass()

    assert ask(patient) == 1


def test_a_slow_statement_of_a_server_that_answers_others_is_left_alone(patient: Database) -> None:
    with patient.reading() as connection:
        connection.exec_driver_sql('SELECT pg_sleep(2)')


def test_a_refused_connection_is_an_answer(patient: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **more: object) -> None:
        refused.append(more)
        raise psycopg2.OperationalError('FATAL: sorry, too many clients already')

    refused: list[object] = []
    assert ask(patient) == 1
    monkeypatch.setattr(psycopg2, 'connect', refuse)
    with patient.reading() as connection:
        connection.exec_driver_sql('SELECT pg_sleep(1)')

    assert refused
