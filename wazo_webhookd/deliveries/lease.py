"""The right to admit: one daemon has it, and only with it are rows marked out.

WebhookdError
└── NotHeld    this daemon does not admit (any more)
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from sqlalchemy import Connection

from ..database import admission as rows
from ..database.admission import Guard, State
from ..database.session import Database
from ..database.trouble import let_go
from ..exceptions import DatabaseUnavailable, WebhookdError

logger = logging.getLogger(__name__)


class NotHeld(WebhookdError):
    """Another daemon admits."""


class Lease(Protocol):
    """Intake and admitter use it in turn: inside ``turn`` nobody else of this process does."""

    @property
    def held(self) -> bool: ...

    @property
    def epoch(self) -> int:
        """Of the holder, if this daemon is it; one more with each that took it."""
        ...

    def take(self) -> bool:
        """Try to get it, without waiting. True if it was just got. Raises DatabaseUnavailable."""
        ...

    def turn(self) -> threading.Lock: ...

    def transaction(self, intake: Guard | None = None) -> AbstractContextManager[tuple[Connection, State]]:
        """Within ``turn``. Raises NotHeld, or DatabaseUnavailable; nothing is committed then (or nobody knows)."""
        ...

    def marking(self) -> AbstractContextManager[Connection]:
        """The same for a statement that asks for the epoch itself; call ``check`` when it finds nothing to do."""
        ...

    def check(self, connection: Connection) -> None:
        """Raises NotHeld if another daemon has taken over."""
        ...

    def close(self) -> None: ...


class SoleLease:
    """Standalone: nobody else can have it, the data directory is locked."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._turn = threading.Lock()
        self.held = False
        self.epoch = 1

    def turn(self) -> threading.Lock:
        return self._turn

    def take(self) -> bool:
        with self._database.reading() as connection:
            rows.state(connection)  # is there a database?
        taken, self.held = not self.held, True
        return taken

    @contextmanager
    def transaction(self, intake: Guard | None = None) -> Iterator[tuple[Connection, State]]:
        with self._database.transaction() as connection:
            yield connection, rows.state(connection)

    def marking(self) -> AbstractContextManager[Connection]:
        return self._database.transaction()

    def check(self, connection: Connection) -> None:
        """Nobody can."""

    def close(self) -> None:
        self.held = False


class SessionLease:
    """An advisory lock of a PostgreSQL session, and the epoch that each holder counts up.

    Rows are marked out on that session only, so that they cannot be once it is lost; and each such transaction checks
    the epoch and keeps it from changing, so that not even a mistake about the session could do harm.
    """

    def __init__(self, database: Database, life: str) -> None:
        self._database = database
        self._life = life
        self._turn = threading.Lock()
        self._connection: Connection | None = None
        self._announced = False
        self._epoch = 0

    @property
    def held(self) -> bool:
        return self._epoch > 0

    @property
    def epoch(self) -> int:
        return self._epoch

    def turn(self) -> threading.Lock:
        return self._turn

    def take(self) -> bool:
        if self.held:
            return False
        with self._turn:
            try:
                return self._take()
            except BaseException:
                self._drop()
                raise

    def _take(self) -> bool:
        if self._connection is None:
            self._connection = self._database.own_connection()
            self._announced = False
        connection = self._connection
        if not self._announced:
            with connection.begin():
                self._announced = rows.announce_session(connection, self._life)
            if not self._announced:  # the life has no row yet: who looked for the holder would not find it
                return False
        with connection.begin():
            epoch = rows.try_lock(connection)
        if epoch is not None:
            self._epoch = epoch
            logger.info('this daemon admits deliveries from now on (epoch %d)', epoch)
            return True
        with connection.begin():
            if rows.cut_off_dead_holder(connection):
                logger.warning('the daemon that admitted deliveries is dead or frozen: its session was ended')
        return False

    @contextmanager
    def transaction(self, intake: Guard | None = None) -> Iterator[tuple[Connection, State]]:
        with self.marking() as connection:
            state = rows.state(connection, fenced=True, intake=intake)
            if state.epoch != self._epoch:
                raise NotHeld
            yield connection, state

    @contextmanager
    def marking(self) -> Iterator[Connection]:
        connection = self._connection
        if connection is None or not self.held:
            raise NotHeld
        try:
            with connection.begin():
                yield connection
        except NotHeld:
            self._lose()
            raise
        except BaseException as error:
            if connection.closed or connection.invalidated or _is_closed(connection):
                self._lose()
                if not isinstance(error, DatabaseUnavailable) and isinstance(error, Exception):
                    raise DatabaseUnavailable('The connection to the database was lost.') from error
            raise

    def check(self, connection: Connection) -> None:
        if rows.state(connection, fenced=True).epoch != self._epoch:
            raise NotHeld

    def close(self) -> None:
        """Let it go, for another daemon to take at once."""
        with self._turn:
            self._drop()

    def _lose(self) -> None:
        if self.held:
            logger.warning('this daemon does not admit deliveries any more: it lost its session or another took over')
        self._drop()

    def _drop(self) -> None:
        self._epoch = 0
        connection, self._connection = self._connection, None
        if connection is not None:
            let_go(connection)


def _is_closed(connection: Connection) -> bool:
    try:
        return bool(getattr(connection.connection.dbapi_connection, 'closed', False))
    except Exception:
        return True


def lease_for(database: Database, life: str) -> Lease:
    return SoleLease(database) if database.is_sqlite else SessionLease(database, life)
