"""Builds what makes attempts, runs it, and ends it without losing any: the worker program, and standalone's worker."""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final
from uuid import uuid4

from celery.worker import state as celery_state

from wazo_webhookd import celery, logs
from wazo_webhookd.attempts import runtime as runtimes
from wazo_webhookd.attempts.consumer import Consumer
from wazo_webhookd.attempts.departure import Departure
from wazo_webhookd.attempts.lives import ProcessRegister
from wazo_webhookd.attempts.pool import Pool
from wazo_webhookd.attempts.runtime import Front, Hear, Parts, Runtime
from wazo_webhookd.config import Config
from wazo_webhookd.database.attempts import AttemptRows
from wazo_webhookd.database.session import Database
from wazo_webhookd.egress.client import EgressClient
from wazo_webhookd.reload import Reload
from wazo_webhookd.services.loader import Services
from wazo_webhookd.supervisor import LEAVING, REPLACE, obey
from wazo_webhookd.systemd import Manager, Watchdog
from wazo_webhookd.worker_guests import import_tasks, name_process, prepare, set_max_retries

logger = logging.getLogger(__name__)

STOPPED: Final = 0
SCHEMA_BEHIND: Final = 3
BROKEN: Final = 70
CONNECTIONS: Final = 4
LEAVE_SECONDS: Final = 20.0
"""What leaving may take beyond the grace period: recording, acknowledging, a broker that takes nothing."""


def run(
    config: Config,
    *,
    hands: int | None = None,
    suspects: bool = False,
    line: int | None = None,
    reread: Callable[[], Config] | None = None,
) -> int:
    """Work until SIGTERM, SIGINT or the end of the ``line`` to the daemon; returns the exit code.

    ``line``: descriptor of a socket whose other end the daemon holds. ``reread`` reads the configuration again, on
    SIGHUP or when the daemon says so. Raises SchemaBehind.
    """
    reload = Reload(config, reread)
    reload.subscribe(logs.reload)
    if config.celery.pool == 'prefork' and not suspects:
        from wazo_webhookd import prefork

        return prefork.run(config, reload, line=None if line is None else socket.socket(fileno=line))
    hands = 1 if suspects else hands or config.celery.hands
    return Program(config, hands, reload, suspects=suspects, line=line).run()


class Program:
    """The worker as a process of its own."""

    def __init__(self, config: Config, hands: int, reload: Reload, *, suspects: bool, line: int | None) -> None:
        self._config = config
        self._reload = reload
        self._manager = Manager.from_environment()
        self._line = socket.socket(fileno=line) if line is not None else None
        self._misfit: Exception | None = None
        queue = config.celery.queue_name
        self._queue = celery.suspects_queue(queue) if suspects else queue
        celery.configure(celery.app, config)
        self._database = Database.from_uri(
            config.db_uri, pool_size=CONNECTIONS, application_name=f'{config.process_title}-worker'
        )
        life = str(uuid4())
        services = Services(config)
        self._worker = Worker(
            config,
            self._database,
            services,
            hands=hands,
            kind='suspects' if suspects else 'worker',
            life=life,
            on_misfit=self._on_misfit,
            on_worn_out=self._on_worn_out,
        )
        prepare(config, services, self._database, life)
        self._departure = self._worker.departure(self._stop_celery, config.shutdown_grace)

    def run(self) -> int:
        name_process(self._config, f'{self._worker.hands} hands')
        signal.signal(signal.SIGTERM, self._on_signal)
        signal.signal(signal.SIGINT, self._on_signal)
        signal.signal(signal.SIGHUP, self._on_hangup)
        if self._line is not None:
            threading.Thread(target=self._listen, args=(self._line,), name='line', daemon=True).start()
        logger.info('working with %d hands on queue %s', self._worker.hands, self._queue)
        self._manager.ready('starting')
        watchdog = Watchdog(self._manager, self._worker.beats(), self._worker.sentence)
        watchdog.start()
        self._worker.run(self._queue)
        watchdog.let_end()
        if not self._departure.begun:
            self._departure.begin(BROKEN)  # Celery gave up: its log says why
        code = self._departure.wait(self._config.shutdown_grace + 10)
        if self._misfit is not None:
            raise self._misfit
        logger.info('stopped')
        if self._worker.hanging:
            logging.shutdown()
            os._exit(code)  # threads that hang would not stop the interpreter from ending, but may crash it
        self._database.dispose()
        return code

    def _on_signal(self, number: int, frame: Any) -> None:
        # Nothing that locks: the handler may have interrupted whoever holds the lock.
        threading.Thread(target=self._stop, daemon=True).start()

    def _stop(self) -> None:
        self._manager.stopping(self._config.shutdown_grace + LEAVE_SECONDS)
        self._departure.begin(STOPPED, signal=True)

    def _on_hangup(self, number: int, frame: Any) -> None:
        threading.Thread(target=self._read_again, daemon=True).start()

    def _read_again(self) -> None:
        self._manager.reloading()
        self._reload()
        self._manager.ready(self._worker.sentence())

    def _listen(self, line: socket.socket) -> None:
        while True:
            try:
                said = line.recv(64)
                obey(said, self._reload)
                if said:
                    continue
            except InterruptedError:
                continue
            except OSError:
                pass
            break
        logger.info('the daemon ended, or told this worker to')
        self._departure.begin(STOPPED)

    def _on_worn_out(self) -> None:
        """Too many hands are lost: finish the others, and let another process take the place."""
        logger.error('too many attempts never returned: this worker finishes what it has and is replaced')
        self._say(LEAVING)
        self._departure.begin(REPLACE, grace=self._worker.longest)

    def _on_misfit(self, misfit: Exception) -> None:
        self._misfit = misfit
        self._departure.begin(SCHEMA_BEHIND)

    def _say(self, word: bytes) -> None:
        if self._line is not None:
            try:
                self._line.send(word)
            except OSError:
                logger.debug('the line to the daemon is gone')

    def _stop_celery(self) -> None:
        celery_state.should_stop = STOPPED
        self._worker.front.loop.call(lambda: None)  # wakes it, so that it looks
        # It may be stuck (in a send to a broker that takes nothing), and everything is recorded.
        timer = threading.Timer(5, self._departure.leave_hard)
        timer.daemon = True
        timer.start()


class Worker:
    """Attempts made by threads of this process, fed by Celery's consumer. ``run`` blocks."""

    def __init__(
        self,
        config: Config,
        database: Database,
        services: Services,
        *,
        hands: int,
        kind: str,
        life: str,
        on_misfit: Callable[[Exception], None],
        on_worn_out: Callable[[], None] = lambda: None,
        hear: Hear | None = None,
        on_hands: Callable[[], None] = lambda: None,
        http: Any = None,
    ) -> None:
        self._config = config
        self.hands = hands
        self._on_worn_out = on_worn_out
        self._worn_out = False
        parts = Parts(
            app=celery.app,
            config=config,
            guest_config=config.tree,
            services=services,
            http=http or EgressClient(config.egress),
            rows=AttemptRows(database),
            register=ProcessRegister(database, life, kind, socket.gethostname(), os.getpid(), on_hands=on_hands),
            life=life,
            limit_of=lru_cache(maxsize=256)(config.service_timeout),
            on_misfit=on_misfit,
            on_lost_hand=self._look_at_hands,
            hear=hear,
        )
        self.runtime: Runtime = runtimes.with_hands(parts, hands)
        celery.app.runtime = self.runtime

    @property
    def front(self) -> Front:
        front = self.runtime.front
        assert front is not None
        return front

    @property
    def longest(self) -> float:
        """Seconds after which every attempt under way has ended or was given up."""
        timeouts = [service.timeout for service in self._config.services.values()]
        return max([*timeouts, self._config.service_timeout('')]) + 5

    @property
    def hanging(self) -> bool:
        """Does a hand still run something?"""
        hands = self.front.desk.hands
        return bool(hands.busy or hands.lost)

    def beats(self) -> dict[str, Callable[[], float]]:
        """For each main loop, when it last came round."""
        loop, recorder, keeper = self.front.loop, self.runtime.recorder, self.runtime.keeper

        def broker() -> float:
            loop.call(lambda: None)  # an idle one sleeps until somebody calls
            return loop.beat

        return {'recorder': lambda: recorder.beat, 'life': lambda: keeper.beat, 'broker': broker}

    def sentence(self) -> str:
        """How things are, for ``systemctl status``."""
        hands = self.front.desk.hands
        state = f'{hands.busy} of {hands.count} hands busy'
        return state if self.front.switch.consuming else f'{state}, waiting for broker or database'

    def departure(self, stop: Callable[[], None], grace: float) -> Departure:
        return Departure(self.runtime, stop, grace)

    def run(self, queue: str) -> None:
        """Until the event loop is told to end (``departure``)."""
        set_max_retries(self.runtime.schedule.max_attempts)
        self.runtime.recorder.start()
        self.runtime.keeper.start()
        self.runtime.controller = controller = celery.app.WorkController(
            pool=Pool,
            consumer_cls=Consumer,
            concurrency=self.hands,
            queues=[queue],
            hostname=f'webhookd-{os.getpid()}@{socket.gethostname()}',
            loglevel=self._config.log_level,
            task_events=False,
            without_gossip=True,
            without_mingle=True,
            without_heartbeat=True,
        )
        controller.start()

    def _look_at_hands(self) -> None:
        hands = self.front.desk.hands
        if not self._worn_out and hands.lost * 4 >= hands.count:
            self._worn_out = True
            self._on_worn_out()


class InProcessWorker:
    """Standalone's worker: the same, on Celery's in-memory transport, in threads of the daemon's process."""

    def __init__(
        self,
        config: Config,
        database: Database,
        services: Services,
        hear: Hear,
        *,
        on_hands: Callable[[], None] = lambda: None,
        http: Any = None,
        hands: int = 0,
    ) -> None:
        """``hear``: takes the words after each commit; ``on_hands``: called when there are more hands or fewer.

        The services are loaded by the daemon.
        """
        celery.configure(celery.app, config, standalone=True)
        import_tasks(config)
        self.life = str(uuid4())
        self._queue = config.celery.queue_name
        self._worker = Worker(
            config,
            database,
            services,
            hands=hands or config.celery.hands,
            kind='worker',
            life=self.life,
            on_misfit=lambda misfit: logger.error('%s', misfit),
            hear=hear,
            on_hands=on_hands,
            http=http,
        )
        self._departure = self._worker.departure(self._end, config.shutdown_grace)
        self._thread = threading.Thread(target=self._worker.run, args=(self._queue,), name='worker', daemon=True)

    @property
    def runtime(self) -> Runtime:
        return self._worker.runtime

    def start(self) -> None:
        self._thread.start()

    def alive(self) -> int:
        """1 while it works."""
        return int(self._thread.is_alive())

    def want_suspects(self, count: int) -> None:
        """Suspects run here too, while nothing else is out (the admitter sees to that)."""

    def hurry(self) -> None:
        self._departure.begin(STOPPED, signal=True)

    def stop(self, grace: float | None = None) -> None:
        """Finish what is in hand for at most ``grace`` seconds, record it, and end."""
        self._departure.begin(STOPPED, grace=grace)
        self._departure.wait((self._departure.grace if grace is None else grace) + 10)
        self._thread.join(timeout=3)

    def _end(self) -> None:
        self._worker.front.switch.ended = True
