"""The components of ``GET /status`` that nobody else speaks for: they ask when they are asked."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from .database import processes
from .database.session import Database
from .exceptions import DatabaseUnavailable
from .status import Status

logger = logging.getLogger(__name__)

BROKER_SECONDS: Final = 2
"""How long the task broker may take, and how long its last answer is believed."""

DATABASE_SECONDS: Final = 2.0
BUS_SECONDS: Final = 1.5
"""How long the database and the bus may take."""

WORKER_KIND: Final = 'worker'


class Bus(Protocol):
    def provide_status(self, status: Any) -> None: ...
    def answers(self) -> bool: ...


class Probe:
    """Does a server answer now? Known within ``seconds``, also when it says nothing: one thread waits then, and whoever
    asks meanwhile waits for the same one, if at all."""

    def __init__(self, answers: Callable[[], bool], seconds: float) -> None:
        """``answers`` may take longer."""
        self._answers = answers
        self._seconds = seconds
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._asked_at = 0.0
        self._answer = False

    def __call__(self) -> bool:
        with self._lock:
            if self._thread is None or not self._thread.is_alive():
                self._answer = False
                self._asked_at = time.monotonic()
                self._thread = threading.Thread(target=self._ask, name='probe', daemon=True)
                self._thread.start()
            thread = self._thread
            patience = self._asked_at + self._seconds - time.monotonic()
        thread.join(max(0.0, patience))
        return self._answer

    def _ask(self) -> None:
        self._answer = self._answers()


def database_probe(database: Database) -> Probe:
    return Probe(lambda: _is_reachable(database), DATABASE_SECONDS)


def bus_component(bus: Bus) -> Callable[[Status], None]:
    """``ok`` while the bus consumer runs and its broker answers."""
    answers = Probe(bus.answers, BUS_SECONDS)

    def provide_status(status: Status) -> None:
        bus.provide_status(status)
        if status['bus_consumer']['status'] == 'ok' and not answers():
            status['bus_consumer']['status'] = 'fail'

    return provide_status


def database_component(answers: Probe) -> Callable[[Status], None]:
    def provide_status(status: Status) -> None:
        status['database']['status'] = 'ok' if answers() else 'fail'

    return provide_status


def task_workers_component(database: Database, answers: Probe) -> Callable[[Status], None]:
    """``ok`` while at least one worker lives that has hands; also says how many there are."""

    def provide_status(status: Status) -> None:
        if not answers():
            status['task_workers']['status'] = 'fail'
            return
        try:
            with database.reading() as connection:
                workers = [row for row in processes.living(connection) if row.kind == WORKER_KIND]
        except DatabaseUnavailable:
            status['task_workers']['status'] = 'fail'
            return
        hands = sum(max(row.hands - row.written_off, 0) for row in workers)
        status['task_workers'].update(status='ok' if hands else 'fail', workers=len(workers), hands=hands)

    return provide_status


class TaskBrokerComponent:
    """``ok`` when a connection to Celery's broker can be opened."""

    def __init__(self, celery_app: Any, clock: Callable[[], float] = time.monotonic) -> None:
        self._app = celery_app
        self._clock = clock
        self._asking = threading.Lock()
        self._answer = False
        self._answered_at: float | None = None

    def provide_status(self, status: Status) -> None:
        status['task_broker']['status'] = 'ok' if self._is_reachable() else 'fail'

    def _is_reachable(self) -> bool:
        with self._asking:
            if self._answered_at is None or self._clock() - self._answered_at > BROKER_SECONDS:
                self._answer = self._connects()
                self._answered_at = self._clock()
            return self._answer

    def _connects(self) -> bool:
        options = {'read_timeout': BROKER_SECONDS, 'write_timeout': BROKER_SECONDS}
        try:
            with self._app.connection_for_write(connect_timeout=BROKER_SECONDS) as connection:
                connection.transport_options = {**(connection.transport_options or {}), **options}
                transport = connection.transport  # connect() would try a second and a third time
                transport.close_connection(transport.establish_connection())
        except Exception as error:
            logger.debug('The task broker cannot be reached: %s', type(error).__name__)
            return False
        return True


def services_component(broken: Callable[[], Mapping[str, str]]) -> Callable[[Status], None]:
    """There only while an enabled service cannot be used: ``broken`` says why, by name."""

    def provide_status(status: Status) -> None:
        reasons = broken()
        if reasons:
            status['services'].update(status='fail', broken=dict(reasons))

    return provide_status


def component(name: str, words: Callable[[], Mapping[str, Any]]) -> Callable[[Status], None]:
    """What ``words()`` says, as component ``name``."""

    def provide_status(status: Status) -> None:
        status[name].update(words())

    return provide_status


def _is_reachable(database: Database) -> bool:
    try:
        with database.reading() as connection:
            connection.exec_driver_sql('SELECT 1')
    except DatabaseUnavailable:
        return False
    return True
