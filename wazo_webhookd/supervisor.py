"""The daemon's own workers: started, watched, started again, and ended with it."""

from __future__ import annotations

import contextlib
import logging
import os
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:
    from wazo_webhookd.reload import Reload

logger = logging.getLogger(__name__)

REPLACE: Final = 75
"""Exit code of a worker that wants to be replaced (EX_TEMPFAIL): no fault of the next one."""

LEAVING: Final = b'L'
"""What a worker writes on its line when it takes nothing more: its successor may start at once."""

SOON: Final = 0.5
LATE: Final = 30.0
SUSPECTS_LATE: Final = 4.0
"""The process for suspects is there to die: the others of them shall not wait for long."""

PROVEN_SECONDS: Final = 30.0
"""A worker that lived for longer is started again without delay."""

RELOAD: Final = b'R'
"""What the daemon writes on a worker's line when the configuration should be read again."""

LOUD: Final = b'D'
QUIET: Final = b'd'
"""Likewise: log everything; log as configured."""

ROUND_SECONDS: Final = 0.5
MOST_PROCESSES: Final = 4


class CelerySettings(Protocol):
    @property
    def pool(self) -> str: ...
    @property
    def processes(self) -> int: ...
    @property
    def start_workers(self) -> bool: ...


class Config(Protocol):
    @property
    def celery(self) -> Any: ...  # CelerySettings
    @property
    def config_file(self) -> str: ...
    @property
    def debug(self) -> bool: ...
    @property
    def shutdown_grace(self) -> float: ...


def obey(words: bytes, reload: Reload) -> None:
    """What a worker does when the daemon wrote this on its line."""
    for word in words:
        if word == RELOAD[0]:
            reload()
        elif word in LOUD + QUIET:
            level = logging.DEBUG if word == LOUD[0] else reload.config.quiet_log_level
            logging.getLogger().setLevel(level)
            logger.debug('everything is logged from now on')


def processes(settings: CelerySettings) -> int:
    """How many workers the daemon starts: one per core and at most four unless set; one parent for prefork."""
    if not settings.start_workers:
        return 0
    if settings.pool == 'prefork':
        return 1
    return settings.processes or min(len(os.sched_getaffinity(0)), MOST_PROCESSES)


def command(config: Config) -> list[str]:
    """The worker's command line, with what the daemon's said."""
    line = [sys.executable, '-m', 'wazo_webhookd.bin.worker']
    if config.config_file:
        line += ['-c', config.config_file]
    return [*line, '-d'] if config.debug else line


class Child:
    """One worker process and the line to it: the worker ends when the line does, whatever ends the daemon."""

    def __init__(self, process: subprocess.Popen[bytes], line: socket.socket, started: float) -> None:
        self.process = process
        self.line = line
        self.started = started
        self.leaving = False

    def tell(self, word: bytes) -> None:
        with contextlib.suppress(OSError):
            self.line.send(word)

    def tell_to_leave(self) -> None:
        with contextlib.suppress(OSError):
            self.line.shutdown(socket.SHUT_WR)

    def signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(number)


class Place:
    """Where one worker is wanted: who is there, and when the next one may start."""

    def __init__(self, name: str, arguments: Sequence[str], most_wait: float = LATE) -> None:
        self.name = name
        self.arguments = list(arguments)
        self.most_wait = most_wait
        self.child: Child | None = None
        self.wait = 0.0
        self.not_before = 0.0


class Supervisor:
    """``start()`` before any socket or engine of the daemon exists: children inherit none either way.

    One thread watches. ``on_death(pid, code)`` is told of workers that ended without being asked.
    """

    def __init__(
        self,
        config: Config,
        *,
        start: Callable[[Sequence[str], int], subprocess.Popen[bytes]] | None = None,
        on_death: Callable[[int, int], None] = lambda pid, code: None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._config = config
        self._command = command(config)
        self._start_process = start or _start_process
        self._on_death = on_death
        self._monotonic = monotonic
        self._places = [Place(f'worker {number + 1}', ()) for number in range(processes(config.celery))]
        self._suspects = Place('suspects', ('--suspects',), SUSPECTS_LATE)
        self._want_suspects = False
        self._loudness: bytes | None = None
        self._leaving: list[Child] = []
        self._lock = threading.RLock()
        self._stopping = False
        self._selector = selectors.DefaultSelector()
        self._ear, self._bell = socket.socketpair()
        self._ear.setblocking(False)
        self._selector.register(self._ear, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._watch, name='supervisor', daemon=True)

    def start(self) -> None:
        """Start the workers and the thread that watches them."""
        self._round()
        self._thread.start()

    def alive(self) -> int:
        """Workers that run now."""
        with self._lock:
            return sum(place.child is not None for place in self._places)

    def want_suspects(self, count: int) -> None:
        """Run the one-hand process for suspects while there are some. From any thread."""
        wanted = count > 0 and self._config.celery.start_workers
        if wanted != self._want_suspects:
            self._want_suspects = wanted
            self._ring()

    def stop(self, grace: float | None = None) -> None:
        """Let the workers finish what they have in hand, for at most ``grace`` seconds (and a few to end)."""
        with self._lock:
            self._stopping = True
            children = self._all()
            for child in children:
                child.tell_to_leave()
        self._ring()
        if self._thread.is_alive():
            self._thread.join(timeout=5)
        patience = self._config.shutdown_grace if grace is None else grace
        deadline = self._monotonic() + patience + 5
        for number, extra in ((None, 0.0), (signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0)):
            if number is not None:
                for child in children:
                    if child.process.poll() is None:
                        logger.warning('worker %d does not end: %s', child.process.pid, signal.Signals(number).name)
                        child.signal(number)
            if _wait_for(children, deadline + extra, self._monotonic):
                break
        for child in children:
            child.line.close()
        self._selector.close()
        self._ear.close()
        self._bell.close()

    def hurry(self) -> None:
        """The daemon was told a second time to end: so are the workers, by two signals that are not taken for one."""
        for child in self._all():
            child.signal(signal.SIGTERM)
            child.signal(signal.SIGINT)

    def reload(self) -> None:
        """Let the workers read their configuration again. From any thread."""
        self._loudness = None
        self._tell_all(RELOAD)

    def set_debug(self, debug: bool) -> None:
        """Let the workers, and those that take their places, log everything; or what the configuration says."""
        self._loudness = LOUD if debug else QUIET
        self._tell_all(self._loudness)

    def _tell_all(self, word: bytes) -> None:
        for child in self._all():
            child.tell(word)

    # -- the thread -----------------------------------------------------------------------------------

    def _watch(self) -> None:
        while not self._stopping:
            try:
                self._listen()
                self._round()
            except Exception:  # whoever watches must not be the one to fall
                logger.exception('in the supervisor')
                time.sleep(ROUND_SECONDS)

    def _listen(self) -> None:
        for key, _ in self._selector.select(ROUND_SECONDS):
            if key.data is None:
                with contextlib.suppress(BlockingIOError):
                    self._ear.recv(1024)
            else:
                self._read(key.data)

    def _read(self, child: Child) -> None:
        try:
            said = child.line.recv(64)
        except BlockingIOError:
            return
        except OSError:
            said = b''
        if LEAVING in said:
            child.leaving = True
        elif not said:
            with contextlib.suppress(KeyError):
                self._selector.unregister(child.line)

    def _round(self) -> None:
        with self._lock:
            if self._stopping:
                return
            for child in self._leaving[:]:
                if child.process.poll() is not None:
                    self._leaving.remove(child)
                    self._forget(child)
            for place in self._places:
                self._look_after(place, wanted=True)
            self._look_after(self._suspects, wanted=self._want_suspects)

    def _look_after(self, place: Place, *, wanted: bool) -> None:
        now = self._monotonic()
        child = place.child
        if child is not None and child.process.poll() is not None:
            self._bury(place, child, now, wanted)
        elif child is not None and child.leaving:
            logger.info('%s (process %d) finishes what it has and is replaced', place.name, child.process.pid)
            self._leaving.append(child)
            place.child = None
        if place.child is None and wanted and now >= place.not_before:
            self._fill(place, now)
        elif place.child is not None and not wanted:
            place.child.tell_to_leave()
            self._leaving.append(place.child)
            place.child = None

    def _bury(self, place: Place, child: Child, now: float, wanted: bool) -> None:
        code = child.process.returncode
        place.child = None
        self._forget(child)
        if not wanted:
            return
        if code == REPLACE or now - child.started > PROVEN_SECONDS:
            place.wait = 0.0
        else:
            place.wait = min(max(place.wait * 2, SOON), place.most_wait)
        place.not_before = now + place.wait
        logger.error(
            '%s (process %d) %s; the next one starts in %g s', place.name, child.process.pid, _how(code), place.wait
        )
        self._on_death(child.process.pid, code)

    def _fill(self, place: Place, now: float) -> None:
        ours, theirs = socket.socketpair()
        try:
            process = self._start_process(
                [*self._command, *place.arguments, '--line', str(theirs.fileno())], theirs.fileno()
            )
        except OSError as error:
            place.wait = min(max(place.wait * 2, SOON), place.most_wait)
            place.not_before = now + place.wait
            logger.error('%s cannot be started: %s', place.name, error)
            ours.close()
            return
        finally:
            theirs.close()
        ours.setblocking(False)
        place.child = Child(process, ours, now)
        if self._loudness is not None:
            place.child.tell(self._loudness)
        self._selector.register(ours, selectors.EVENT_READ, place.child)
        logger.info('%s started as process %d', place.name, process.pid)

    def _forget(self, child: Child) -> None:
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(child.line)
        child.line.close()

    def _all(self) -> list[Child]:
        with self._lock:
            places = [place.child for place in (*self._places, self._suspects) if place.child is not None]
            return [*places, *self._leaving]

    def _ring(self) -> None:
        with contextlib.suppress(OSError):
            self._bell.send(b'.')


def _start_process(line: Sequence[str], descriptor: int) -> subprocess.Popen[bytes]:
    # A session of its own: Ctrl-C in the daemon's terminal is the daemon's, which then ends its workers in order.
    return subprocess.Popen(line, stdin=subprocess.DEVNULL, pass_fds=[descriptor], start_new_session=True)


def _wait_for(children: Sequence[Child], deadline: float, monotonic: Callable[[], float]) -> bool:
    for child in children:
        try:
            child.process.wait(timeout=max(deadline - monotonic(), 0.01))
        except subprocess.TimeoutExpired:
            return False
    return True


def _how(code: int) -> str:
    if code < 0:
        try:
            return f'was ended by {signal.Signals(-code).name}'
        except ValueError:
            return f'was ended by signal {-code}'
    return f'ended with code {code}'
