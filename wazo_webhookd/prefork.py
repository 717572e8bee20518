"""The worker with Celery's prefork pool: one delivery per process, for guests whose code cannot share one."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import threading
from collections.abc import Callable
from multiprocessing.sharedctypes import RawValue
from typing import Any, Final
from uuid import uuid4

from celery import signals
from celery.worker import state as celery_state

from wazo_webhookd import celery
from wazo_webhookd.attempts import runtime as runtimes
from wazo_webhookd.attempts.clock import Clock
from wazo_webhookd.attempts.consumer import Consumer
from wazo_webhookd.attempts.lives import Contact, Life, ProcessRegister
from wazo_webhookd.attempts.runtime import Parts, Runtime
from wazo_webhookd.config import Config
from wazo_webhookd.database.attempts import AttemptRows
from wazo_webhookd.database.session import Database
from wazo_webhookd.egress.client import EgressClient
from wazo_webhookd.reload import Reload
from wazo_webhookd.services.loader import Services
from wazo_webhookd.supervisor import obey
from wazo_webhookd.systemd import Manager, Watchdog
from wazo_webhookd.worker_guests import name_process, prepare, set_max_retries

logger = logging.getLogger(__name__)

STOPPED: Final = 0
SCHEMA_BEHIND: Final = 3
FLUSH_SECONDS: Final = 5.0


def run(config: Config, reload: Reload, *, line: socket.socket | None = None) -> int:
    """Work until SIGTERM, SIGINT or the end of the ``line`` to the daemon; returns the exit code."""
    return Parent(config, reload, line).run()


class Parent:
    """Feeds the pool; its life counts the processes as hands. Attempts happen in the children."""

    def __init__(self, config: Config, reload: Reload, line: socket.socket | None) -> None:
        self._config = config
        self._reload = reload
        self._manager = Manager.from_environment()
        self._line = line
        self._misfit: Exception | None = None
        self._signals = 0
        self._ready = False
        self._pool_ended = threading.Event()
        self._log_level = RawValue('i', logging.getLogger().level)
        self.life = str(uuid4())
        celery.configure(celery.app, config)
        self._database = Database.from_uri(
            config.db_uri, pool_size=2, application_name=f'{config.process_title}-worker'
        )
        self._services = Services(config)
        prepare(config, self._services, self._database, self.life)
        register = ProcessRegister(self._database, self.life, 'worker', socket.gethostname(), os.getpid())
        self._keeper = Life(
            self.life,
            register,
            AttemptRows(self._database),
            Clock(),
            Contact(lambda away: None).of('life'),
            capacity=lambda: (config.celery.worker_max if self._ready else 0, 0),
            on_misfit=self._on_misfit,
        )

    def run(self) -> int:
        config = self._config
        celery.app.runtime = Children(config, self._services, self._manager.alive)
        signals.setup_logging.connect(_leave_logging, weak=False)
        signals.task_prerun.connect(self._follow_log_level, weak=False)
        signals.worker_process_init.connect(_on_child, weak=False)
        signals.worker_process_shutdown.connect(_on_child_ends, weak=False)
        self._database.dispose()  # no connection of the parent in its children
        controller = celery.app.WorkController(
            pool='prefork',
            consumer_cls=Consumer,
            autoscale=(config.celery.worker_max, config.celery.worker_min),
            concurrency=max(config.celery.worker_min, 1),
            queues=[config.celery.queue_name],
            hostname=f'webhookd@{socket.gethostname()}',
            pidfile=_writable(config.celery.worker_pid_file) if self._line is not None else None,
            ready_callback=self._on_ready,
            loglevel=config.log_level,
            task_events=False,
            without_gossip=True,
            without_mingle=True,
            without_heartbeat=True,
        )
        signal.signal(signal.SIGTERM, self._on_signal)
        signal.signal(signal.SIGINT, self._on_signal)
        signal.signal(signal.SIGHUP, self._on_hangup)
        if self._line is not None:
            threading.Thread(target=self._listen, args=(self._line,), name='line', daemon=True).start()
        name_process(config, 'prefork')
        self._manager.ready('waiting for broker or database')
        controller.start()
        self._pool_ended.set()
        self._keeper.stop()
        if self._misfit is not None:
            raise self._misfit
        return STOPPED

    def _on_ready(self, consumer: Any) -> None:
        # Threads of the parent begin here: the first children are there by now, and hold none of their locks.
        self._ready = True
        if not self._keeper.is_alive():
            self._keeper.start()
            Watchdog(self._manager, {'life': lambda: self._keeper.beat}, lambda: 'working').start()

    def _on_hangup(self, number: int, frame: Any) -> None:
        threading.Thread(target=self._read_again, daemon=True).start()

    def _read_again(self) -> None:
        self._manager.reloading()
        self._reload()
        self._tell_log_level()
        self._manager.ready('working')

    def _tell_log_level(self) -> None:
        self._log_level.value = logging.getLogger().level

    def _follow_log_level(self, **_: Any) -> None:
        """In a child, before each attempt: log as the parent does by now."""
        if logging.getLogger().level != self._log_level.value:
            logging.getLogger().setLevel(self._log_level.value)

    def _on_signal(self, number: int, frame: Any) -> None:
        self._signals += 1
        if self._signals > 1:
            _kill_children_and_leave()
        self._leave(STOPPED)

    def _leave(self, code: int) -> None:
        celery_state.should_stop = code
        threading.Thread(target=self._end_in_time, name='end-in-time', daemon=True).start()

    def _end_in_time(self) -> None:
        if not self._pool_ended.wait(self._config.shutdown_grace + 2):
            logger.warning('attempts did not end in time; they will be made again')
            self._keeper.stop(1.0)
            _kill_children_and_leave()

    def _listen(self, line: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while said := line.recv(64):
                obey(said, self._reload)
                self._tell_log_level()
        self._leave(STOPPED)

    def _on_misfit(self, misfit: Exception) -> None:
        self._misfit = misfit
        self._leave(SCHEMA_BEHIND)


class Children:
    """``app.runtime`` before the fork: what a child makes its own from. In the parent nothing delivers.

    ``beat`` is called while the parent waits for the broker.
    """

    front = None
    solo = None

    def __init__(self, config: Config, services: Services, beat: Callable[[], None]) -> None:
        self.config = config
        self.services = services
        self.beat = beat

    def in_child(self) -> Runtime:
        config = self.config
        database = Database.from_uri(config.db_uri, pool_size=3, application_name=f'{config.process_title}-worker')
        life = str(uuid4())
        parts = Parts(
            app=celery.app,
            config=config,
            guest_config=config.tree,
            services=self.services,
            http=EgressClient(config.egress),
            rows=AttemptRows(database),
            register=ProcessRegister(database, life, 'worker', socket.gethostname(), os.getpid()),
            life=life,
            limit_of=config.service_timeout,
            on_misfit=lambda misfit: logger.error('%s', misfit),
        )
        # Whoever ran into its limit is recorded; the pool replaces the process.
        runtime = runtimes.solitary(parts, on_overdue=lambda: os._exit(1))
        set_max_retries(runtime.schedule.max_attempts)
        runtime.recorder.start()
        runtime.keeper.start()
        return runtime


def _leave_logging(**_: Any) -> None:
    """Celery sets logging up anew in each child, unless somebody listens to this signal."""


def _on_child(**_: Any) -> None:
    celery.app.runtime = celery.app.runtime.in_child()


def _on_child_ends(**_: Any) -> None:
    runtime = celery.app.runtime
    if isinstance(runtime, Runtime):
        runtime.recorder.flush(FLUSH_SECONDS)
        runtime.keeper.stop(1.0)


def _writable(pid_file: str | None) -> str | None:
    if pid_file and os.access(os.path.dirname(pid_file) or '.', os.W_OK):
        return pid_file
    return None


def _kill_children_and_leave() -> None:
    import billiard.process

    for child in billiard.process.active_children():
        with contextlib.suppress(ProcessLookupError, TypeError):
            os.kill(child.pid, signal.SIGKILL)
    logging.shutdown()
    os._exit(STOPPED)
