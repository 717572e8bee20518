"""Is the database's schema the one that this program needs, and bringing it up to date.

The migrations are Alembic's, in ``alembic/`` of a checkout and beside this module once installed.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, exc, text

from ..exceptions import SchemaBehind
from . import facts
from .session import Database

logger = logging.getLogger(__name__)

VERSION_TABLE: Final = 'alembic_version_webhookd'

REVISIONS: Final = (
    '1495b7c1224',
    '4a3e41acfb',
    '231d4dbd38',
    '57e36bf4269',
    '35b30e165f6',
    'f63e43dcf0ca',
    'cab8bbbdcfae',
    'df313e703ee8',
    'f573303305e5',
    '911ad0861ef5',
    '3eb8e3fa4537',  # the one of today's wazo-webhookd
    '6c1f9a27d0b4',
    'a90d4e6b31f7',
    'c4b7d2e91f38',
)
"""Every revision there has been, oldest first (known here too, so that looking needs no Alembic)."""

HEAD: Final = REVISIONS[-1]

LEVEL: Final = 1
"""A newer schema still works with this program while its fact ``schema`` is no higher: migrations are additive."""

COMMAND: Final = 'wazo-webhookd-init-db'
_ADVISORY_LOCK: Final = int.from_bytes(b'webhook^', 'big')
_LOCK_SECONDS: Final = 60


def check(database: Database) -> None:
    """Raise SchemaBehind, naming the command that helps, unless this program can work with the schema.

    One or two short queries. Raises DatabaseUnavailable when nobody can tell now.
    """
    try:
        with database.reading() as connection:
            found = set(connection.exec_driver_sql(f'SELECT version_num FROM {VERSION_TABLE}').scalars())
            if HEAD in found:
                return
            newer = bool(found) and not found & set(REVISIONS)
            required = facts.get(connection, 'schema')[0] if newer else 0
    except (exc.ProgrammingError, exc.OperationalError) as error:
        if 'denied' in str(error.orig):
            raise SchemaBehind(f'The tables belong to somebody else: {str(error.orig).strip()}') from None
        raise SchemaBehind(f'The database has no tables of wazo-webhookd: run {COMMAND}.') from None
    if not newer:
        at = ', '.join(sorted(found)) or 'empty'
        raise SchemaBehind(f'The schema of the database is behind ({at} instead of {HEAD}): run {COMMAND}.')
    if not 1 <= required <= LEVEL:
        at = ', '.join(sorted(found))
        raise SchemaBehind(
            f'The schema of the database ({at}) is newer than this program: install the newer wazo-webhookd, '
            f'or, when the database was made by something else, look at the table {VERSION_TABLE}.'
        )
    logger.info('The schema of the database (%s) is newer than this program and works with it.', ', '.join(found))


def upgrade(database: Database | str, *, role: str | None = None) -> None:
    """Run all missing migrations in one transaction; two that try at once take turns.

    ``role``: the PostgreSQL role to do it as, for a superuser (new tables belong to whoever makes them). Raises
    SchemaBehind when the database is at a revision that this program does not know, DatabaseUnavailable, and what the
    database says (sqlalchemy.exc.DBAPIError) when this user may not change the tables.
    """
    from alembic.config import Config
    from alembic.util import CommandError

    from alembic import command

    mine = Database.from_uri(database, pool_size=1) if isinstance(database, str) else None
    config = Config()
    config.set_main_option('script_location', str(migrations()).replace('%', '%%'))
    try:
        with exclusively(mine or database, role=role) as connection:  # type: ignore[arg-type]  # a str makes `mine`
            config.attributes['connection'] = connection
            command.upgrade(config, 'head')
    except CommandError as error:
        raise SchemaBehind(f'The schema of the database does not come from this program: {error}.') from error
    finally:
        if mine is not None:
            mine.dispose()


@contextmanager
def exclusively(database: Database, *, role: str | None = None) -> Iterator[Connection]:
    """A transaction for changing tables: the only such one, and not waiting for ever for those who use them."""
    with database.own_connection() as connection:
        if database.is_sqlite:
            # Else remaking a table for a change deletes what refers to it; works outside of transactions only.
            driver = connection.connection.dbapi_connection
            assert driver is not None
            driver.cursor().execute('PRAGMA foreign_keys=OFF')
        with connection.begin():
            if not database.is_sqlite:
                connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{_LOCK_SECONDS}s'")
                connection.exec_driver_sql(f'SELECT pg_advisory_xact_lock({_ADVISORY_LOCK})')
                if role is not None:
                    connection.execute(text("SELECT set_config('role', :role, true)"), {'role': role})
            yield connection


def migrations() -> Path:
    """Where the Alembic environment is: installed with the package, in the checkout, or put there by Debian."""
    package = Path(__file__).resolve().parent
    places = (package / 'migrations', package.parents[1] / 'alembic', Path('/usr/share/wazo-webhookd/alembic'))
    for place in places:
        if (place / 'env.py').is_file():
            return place
    raise SchemaBehind(f'The migrations are not installed: no env.py in any of {", ".join(map(str, places))}.')
