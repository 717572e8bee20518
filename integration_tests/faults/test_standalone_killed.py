"""Standalone killed under load: the file is all it has."""

from __future__ import annotations

import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path

import psutil
import pytest
import requests

from integration_tests.faults.run import Run, delays
from integration_tests.support.auth_double import AuthDouble
from integration_tests.support.ports import free_port
from integration_tests.support.receiver import Receiver
from integration_tests.support.servers import Postgres, Rabbit
from integration_tests.support.site import Site
from integration_tests.support.until import until

pytestmark = pytest.mark.timeout(240)


class File:
    """What the data directory says."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / 'data' / 'webhookd.sqlite'

    def query(self, statement: str) -> list[tuple[str, ...]]:
        with closing(sqlite3.connect(f'file:{self._path}?mode=ro', uri=True, timeout=10)) as connection:
            return connection.execute(statement).fetchall()

    def recorded(self) -> set[str]:
        return {uuid for (uuid,) in self.query('SELECT uuid FROM webhookd_subscription_log')}

    def states(self) -> dict[str, int]:
        return Counter(state for (state,) in self.query('SELECT state FROM webhookd_delivery'))


def test_standalone_killed(tmp_path: Path, receiver: Receiver, size: str) -> None:
    events, kills = (120, 2) if size == 'short' else (500, 5)
    site = Site(tmp_path, Postgres(1), '', Rabbit(1), '/', AuthDouble(), receiver)
    file = File(tmp_path)
    port = free_port()
    run = Run(f'standalone killed with kill -9, {kills} times', size, site, recorded=file.recorded, states=file.states)
    with run, requests.Session() as session:
        run.callback(site.clean_up)
        receiver.answer('/x', *delays(run.chance, events, 0.1, 0.5))
        program = site.standalone(port=port)
        program.rest.subscribe(receiver.url('/x'), ['tick'])
        token = {'X-Auth-Token': program.rest.token}

        def send(number: int) -> bool:
            """A client without an answer sends again."""
            asked = 0

            def answered() -> bool:
                nonlocal asked
                asked += 1
                body = {'name': 'tick', 'data': {'number': number}}
                url = f'http://127.0.0.1:{port}/1.0/events'
                return session.post(url, json=body, headers=token, timeout=10).status_code == 202

            until(answered, 60, every=0.1, catching=requests.RequestException)
            return asked > 1

        load = run.send(send, events, 60)
        for number, moment in enumerate(run.moments(kills)):
            load.at(moment)
            run.kill(psutil.Process(program.pid))
            program.process.wait(10)
            program = site.standalone(f'standalone-{number}', port=port)
        run.finish(60)

        assert program.stop() == 0
