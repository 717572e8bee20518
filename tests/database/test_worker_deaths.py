"""The life of a worker that died ends at once."""

from __future__ import annotations

import logging
import socket
import threading

import pytest

from wazo_webhookd.database import processes
from wazo_webhookd.database.session import Database
from wazo_webhookd.worker_deaths import WorkerDeaths


def report(deaths: WorkerDeaths, pid: int) -> None:
    deaths.report(pid, -9)
    for thread in threading.enumerate():
        if thread.name == 'worker-death':
            thread.join(10)


def test_the_life_of_the_dead_worker_ends_and_no_other(database: Database) -> None:
    deaths = WorkerDeaths()
    deaths.attach(database)
    here = socket.gethostname()
    with database.transaction() as connection:
        for life, kind, host, pid in (
            ('dead', 'worker', here, 42),
            ('other', 'worker', here, 43),
            ('elsewhere', 'worker', 'far', 42),
            ('daemon', 'daemon', here, 42),
        ):
            processes.register(connection, life, kind, host, pid, 1)
    report(deaths, 42)

    with database.reading() as connection:
        assert {row.id for row in processes.living(connection)} == {'other', 'elsewhere', 'daemon'}


def test_a_death_before_there_is_a_database_needs_no_end() -> None:
    report(WorkerDeaths(), 42)


def test_a_death_while_the_database_is_away_is_left_to_silence(caplog: pytest.LogCaptureFixture) -> None:
    deaths = WorkerDeaths()
    deaths.attach(Database.from_uri('postgresql://u@127.0.0.1:1/d'))
    with caplog.at_level(logging.DEBUG):
        report(deaths, 42)

    assert 'noticed by its silence' in caplog.text
