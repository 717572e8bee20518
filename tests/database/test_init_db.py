"""The command wazo-webhookd-init-db."""

from __future__ import annotations

import uuid
from types import SimpleNamespace

import psycopg2
import pytest
from psycopg2 import sql
from sqlalchemy import text
from sqlalchemy.engine import make_url

from tests.database.adopted import build
from wazo_webhookd.bin import init_db
from wazo_webhookd.database import facts, schema
from wazo_webhookd.database.session import Database

TODAYS = '3eb8e3fa4537'


@pytest.fixture
def place(server_uri):
    """Names that nobody uses yet; what was made under them is removed afterwards."""
    mark = uuid.uuid4().hex[:10]
    names = SimpleNamespace(server=server_uri, db=f'webhookd_test_{mark}', owner=f'webhookd "test" {mark}', more=[])

    def uri(user: str | None = None, password: str = 'it\'s "secret" %') -> str:
        url = make_url(server_uri).set(database=names.db)
        return (url.set(username=user, password=password) if user else url).render_as_string(hide_password=False)

    names.uri = uri
    names.options = ['--pg_db_uri', server_uri, '--webhookd_db_uri', uri(), '--db', names.db]
    yield names
    run(server_uri, sql.SQL('DROP DATABASE IF EXISTS {} WITH (FORCE)').format(sql.Identifier(names.db)))
    for role in (names.owner, *names.more):
        run(server_uri, sql.SQL('DROP ROLE IF EXISTS {}').format(sql.Identifier(role)))


def run(uri: str, *statements) -> list:
    connection = psycopg2.connect(uri)
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []
    finally:
        connection.close()


def command(place, *more: str) -> int:
    return init_db.main([*place.options, '--owner', place.owner, '--password', 'it\'s "secret" %', *more])


def owners(place) -> set[str]:
    found = run(place.uri(), "SELECT tableowner FROM pg_tables WHERE schemaname = 'public'")
    return {owner for (owner,) in found}


def test_everything_is_made_from_nothing(place, capsys):
    assert command(place) == 0
    assert capsys.readouterr() == ('', '')
    database = Database.from_uri(place.uri(place.owner))
    schema.check(database)
    with database.transaction() as connection:
        facts.bump(connection, 'index_version')
        assert connection.execute(text('SHOW server_encoding')).scalar_one() == 'UTF8'
        owner = (
            'SELECT rolname FROM pg_database JOIN pg_roles ON pg_roles.oid = datdba WHERE datname = current_database()'
        )
        assert connection.execute(text(owner)).scalar_one() == place.owner
    database.dispose()
    assert owners(place) == {place.owner}
    assert run(place.uri(), "SELECT extname FROM pg_extension WHERE extname = 'uuid-ossp'") == run(
        place.server, "SELECT name FROM pg_available_extensions WHERE name = 'uuid-ossp'"
    )


def test_again_changes_nothing(place, capsys):
    assert [command(place), command(place)] == [0, 0]
    assert capsys.readouterr() == ('', '')


def test_role_that_exists_keeps_its_password(place):
    password = "SELECT rolpassword FROM pg_authid WHERE rolname LIKE 'webhookd \"test%'"
    assert command(place) == 0
    before = run(place.server, password)
    assert command(place, '--password', 'another') == 0

    assert run(place.server, password) == before


def test_todays_database_is_brought_up_to_date_as_its_owner(place, capsys):
    """The owner is found out: nobody has to name it."""
    if not run(place.server, "SELECT FROM pg_roles WHERE rolname = 'asterisk'"):
        place.more.append('asterisk')  # is made, as ever
    role = sql.Identifier(place.owner)
    run(
        place.server,
        sql.SQL('CREATE ROLE {} LOGIN PASSWORD {}').format(role, sql.Literal('it\'s "secret" %')),
        sql.SQL('CREATE DATABASE {} OWNER {}').format(sql.Identifier(place.db), role),
    )
    todays = Database.from_uri(place.uri(place.owner))
    with todays.transaction() as connection:
        build(connection, TODAYS)

    assert init_db.main(place.options) == 0, capsys.readouterr().err
    schema.check(todays)
    todays.dispose()
    assert owners(place) == {place.owner}


def test_database_of_the_superuser_gets_tables_of_the_owner(place):
    """Made by hand beforehand, as in many a container."""
    run(place.server, sql.SQL('CREATE DATABASE {}').format(sql.Identifier(place.db)))

    assert command(place) == 0
    assert owners(place) == {place.owner}


def test_the_owner_itself_may_run_it(place):
    assert command(place) == 0
    run(place.uri(), 'UPDATE alembic_version_webhookd SET version_num = \'6c1f9a27d0b4\'')  # fmt: skip
    options = ['--pg_db_uri', place.uri(place.owner), '--webhookd_db_uri', place.uri(place.owner), '--db', place.db]

    assert init_db.main([*options, '--owner', place.owner]) == 0
    assert run(place.uri(), 'SELECT version_num FROM alembic_version_webhookd') == [(schema.HEAD,)]


def test_tables_of_somebody_else_are_named(place, capsys):
    other = f'webhookd_other_{place.db[-10:]}'
    place.more.append(other)
    assert command(place) == 0
    run(
        place.uri(),
        f'CREATE ROLE {other}',
        f'ALTER TABLE webhookd_subscription OWNER TO {other}',
        "UPDATE alembic_version_webhookd SET version_num = '3eb8e3fa4537'",
        'ALTER TABLE webhookd_subscription DROP COLUMN created_at CASCADE',
    )

    assert command(place) == 1
    said = capsys.readouterr().err
    assert 'Cannot create or change the tables: must be owner of table webhookd_subscription' in said
    assert '--owner' in said
    assert len(said.splitlines()) == 2


def test_user_who_may_not_create_roles_is_told(place, capsys):
    other = f'webhookd_other_{place.db[-10:]}'
    place.more.append(other)
    run(place.server, f'CREATE ROLE {other} LOGIN')
    poor = make_url(place.server).set(username=other).render_as_string(hide_password=False)

    assert command(place, '--pg_db_uri', poor) == 1
    said = capsys.readouterr().err
    assert 'Cannot create role and database: permission denied' in said
    assert 'superuser' in said


def test_server_that_does_not_answer_is_tried_forty_times(place, capsys, monkeypatch):
    pauses = []
    monkeypatch.setattr('time.sleep', pauses.append)
    options = init_db.parser().parse_args(['--pg_db_uri', 'postgresql://nobody@127.0.0.1:1/postgres'])
    with pytest.raises(Exception, match='Failed to connect to postgres'):
        init_db.run(options, sleep=pauses.append)

    assert pauses == [0.25] * 39


def test_server_that_does_not_answer_in_words(capsys, monkeypatch):
    monkeypatch.setattr(init_db, 'PAUSE_SECONDS', 0)

    assert init_db.main(['--pg_db_uri', 'postgresql://nobody@127.0.0.1:1/postgres']) == 1
    out, err = capsys.readouterr()
    assert out == ''
    assert err.startswith('wazo-webhookd-init-db: Failed to connect to postgres\n')
    assert 'Connection refused' in err


def test_server_that_answers_late_is_waited_for(place, monkeypatch):
    answers = iter([False, False, True])
    real = Database.reading

    def reading(self, **options):
        if self.engine.url.database == make_url(place.server).database and not next(answers, True):
            return real(Database.from_uri('postgresql://nobody@127.0.0.1:1/none'))
        return real(self, **options)

    monkeypatch.setattr(Database, 'reading', reading)
    monkeypatch.setattr(init_db, 'PAUSE_SECONDS', 0)

    assert command(place) == 0


def test_sqlite_needs_no_server(tmp_path, capsys):
    uri = f'sqlite:///{tmp_path / "x.sqlite"}'
    assert init_db.main(['--webhookd_db_uri', uri]) == 0
    assert capsys.readouterr() == ('', '')
    schema.check(Database.from_uri(uri))


def test_system_user_that_does_not_exist(capsys):
    assert init_db.main(['--user', 'nobody-of-this-name']) == 1
    assert 'Unknown user nobody-of-this-name' in capsys.readouterr().err


def test_uri_that_is_none(capsys):
    assert init_db.main(['--webhookd_db_uri', 'not a uri']) == 1
    assert '--webhookd_db_uri' in capsys.readouterr().err


def test_uri_that_is_none_is_shown_without_its_password(capsys):
    assert init_db.main(['--pg_db_uri', 'postgres//u:hunter2@h/db']) == 1
    assert "'********@h/db' is not the URI of a database" in capsys.readouterr().err


def test_unknown_option(capsys):
    with pytest.raises(SystemExit) as ended:
        init_db.main(['--nonsense'])

    assert ended.value.code == 2


def test_help_shows_examples_and_defaults(capsys):
    with pytest.raises(SystemExit) as ended:
        init_db.main(['--help'])

    assert ended.value.code == 0
    said = capsys.readouterr().out
    assert 'examples:' in said
    for default in ('postgresql:///postgres', 'postgresql:///asterisk', 'asterisk'):
        assert default in said
