"""What drivers and sockets say when the database is not there now, and how to let go of it."""

from __future__ import annotations

import select
import sqlite3
from contextlib import suppress
from typing import Any, Final

from sqlalchemy import Connection

# SQLSTATEs that say "not now" rather than "not this": connection (08), serialisation and deadlock (40), resources (53),
# lock time-out (55P03), intervention of the operator, cancelled (57), I/O (580), a standby that does not write (25006).
_STATES_LATER: Final = ('08', '40', '53', '55P03', '57', '580', '25006')
_SQLITE_LATER: Final = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_PROTOCOL,
    }
)


def is_unavailable(error: BaseException) -> bool:
    """Does this exception of a driver (psycopg2, sqlite3) say "not now", so that the same may work later?"""
    if isinstance(error, sqlite3.OperationalError):
        return getattr(error, 'sqlite_errorcode', sqlite3.SQLITE_ERROR) & 0xFF in _SQLITE_LATER
    names = {base.__name__ for base in type(error).__mro__}
    state = getattr(error, 'pgcode', None)
    if state is not None:
        return str(state).startswith(_STATES_LATER)
    # Without a state psycopg2 reports what the client library found: no connection, or one that broke.
    return type(error).__module__.startswith('psycopg2') and bool(names & {'OperationalError', 'InterfaceError'})


def first_line(error: BaseException) -> str:
    """What an error says, without its details."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def readable(descriptor: int) -> bool:
    """Does a socket have something to say, if only that it is closed?"""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN | select.POLLPRI)
    return bool(poll.poll(0))


def let_go(connection: Connection) -> None:
    """Close a connection that left the pool, lost or not. SQLAlchemy rolls back first, and logs a traceback at ERROR
    where that fails: nobody has to act."""
    if connection.closed or connection.invalidated:  # asking for its driver would open another
        return
    with suppress(Exception):
        driver: Any = connection.connection.dbapi_connection
        connection.invalidate()
        connection.close()
        driver.close()
