"""Keeps the bindings of the bus queue equal to the event names that somebody wants."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final, Protocol

from sqlalchemy import Connection, text

from ..database import bindings as rows
from ..database.session import Database
from ..exceptions import DatabaseUnavailable
from .consumer import BusConsumer, NotConnected

logger = logging.getLogger(__name__)

LOCK: Final = 0x77656268_62696E64
"""Advisory lock: shared by those who bind, exclusive for who removes."""

AT_ONCE_SECONDS: Final = 1.0
AGAIN_SECONDS: Final = 60.0
SETTLE_SECONDS: Final = 1.0
REMOVED_AT_A_TIME: Final = 50


class Change(Protocol):
    """What is heard of a change of subscriptions."""

    @property
    def names(self) -> Iterable[str]: ...

    @property
    def kind(self) -> str: ...

    @property
    def remote(self) -> bool: ...


class Bindings:
    """Names are bound right after the commit that wants them, and unbound when the database says that nobody does.

    The table of bound names tells all daemons what is bound. Who binds holds a lock together with others; who removes
    holds it alone and asks the database under it, so that a name wanted a moment ago is never removed.
    """

    def __init__(self, database: Database, consumer: BusConsumer) -> None:
        self._database = database
        self._consumer = consumer
        self._local = threading.Lock()  # in the place of PostgreSQL's lock on SQLite
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._sweep_wanted = False
        self._rebind_wanted = False
        self._thread: threading.Thread | None = None
        consumer.on_connected = self._on_connected
        consumer.on_names_added = lambda names: self._unless_new(names)
        consumer.on_names_left = lambda names: self.sweep_soon()

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name='bus-bindings', daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(5)

    def on_change(self, change: Change) -> None:
        """Observer of the change feed. Other daemons bind what they wrote themselves."""
        if not change.remote and change.names:
            self.ensure(change.names)
        if change.kind == 'reload':  # whatever changed is not known
            self._bind_soon()
        elif change.kind != 'created':
            self.sweep_soon()

    def ensure(self, names: Iterable[str]) -> bool:
        """Bind these names now, within about a second. False (never an exception): later, when the bus is there."""
        wanted = sorted(set(names))
        if not wanted:
            return True
        if not self._consumer.consumer_connected():
            return False
        try:
            with self._shared(time.monotonic() + AT_ONCE_SECONDS / 2) as connection:
                missing = set(wanted) - rows.bound(connection, wanted)
                if missing:
                    rows.say_bound(connection, self._database, missing)
                    self._ask_to_bind(missing, AT_ONCE_SECONDS / 2, begun_timeout=AT_ONCE_SECONDS / 2)
            return True
        except (DatabaseUnavailable, NotConnected, TimeoutError) as error:
            logger.info('%d event names are bound without the others knowing yet: %s', len(wanted), error)
        except Exception:
            logger.exception('%d event names could not be bound; trying again', len(wanted))
        self._bind_soon()
        with suppress(Exception):  # who removes may be frozen while it holds the lock; binding is harmless
            self._ask_to_bind(wanted, AT_ONCE_SECONDS / 4, begun_timeout=AT_ONCE_SECONDS / 4)
            return True
        return False

    def sweep_soon(self) -> None:
        """Somebody may not want a name any more."""
        self._sweep_wanted = True
        self._wake.set()

    # -- in the background ----------------------------------------------------------------------

    def bind_all(self) -> None:
        """Bind every name that subscriptions or handlers want, whether bound or not. Raises what goes wrong."""
        own = self._consumer.handler_names()
        with self._database.transaction() as connection:
            rows.say_handled(connection, own, time.time())
        with self._shared(time.monotonic() + 5) as connection:
            names = own | rows.wanted(connection)
            rows.say_bound(connection, self._database, names)
            self._ask_to_bind(names, 30)

    def sweep(self) -> int:
        """Unbind what nobody wants; returns how many names. Raises what goes wrong."""
        removed = 0
        while True:
            with self._exclusive(time.monotonic() + 5) as connection:
                kept = self._consumer.handler_names() | rows.handled(connection, time.time())
                names = rows.unwanted(connection, kept, REMOVED_AT_A_TIME)
                if names:
                    self._ask_to_unbind(names, 5)
                    rows.say_unbound(connection, names)
            removed += len(names)
            if len(names) < REMOVED_AT_A_TIME:
                return removed

    def _run(self) -> None:
        next_bind = 0.0
        while not self._stopping.is_set():
            self._wake.wait(max(0.1, min(AGAIN_SECONDS, next_bind - time.monotonic())))
            if self._stopping.wait(SETTLE_SECONDS if self._sweep_wanted else 0):  # let a burst of deletions pass
                return
            self._wake.clear()
            if not self._consumer.consumer_connected():
                self._stopping.wait(0.5)
                continue
            try:
                if self._rebind_wanted or time.monotonic() >= next_bind:
                    self._rebind_wanted = False
                    next_bind = time.monotonic() + AGAIN_SECONDS
                    self.bind_all()
                    self._sweep_wanted = True
                if self._sweep_wanted:
                    self._sweep_wanted = False
                    removed = self.sweep()
                    if removed:
                        logger.info('%d event names that nobody wants any more were unbound', removed)
            except (DatabaseUnavailable, NotConnected, TimeoutError) as error:
                logger.info('bindings are looked after a little later: %s', error)
                self._rebind_wanted = True
                self._stopping.wait(2)
                self._wake.set()
            except Exception:
                logger.exception('bindings could not be looked after; trying again')
                self._rebind_wanted = True
                self._stopping.wait(5)
                self._wake.set()

    def _on_connected(self) -> None:
        self._bind_soon()

    def _bind_soon(self) -> None:
        self._rebind_wanted = True
        self._wake.set()

    def _unless_new(self, names: set[str]) -> None:
        """A handler was added: before the start that is early enough."""
        if self._thread is not None:
            self.ensure(names)
            self._bind_soon()  # tells other daemons that the name has a handler

    # -- in the database ------------------------------------------------------------------------

    def _ask_to_bind(self, names: Iterable[str], timeout: float, begun_timeout: float | None = None) -> None:
        """Binding that goes on after a TimeoutError does no harm."""
        self._consumer.ask_broker(lambda link: link.bind(names), timeout, begun_timeout=begun_timeout)

    def _ask_to_unbind(self, names: Iterable[str], timeout: float) -> None:
        self._consumer.ask_broker(lambda link: link.unbind(names), timeout)

    def _shared(self, deadline: float) -> Any:
        return self._locked('pg_try_advisory_lock_shared', 'pg_advisory_unlock_shared', deadline)

    def _exclusive(self, deadline: float) -> Any:
        return self._locked('pg_try_advisory_lock', 'pg_advisory_unlock', deadline)

    @contextmanager
    def _locked(self, take: str, give: str, deadline: float) -> Iterator[Connection]:
        """A connection that holds the lock and no transaction, so that waiting for the broker holds up nobody else."""
        if self._database.is_sqlite:
            if not self._local.acquire(timeout=max(0.0, deadline - time.monotonic())):
                raise TimeoutError('another one is looking after the bindings')
            try:
                with self._database.transaction() as connection:
                    yield connection
            finally:
                self._local.release()
            return
        with self._database.reading() as connection:
            while not connection.execute(text(f'SELECT {take}({LOCK})')).scalar_one():
                if time.monotonic() > deadline:
                    raise TimeoutError('another one is looking after the bindings')
                time.sleep(0.02)
            try:
                yield connection
            finally:
                if not connection.invalidated:
                    connection.execute(text(f'SELECT {give}({LOCK})'))
