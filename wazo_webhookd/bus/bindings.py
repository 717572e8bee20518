"""Keeps the bindings of the bus queue equal to the event names that somebody wants."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Final, Protocol

from sqlalchemy import Connection, delete, select, text

from ..database import facts
from ..database.models import BoundEvent, SubscriptionEvent
from ..database.session import Database
from ..exceptions import DatabaseUnavailable
from .consumer import BusConsumer, NotConnected

logger = logging.getLogger(__name__)

LOCK: Final = 0x77656268_62696E64
"""Advisory lock: shared by those who bind, exclusive for who removes."""

HANDLED: Final = 'handled_events'
"""Fact: {event name: Unix seconds at which some daemon said that it has a handler of its own for it}."""

AT_ONCE_SECONDS: Final = 1.0
AGAIN_SECONDS: Final = 60.0
SETTLE_SECONDS: Final = 1.0
HANDLED_SECONDS: Final = 200.0
REMOVED_AT_A_TIME: Final = 50

_bound = BoundEvent.__table__
_wanted = SubscriptionEvent.__table__


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
        if change.kind != 'created':
            self.sweep_soon()

    def ensure(self, names: Iterable[str]) -> bool:
        """Bind these names now, within about a second. False (never an exception): later, when the bus is there."""
        wanted = sorted(set(names))
        if not wanted:
            return True
        if not self._consumer.consumer_connected():
            return False
        try:
            with self._shared(time.monotonic() + AT_ONCE_SECONDS) as connection:
                known = set(connection.execute(select(_bound.c.name).where(_bound.c.name.in_(wanted))).scalars())
                missing = [name for name in wanted if name not in known]
                if missing:
                    self._remember(connection, missing)
                    self._consumer.ask_broker(lambda link: self._consumer.bind(link, missing), AT_ONCE_SECONDS)
            return True
        except (DatabaseUnavailable, NotConnected, TimeoutError) as error:
            logger.info('%d event names are bound a little later: %s', len(wanted), error)
        except Exception:
            logger.exception('%d event names could not be bound; trying again', len(wanted))
        self._rebind_wanted = True
        self._wake.set()
        return False

    def sweep_soon(self) -> None:
        """Somebody may not want a name any more."""
        self._sweep_wanted = True
        self._wake.set()

    # -- in the background ----------------------------------------------------------------------

    def bind_all(self) -> None:
        """Bind every name that subscriptions or handlers want, whether bound or not. Raises what goes wrong."""
        own = self._consumer.handler_names()
        self._say_handled(own)
        with self._shared(time.monotonic() + 5) as connection:
            names = own | set(connection.execute(select(_wanted.c.event_name).distinct()).scalars())
            self._remember(connection, sorted(names))
            self._consumer.ask_broker(lambda link: self._consumer.bind(link, names), 30)

    def sweep(self) -> int:
        """Unbind what nobody wants; returns how many names. Raises what goes wrong."""
        removed = 0
        while True:
            with self._exclusive(time.monotonic() + 5) as connection:
                handled = _handled(facts.get(connection, HANDLED)[1], time.time())
                kept = self._consumer.handler_names() | set(handled)
                unwanted = select(_bound.c.name).where(
                    _bound.c.name.not_in(select(_wanted.c.event_name)), _bound.c.name.not_in(sorted(kept))
                )
                names = list(connection.execute(unwanted.order_by(_bound.c.name).limit(REMOVED_AT_A_TIME)).scalars())
                if names:
                    self._consumer.ask_broker(partial(self._unbind, names=names), 5)
                    connection.execute(delete(_bound).where(_bound.c.name.in_(names)))
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
        self._rebind_wanted = True
        self._wake.set()

    def _unless_new(self, names: set[str]) -> None:
        """A handler was added: before the start that is early enough."""
        if self._thread is not None:
            self.ensure(names)
            self._rebind_wanted = True  # tells other daemons that the name has a handler
            self._wake.set()

    # -- in the database ------------------------------------------------------------------------

    def _unbind(self, link: Any, names: Iterable[str]) -> None:
        self._consumer.unbind(link, names)

    def _remember(self, connection: Connection, names: Iterable[str]) -> None:
        """Before binding: a name that is bound but not in the table would never be unbound."""
        now = self._database.now(connection)
        rows = [{'name': name, 'bound_at': now} for name in names if '\0' not in name]
        if rows:
            connection.execute(self._database.insert(_bound).on_conflict_do_nothing(), rows)

    def _say_handled(self, own: Iterable[str]) -> None:
        now = time.time()
        with self._database.transaction() as connection:
            facts.bump(connection, HANDLED)  # one at a time
            said = _handled(facts.get(connection, HANDLED)[1], now)
            said.update(dict.fromkeys(own, now))
            facts.put(connection, HANDLED, json.dumps(said, separators=(',', ':'), sort_keys=True))

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


def _handled(value: str | None, now: float) -> dict[str, float]:
    """The names that some daemon said it handles, not long ago."""
    said: dict[str, Any] = json.loads(value) if value else {}
    return {name: float(when) for name, when in said.items() if now - float(when) < HANDLED_SECONDS}
