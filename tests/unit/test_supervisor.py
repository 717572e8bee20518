from __future__ import annotations

import logging
import os
import signal
import socket
import types
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from wazo_webhookd import supervisor
from wazo_webhookd.config import from_tree
from wazo_webhookd.reload import Reload
from wazo_webhookd.supervisor import LEAVING, LOUD, QUIET, RELOAD, REPLACE, Supervisor, obey


class Process:
    """A worker process that ends when the test, or a signal, says so; ``line`` is its end of the line."""

    def __init__(self, arguments: Sequence[str], descriptor: int, pid: int) -> None:
        self.arguments = list(arguments)
        self.line = socket.socket(fileno=os.dup(descriptor))
        self.line.setblocking(False)
        self.pid = pid
        self.returncode: int | None = None
        self.signals: list[int] = []
        self.obeys = True

    def poll(self) -> int | None:
        return self.returncode

    def ends(self, code: int) -> None:
        self.returncode = code
        self.line.close()

    def told_to_leave(self) -> bool:
        try:
            return self.line.recv(1) == b''
        except BlockingIOError:
            return False

    def wait(self, timeout: float) -> int:
        import subprocess

        if self.returncode is None and self.obeys and self.told_to_leave():
            self.ends(0)
        if self.returncode is None:
            raise subprocess.TimeoutExpired('worker', timeout)
        return self.returncode

    def send_signal(self, number: int) -> None:
        self.signals.append(number)
        if number == signal.SIGKILL or self.obeys:
            self.ends(-number)


class House:
    """A supervisor whose processes and clock are the test's; rounds happen when it says so."""

    def __init__(self, **settings: Any) -> None:
        self.now = 100.0
        self.started: list[Process] = []
        celery = {'pool': 'threads', 'processes': 2, 'start_workers': True, **settings}
        config: Any = types.SimpleNamespace(
            celery=types.SimpleNamespace(**celery), config_file='/etc/x.yml', debug=True, shutdown_grace=0.05
        )
        self.deaths: list[int] = []
        self.supervisor = Supervisor(
            config,
            start=self.start,
            on_death=lambda pid, code: self.deaths.append(code),
            monotonic=lambda: self.now,  # type: ignore[arg-type]
        )

    def start(self, arguments: Sequence[str], descriptor: int) -> Process:
        self.started.append(Process(arguments, descriptor, 1000 + len(self.started)))
        return self.started[-1]

    def round(self, seconds: float = 0.0) -> None:
        self.now += seconds
        for key, _ in self.supervisor._selector.select(0):
            if key.data is not None:
                self.supervisor._read(key.data)
        self.supervisor._round()


@pytest.fixture
def house() -> Iterator[House]:
    house = House()
    house.round()
    yield house
    for process in house.started:
        if process.returncode is None:
            process.ends(0)
    house.supervisor.stop(0)


def test_workers_are_started_with_the_daemons_configuration(house: House) -> None:
    assert len(house.started) == 2
    assert house.supervisor.alive() == 2
    assert house.started[0].arguments[1:6] == ['-m', 'wazo_webhookd.bin.worker', '-c', '/etc/x.yml', '-d']
    assert house.started[0].arguments[-2] == '--line'


def test_worker_that_dies_is_started_again_with_back_off(house: House) -> None:
    waits = []
    for _ in range(9):
        house.started[-1].ends(-11)
        house.round()
        waited = 0.0
        count = len(house.started)
        while len(house.started) == count:
            house.round(0.25)
            waited += 0.25
        waits.append(waited)

    assert waits == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]
    assert house.deaths == [-11] * 9


def test_worker_that_lived_long_is_started_again_at_once(house: House) -> None:
    house.now += 60
    house.started[0].ends(1)
    house.round()

    assert len(house.started) == 3


def test_debugging_is_switched_for_workers_and_their_successors(house: House) -> None:
    heard = [process.line for process in house.started]
    house.supervisor.set_debug(True)
    house.started[0].ends(-9)
    house.round(60)
    heard.append(house.started[-1].line)
    house.supervisor.set_debug(False)

    assert [line.recv(64) for line in heard[1:]] == [LOUD + QUIET] * 2


def test_successors_go_by_a_configuration_read_later(house: House) -> None:
    house.supervisor.set_debug(True)
    house.supervisor.reload()
    house.started[0].ends(-9)
    house.round(60)
    house.supervisor.set_debug(False)

    assert house.started[-1].line.recv(64) == QUIET


@pytest.mark.parametrize(
    ('words', 'level'), [(LOUD, logging.DEBUG), (LOUD + QUIET, logging.ERROR), (QUIET + RELOAD + LOUD, logging.DEBUG)]
)
def test_worker_obeys_in_the_order_of_the_words(words: bytes, level: int) -> None:
    root = logging.getLogger()
    before = root.level
    reload = Reload(from_tree({'log_level': 'error'}))
    reload.subscribe(lambda config: root.setLevel(config.log_level))
    try:
        obey(words, reload)
        assert root.level == level
    finally:
        root.setLevel(before)


def test_worker_that_asks_to_be_replaced_is_no_failure(house: House) -> None:
    house.started[0].line.send(LEAVING)
    house.round()
    before = len(house.started)
    house.started[0].ends(REPLACE)
    house.round()

    assert before == 3  # its successor works while it finishes
    assert len(house.started) == 3
    assert house.supervisor.alive() == 2
    assert house.deaths == []


def test_worker_that_ends_to_be_replaced_is_replaced_at_once(house: House) -> None:
    house.started[0].ends(REPLACE)
    house.round()

    assert len(house.started) == 3


def test_suspects_get_their_process_while_there_are_some(house: House) -> None:
    house.supervisor.want_suspects(3)
    house.round()
    suspects = house.started[-1]
    during = house.supervisor.alive()
    house.supervisor.want_suspects(0)
    house.round()

    assert suspects.arguments[-3] == '--suspects'
    assert during == 2
    assert suspects.told_to_leave()


def test_suspects_process_that_dies_is_started_again(house: House) -> None:
    house.supervisor.want_suspects(1)
    house.round()
    house.started[-1].ends(-9)
    house.round()
    house.round(0.6)

    assert '--suspects' in house.started[-1].arguments
    assert len(house.started) == 4


def test_stopping_tells_all_to_leave_and_waits(house: House) -> None:
    house.supervisor.stop()

    assert [process.returncode for process in house.started] == [0, 0]
    assert all(process.signals == [] for process in house.started)


def test_worker_that_does_not_end_is_ended() -> None:
    house = House(processes=1)
    house.round()
    house.started[0].obeys = False
    house.supervisor.stop()

    assert house.started[0].signals == [signal.SIGTERM, signal.SIGKILL]


def test_process_that_cannot_be_started_is_tried_later() -> None:
    house = House(processes=1)
    real = house.supervisor._start_process

    def refuse(arguments: Sequence[str], descriptor: int) -> Any:
        raise OSError('no memory')

    house.supervisor._start_process = refuse
    house.round()
    house.supervisor._start_process = real
    early = len(house.started)
    house.round(0.6)

    assert (early, len(house.started)) == (0, 1)
    house.supervisor.stop(0)


@pytest.mark.parametrize(
    ('settings', 'count'),
    [
        ({'processes': 3}, 3),
        ({'processes': 0}, 4),
        ({'pool': 'prefork', 'processes': 3}, 1),
        ({'start_workers': False, 'processes': 3}, 0),
    ],
)
def test_number_of_workers(monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any], count: int) -> None:
    monkeypatch.setattr(supervisor.os, 'sched_getaffinity', lambda pid: set(range(16)))
    house = House(**settings)
    house.round()

    assert len(house.started) == count
    house.supervisor.stop()


def test_others_that_go_alone_wait_seconds_only_for_a_process_that_dies(house: House) -> None:
    house.supervisor.want_suspects(3)
    house.round()
    for _ in range(6):
        count = len(house.started)
        house.started[-1].ends(-11)
        house.round()
        for _ in range(4):
            house.round(1.0)

        assert len(house.started) == count + 1


def test_hurrying_tells_workers_twice(house: House) -> None:
    house.supervisor.hurry()

    assert house.started[0].signals == [signal.SIGTERM, signal.SIGINT]


def test_no_suspects_process_where_workers_run_elsewhere() -> None:
    house = House(start_workers=False)
    house.supervisor.want_suspects(2)
    house.round()

    assert house.started == []
    house.supervisor.stop()
