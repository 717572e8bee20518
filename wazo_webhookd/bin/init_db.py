"""The command ``wazo-webhookd-init-db``: role, database, extension and tables, whatever of it is missing."""

from __future__ import annotations

import argparse
import contextlib
import sys
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from wazo_webhookd import __version__

if TYPE_CHECKING:
    from wazo_webhookd.database.session import Database

ATTEMPTS: Final = 40
PAUSE_SECONDS: Final = 0.25
OWNER: Final = 'asterisk'
EXTENSION: Final = 'uuid-ossp'

DONE = 0
FAILED = 1

_EPILOG = """\
examples:
  wazo-webhookd-init-db --user postgres            as on a Wazo server, started as root
  wazo-webhookd-init-db --db hooks --owner hooks --password secret \\
      --pg_db_uri postgresql://postgres@db.example.com/postgres \\
      --webhookd_db_uri postgresql://postgres@db.example.com/hooks
  wazo-webhookd-init-db --webhookd_db_uri sqlite:////var/lib/hooks/webhookd.sqlite

What is there already stays as it is, but for tables of an older version: they are brought up to date.
Running it again changes nothing. It prints nothing when all is well.

exit codes:
  0  everything is there
  1  something could not be made: what, and what to do about it, is on standard error
  2  bad command line
"""


class _Problem(Exception):
    """Ends the command; the text is for the operator."""


def parser() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(
        prog='wazo-webhookd-init-db',
        description='Create the database of wazo-webhookd, or bring it up to date.',
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    options.add_argument('--user', help='system user to become first')
    options.add_argument(
        '--pg_db_uri',
        metavar='URI',
        default='postgresql:///postgres',
        help='where roles and databases are created (default: %(default)s)',
    )
    options.add_argument(
        '--webhookd_db_uri',
        metavar='URI',
        default='postgresql:///asterisk',
        help='where the tables are created (default: %(default)s)',
    )
    options.add_argument('--db', metavar='NAME', default='asterisk', help='database (default: %(default)s)')
    options.add_argument('--owner', metavar='ROLE', help=f'owner of database and tables (default: {OWNER})')
    options.add_argument(
        '--password', metavar='TEXT', default='proformatique', help="the owner's, when it is created here"
    )
    options.add_argument('--version', action='version', version=f'wazo-webhookd {__version__}')
    return options


def main(argv: Sequence[str] | None = None) -> int:
    """Create what is missing; return the exit code."""
    options = parser().parse_args(argv)
    from wazo_webhookd import users
    from wazo_webhookd.exceptions import WebhookdError

    try:
        users.become(options.user)
        run(options)
    except (_Problem, WebhookdError) as error:
        print(f'wazo-webhookd-init-db: {error}', file=sys.stderr)
        return FAILED
    return DONE


def run(options: argparse.Namespace, sleep: Callable[[float], None] = time.sleep) -> None:
    """Raises _Problem or WebhookdError with what to tell the operator."""
    from wazo_webhookd.database.session import Database

    target = _database(Database, '--webhookd_db_uri', options.webhookd_db_uri)
    if not target.is_sqlite:
        administration = _database(Database, '--pg_db_uri', options.pg_db_uri)
        _wait_for(administration, sleep)
        _allowed(
            'create role and database',
            '--pg_db_uri needs a superuser, or create both by hand',
            lambda: _create_database(administration, options.db, options.owner or OWNER, options.password),
        )
    _create_tables(target, options.owner)


def _database(kind: type[Database], option: str, uri: str) -> Database:
    from wazo_webhookd.masking import masked_uri

    try:
        return kind.from_uri(uri, pool_size=1, application_name='wazo-webhookd-init-db')
    except Exception as error:
        raise _Problem(f'{option}: {masked_uri(uri)!r} is not the URI of a database: {error}') from None


def _wait_for(database: Database, sleep: Callable[[float], None]) -> None:
    from wazo_webhookd.exceptions import DatabaseUnavailable

    for attempt in range(1, ATTEMPTS + 1):
        try:
            with database.reading():
                return
        except DatabaseUnavailable as error:
            if attempt == ATTEMPTS:
                raise _Problem(f'Failed to connect to postgres\n{error}') from None
        sleep(PAUSE_SECONDS)


def _create_database(database: Database, name: str, owner: str, password: str) -> None:
    from psycopg2 import sql

    with database.own_connection(autocommit=True) as connection:
        if not _exists(connection, 'SELECT FROM pg_roles WHERE rolname = %s', owner):
            role = sql.SQL('CREATE ROLE {} LOGIN PASSWORD {}')
            _execute(connection, role.format(sql.Identifier(owner), sql.Literal(password)))
        if not _exists(connection, 'SELECT FROM pg_database WHERE datname = %s', name):
            made = sql.SQL("CREATE DATABASE {} OWNER {} ENCODING 'UTF8' TEMPLATE template0")
            _execute(connection, made.format(sql.Identifier(name), sql.Identifier(owner)))


def _create_tables(database: Database, owner: str | None) -> None:
    from wazo_webhookd.database import schema

    role = None
    if not database.is_sqlite:
        with database.own_connection(autocommit=True) as connection:
            role = _role(connection, owner)
            _create_extension(connection)
            if role is not None:
                _make_room(connection, role)
    _allowed(
        'create or change the tables',
        f'they, the schema "public" and the database should belong to {role or "the user in --webhookd_db_uri"}, '
        f'or name another role with --owner',
        lambda: schema.upgrade(database, role=role),
    )


def _role(connection: Any, asked: str | None) -> str | None:
    """Whose the tables will be; None: the connected user's.

    The owner of the database, unless another one is asked for or that is a superuser, as whom no daemon should run.
    """
    row = connection.exec_driver_sql(
        'SELECT role.rolname, role.rolsuper, current_user FROM pg_database JOIN pg_roles AS role ON role.oid = datdba'
        ' WHERE datname = current_database()'
    ).one()
    role: str = asked or (OWNER if row.rolsuper else row.rolname)
    if role == row.current_user:
        return None
    member = 'SELECT FROM pg_roles WHERE rolname = %s AND pg_has_role(current_user, oid, %s)'
    return role if connection.exec_driver_sql(member, (role, 'MEMBER')).first() is not None else None


def _create_extension(connection: Any) -> None:
    """For the defaults of uuid columns, which programs of others may rely on; ours does without, so never mind."""
    from sqlalchemy import exc

    available = "SELECT FROM pg_available_extensions WHERE name = %s AND to_regprocedure('uuid_generate_v4()') IS NULL"
    if _exists(connection, available, EXTENSION):
        with contextlib.suppress(exc.ProgrammingError):  # not allowed
            connection.exec_driver_sql(f'CREATE EXTENSION IF NOT EXISTS "{EXTENSION}"')


def _make_room(connection: Any, role: str) -> None:
    """From PostgreSQL 15 on, only the owner of a database may create tables in it."""
    from psycopg2 import sql

    may = "SELECT FROM pg_namespace WHERE nspname = 'public' AND has_schema_privilege(%s, oid, 'CREATE')"
    if not _exists(connection, may, role):
        grant = sql.SQL('GRANT USAGE, CREATE ON SCHEMA public TO {}').format(sql.Identifier(role))
        _allowed('let the owner create tables', 'grant CREATE on schema public', lambda: _execute(connection, grant))


def _exists(connection: Any, query: str, value: str) -> bool:
    return connection.exec_driver_sql(query, (value,)).first() is not None


def _execute(connection: Any, statement: Any) -> None:
    with connection.connection.dbapi_connection.cursor() as cursor:
        cursor.execute(statement)


def _allowed(what: str, advice: str, work: Callable[[], None]) -> None:
    import psycopg2
    from sqlalchemy import exc

    try:
        work()
    except (exc.DBAPIError, psycopg2.Error) as error:
        said = str(getattr(error, 'orig', None) or error).strip().splitlines()[0]
        raise _Problem(f'Cannot {what}: {said}\n({advice})') from None


if __name__ == '__main__':
    sys.exit(main())
