"""The way to the database: connections, transactions, and one name for every trouble of reaching it."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

import sqlalchemy
from sqlalchemy import Connection, Engine, Table, event, exc
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL, make_url
from sqlalchemy.orm import Session

from ..domain import numbers
from ..exceptions import DatabaseUnavailable
from .patience import Patience
from .quick import QuickReads
from .trouble import first_line, is_unavailable, readable

CONNECT_SECONDS: Final = 5
"""How long opening a connection may take."""

ASK_SECONDS: Final = 3
"""How long a server that lets a statement wait may take to answer a new connection, to be believed to be there."""

SILENCE_SECONDS: Final = 15
"""A server that acknowledges nothing for this long counts as lost."""

SLOW_SECONDS: Final = 1.0
"""After a failure to connect that took longer, nobody tries again for as long: others need not wait for it too."""

LOCK_SECONDS: Final = 30
"""How long a writer waits for its turn (SQLite)."""

IDLE_SECONDS: Final = 30
"""A connection idle for longer is asked whether it lives; others only if their socket has something to say."""


WRITER: Final = 'wazo-webhookd'
"""Says to the triggers on subscriptions that whoever writes here tells the others by itself."""

_read_json: Final = partial(json.loads, parse_float=numbers.read)


class Database:
    """One database and its pool of connections, for all threads of a process. Nothing connects before the first use.

    Whatever keeps the database from being reached (server away, connection lost, pool exhausted, SQLite locked beyond
    LOCK_SECONDS) is raised as DatabaseUnavailable, by statements and by the context managers. What the database says
    about the data stays sqlalchemy.exc.DBAPIError and its children (IntegrityError, DataError, ProgrammingError).
    """

    def __init__(self, engine: Engine, is_sqlite: bool) -> None:
        self.engine = engine
        self.is_sqlite = is_sqlite
        self._turn = threading.Lock()
        self._silent_until = 0.0
        self.quick: QuickReads | None = None
        """Single reads without the pool; None on SQLite."""

    @classmethod
    def from_uri(
        cls,
        uri: str,
        *,
        pool_size: int = 10,
        application_name: str = 'wazo-webhookd',
        statement_seconds: float | None = None,
    ) -> Database:
        """``uri``: ``postgresql://…`` (psycopg2) or ``sqlite:////absolute/file``; parameters in it win over ours.

        ``statement_seconds``: a PostgreSQL that takes longer over a statement counts as lost; one that answers nobody
        meanwhile counts as lost after some seconds.
        """
        url = make_url(uri)
        if url.get_backend_name() == 'sqlite':
            return cls(_sqlite_engine(url, pool_size), is_sqlite=True)
        engine = _postgresql_engine(url, pool_size, application_name, statement_seconds)
        database = cls(engine, is_sqlite=False)
        database.quick = QuickReads(
            lambda: database.own_connection(autocommit=True), engine.dialect.do_execute, pool_size, IDLE_SECONDS
        )
        return database

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """A connection in a transaction: committed at the end of the block, rolled back when it raises.

        On SQLite one at a time, write lock taken at once; so never open one while waiting for something else.
        """
        if not self.is_sqlite:
            with self._connected() as connection, connection.begin():
                yield connection
            return
        if not self._turn.acquire(timeout=LOCK_SECONDS):
            raise DatabaseUnavailable('The database is locked.')
        try:
            with self._connected() as connection, connection.begin():
                yield connection
        finally:
            self._turn.release()

    @contextmanager
    def reading(self, *, snapshot: bool = False) -> Iterator[Connection]:
        """A connection for SELECTs, each of them its own transaction (nothing to begin or end: two round trips less).

        ``snapshot``: all of them see one state of the data instead (read only). ``stream_results`` needs it.
        """
        with self._connected() as connection:
            if self.is_sqlite:
                yield connection.execution_options(webhookd_begin='DEFERRED' if snapshot else None)
            elif snapshot:
                yield connection.execution_options(isolation_level='REPEATABLE READ', postgresql_readonly=True)
            else:
                with _autocommit(connection):
                    yield connection

    def session(self) -> Session:
        """A session of the ORM, for guests. Close it soon: on SQLite even a reading one holds the write lock."""
        return Session(self.engine, expire_on_commit=False)

    def own_connection(self, *, autocommit: bool = False) -> Connection:
        """A connection that leaves the pool for good, for session locks. Close it. Raises DatabaseUnavailable."""
        connection = self._connect()
        if autocommit and not self.is_sqlite:
            connection = connection.execution_options(isolation_level='AUTOCOMMIT')
        connection.detach()
        return connection

    def insert(self, table: Any) -> Any:
        """An INSERT of this database's dialect: it has ``on_conflict_do_nothing`` and ``on_conflict_do_update``."""
        table = getattr(table, '__table__', table)
        assert isinstance(table, Table)
        return sqlite.insert(table) if self.is_sqlite else postgresql.insert(table)

    def now(self, connection: Connection) -> datetime:
        """The database's clock, aware UTC (SQLite: this machine's, which is the same)."""
        if self.is_sqlite:
            return datetime.now(UTC)
        now: datetime = connection.exec_driver_sql('SELECT clock_timestamp()').scalar_one()
        return now.astimezone(UTC)

    def dispose(self) -> None:
        """Close the idle connections; those in use close when given back."""
        if self.quick is not None:
            self.quick.close()
        self.engine.dispose()

    def _connect(self) -> Connection:
        started = time.monotonic()
        if started < self._silent_until:
            raise DatabaseUnavailable('The database did not answer a moment ago.')
        try:
            return self.engine.connect()
        except (exc.TimeoutError, exc.DisconnectionError) as error:
            raise DatabaseUnavailable('No connection to the database is free.') from error
        except DatabaseUnavailable:
            now = time.monotonic()
            if now - started > SLOW_SECONDS:
                self._silent_until = now + SLOW_SECONDS
            raise

    @contextmanager
    def _connected(self) -> Iterator[Connection]:
        with self._connect() as connection:
            try:
                yield connection
            except exc.SQLAlchemyError as error:
                if connection.invalidated:  # the block went on after the connection was lost
                    raise DatabaseUnavailable('The connection to the database was lost.') from error
                raise


def _postgresql_engine(url: URL, pool_size: int, application_name: str, statement_seconds: float | None) -> Engine:
    if url.drivername in ('postgresql', 'postgres'):
        url = url.set(drivername='postgresql+psycopg2')
    arguments: dict[str, Any] = {
        'application_name': application_name,
        'connect_timeout': CONNECT_SECONDS,
        'keepalives_idle': SILENCE_SECONDS // 3,
        'keepalives_interval': SILENCE_SECONDS // 5,
        'keepalives_count': 3,
        'tcp_user_timeout': SILENCE_SECONDS * 1000,
    }
    arguments = {name: value for name, value in arguments.items() if name not in url.query}
    options = url.query.get('options', ())
    given = [options] if isinstance(options, str) else list(options)
    arguments['options'] = ' '.join([*given, '-c timezone=UTC', f'-c webhookd.writer={WRITER}'])
    engine = sqlalchemy.create_engine(
        url.difference_update_query(['options']),
        connect_args=arguments,
        pool_size=pool_size,
        max_overflow=2,
        pool_timeout=10,
        pool_use_lifo=True,
        executemany_mode='values_plus_batch',
        json_deserializer=_read_json,
    )
    ask = _ask
    if statement_seconds is not None:
        patience = Patience(statement_seconds, lambda: _says_nothing(engine, arguments))
        patience.watch(engine)
        event.listen(engine, 'engine_disposed', lambda _: patience.close())
        ask = patience.limited(_ask)
    event.listen(engine, 'checkin', _remember_use)
    event.listen(engine, 'checkout', lambda connection, record, _: _refuse_dead(connection, record, ask))
    event.listen(engine, 'handle_error', _translate)
    return engine


@contextmanager
def _autocommit(connection: Connection) -> Iterator[None]:
    """Asked of the driver, where it costs nothing; SQLAlchemy's isolation level costs a query to undo."""
    driver: Any = connection.connection.dbapi_connection
    driver.autocommit = True
    try:
        yield
    finally:
        if not driver.closed:
            driver.autocommit = False


def _remember_use(dbapi_connection: Any, record: Any) -> None:
    record.info['used'] = time.monotonic()


def _refuse_dead(dbapi_connection: Any, record: Any, ask: Callable[[Any], None]) -> None:
    """Notice a connection that the server closed while it lay in the pool; the pool then opens another."""
    used = record.info.pop('used', None)
    if used is None:  # just opened
        return
    try:
        if time.monotonic() - used < IDLE_SECONDS and not readable(dbapi_connection.fileno()):
            return
        ask(dbapi_connection)
    except Exception as error:
        raise exc.InvalidatePoolError('the server closed the connection') from error


def _ask(dbapi_connection: Any) -> None:
    """Raises what the driver raises when the connection is dead."""
    with dbapi_connection.cursor() as cursor:
        cursor.execute('SELECT 1')
    dbapi_connection.rollback()


def _says_nothing(engine: Engine, arguments: dict[str, Any]) -> bool:
    """Does the server leave a new connection without any answer? A refusal is one."""
    driver: Any = engine.dialect.dbapi
    positional, named = engine.dialect.create_connect_args(engine.url)
    started = time.monotonic()
    try:
        driver.connect(*positional, **{**named, **arguments, 'connect_timeout': ASK_SECONDS}).close()
    except driver.Error:
        return time.monotonic() - started > ASK_SECONDS / 2  # the client library counts in whole seconds
    return False


def _sqlite_engine(url: URL, pool_size: int) -> Engine:
    if not url.database or url.database == ':memory:':
        raise ValueError('an SQLite database has to be a file')
    engine = sqlalchemy.create_engine(
        url,
        connect_args={'check_same_thread': False, 'timeout': LOCK_SECONDS},
        pool_size=pool_size,
        max_overflow=10,
        pool_timeout=LOCK_SECONDS,
        json_deserializer=_read_json,
    )
    event.listen(engine, 'connect', _prepare_sqlite)
    event.listen(engine, 'begin', _begin_sqlite)
    event.listen(engine, 'handle_error', _translate)
    return engine


def _prepare_sqlite(dbapi_connection: Any, record: Any) -> None:
    dbapi_connection.isolation_level = None  # we say BEGIN ourselves
    for pragma in ('journal_mode=WAL', 'synchronous=FULL', 'foreign_keys=ON', f'busy_timeout={LOCK_SECONDS * 1000}'):
        dbapi_connection.execute(f'PRAGMA {pragma}')


def _begin_sqlite(connection: Connection) -> None:
    mode = connection.get_execution_options().get('webhookd_begin', 'IMMEDIATE')
    if mode is not None:
        connection.exec_driver_sql(f'BEGIN {mode}')


def _translate(context: Any) -> None:
    """Raise DatabaseUnavailable instead of what the driver said, where it says that the database is not there now."""
    original = context.original_exception
    if context.is_disconnect or is_unavailable(original):
        raise DatabaseUnavailable(f'The database cannot be reached: {first_line(original)}') from original
