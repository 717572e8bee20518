"""The command wazo-webhookd-sync-db: what belongs to nobody goes, and nothing else ever."""

from __future__ import annotations

import logging
from uuid import uuid4

import pytest
import yaml
from sqlalchemy import insert

from integration_tests.support.auth_double import MASTER as MASTER_TENANT
from integration_tests.support.auth_double import SERVICE, AuthDouble
from wazo_webhookd.bin import sync_db
from wazo_webhookd.bin.sync_db import Gone, Refusal, find_gone
from wazo_webhookd.database import facts, outbox
from wazo_webhookd.database.models import SubscriptionLog
from wazo_webhookd.domain.subscription import MASTER
from wazo_webhookd.exceptions import DatabaseUnavailable
from wazo_webhookd.subscriptions.service import SubscriptionService

# -- the rule -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('owners', 'expected'),
    [
        ({}, Gone([], [], 0)),
        ({('t', None, None): 5, ('t', 'u', 'u'): 1}, Gone([], [], 0)),
        ({('gone', None, None): 5}, Gone(['gone'], [], 5)),
        ({('t', 'gone', None): 2}, Gone([], ['gone'], 2)),
        ({('t', None, 'gone'): 3}, Gone([], ['gone'], 3)),
        ({('t', 'u', 'gone'): 3}, Gone([], ['gone'], 3)),
        ({('lost', 'gone', None): 1, ('t', 'gone', None): 1}, Gone(['lost'], ['gone'], 2)),
        ({('T', 'U', None): 1}, Gone([], [], 0)),
        ({(MASTER, None, None): 1}, Gone([], [], 0)),
    ],
    ids=[
        'nothing stored',
        'everybody known',
        'tenant gone',
        'owner gone',
        'user of the events gone',
        'one of two users gone',
        'tenant and user gone',
        'capital letters',
        'master tenant not known yet',
    ],
)
def test_who_is_gone(owners, expected):
    assert find_gone(owners, ['t'], ['u']) == expected


@pytest.mark.parametrize(('tenants', 'users', 'word'), [([], ['u'], 'tenant'), (['t'], [], 'user')])
def test_empty_answers_are_refused(tenants, users, word):
    with pytest.raises(Refusal, match=f'not a single {word}'):
        find_gone({('t', None, None): 1}, tenants, users)


@pytest.mark.parametrize(
    'answer',
    [
        {},
        {'items': None},
        {'items': [{'uuid': 'a'}, {'name': 'b'}]},
        {'items': [{'uuid': 'a'}], 'total': 2},
        {'items': [{'uuid': 'a'}], 'total': 1, 'filtered': 2},
    ],
)
def test_strange_and_partial_answers_are_refused(answer):
    with pytest.raises(Refusal):
        sync_db._uuids('users', answer)


# -- the work -----------------------------------------------------------------------------------


class Authority:
    def __init__(self, tenants, users) -> None:
        self._tenants, self._users = set(tenants), set(users)

    def tenants(self):
        return self._tenants

    def users(self):
        return self._users


@pytest.fixture
def service(database):
    return SubscriptionService({'db_uri': database.engine.url.render_as_string(hide_password=False), 'uuid': 'wazo'})


@pytest.fixture
def stored(service):
    """One of each kind; names say what should happen when tenant ``t`` and user ``u`` are left."""
    kinds = {
        'kept': {'owner_tenant_uuid': 't'},
        "kept, a user's": {'owner_tenant_uuid': 't', 'owner_user_uuid': 'u', 'events_user_uuid': 'u'},
        'tenant gone': {'owner_tenant_uuid': 'gone tenant'},
        'owner gone': {'owner_tenant_uuid': 't', 'owner_user_uuid': 'gone user'},
        'events of a user gone': {'owner_tenant_uuid': 't', 'events_user_uuid': 'gone user'},
        'both gone': {'owner_tenant_uuid': 'gone tenant', 'owner_user_uuid': 'gone user'},
    }
    base = {'service': 'http', 'events': ['e'], 'config': {'url': 'http://x', 'method': 'get'}}
    return {name: service.create({'name': name, **base, **more}).uuid for name, more in kinds.items()}


def left(service) -> set[str]:
    return {one.name for one in service.list()}


def outbox_names(database) -> list[str]:
    with database.reading() as connection:
        return [row.name for row in outbox.take(connection, None)]


def test_what_belongs_to_nobody_is_deleted(database, service, stored):
    summary = sync_db.synchronise(database, Authority({'t'}, {'u'}), service)

    assert left(service) == {'kept', "kept, a user's"}
    assert summary == 'Deleted 4 subscriptions of 1 tenant and 1 user that wazo-auth no longer has.'


def test_daemons_and_bus_are_told(database, service, stored):
    with database.transaction() as connection:
        outbox.done(connection, [row.id for row in outbox.take(connection, None)])
        before, _ = facts.get(connection, 'index_version')
    sync_db.synchronise(database, Authority({'t'}, {'u'}), service)

    assert sorted(outbox_names(database)) == [
        'webhookd_subscription_deleted',
        'webhookd_subscription_deleted',
        'webhookd_user_subscription_deleted',
        'webhookd_user_subscription_deleted',
    ]
    with database.reading() as connection:
        assert facts.get(connection, 'index_version')[0] > before


def test_logs_go_along(database, service, stored):
    with database.transaction() as connection:
        connection.execute(
            insert(SubscriptionLog.__table__),
            [
                {'uuid': str(uuid4()), 'subscription_uuid': stored[name], 'attempts': 1}
                for name in ('kept', 'owner gone')
            ],
        )
    sync_db.synchronise(database, Authority({'t'}, {'u'}), service)

    with database.session() as session:
        assert [one.subscription_uuid for one in session.query(SubscriptionLog)] == [stored['kept']]


def test_dry_run_only_says_so(database, service, stored):
    summary = sync_db.synchronise(database, Authority({'t'}, {'u'}), service, dry_run=True)

    assert len(left(service)) == 6
    assert summary == 'Would delete 4 subscriptions of 1 tenant and 1 user that wazo-auth no longer has.'


def test_refusal_deletes_nothing(database, service, stored):
    with pytest.raises(Refusal):
        sync_db.synchronise(database, Authority({'t'}, set()), service)

    assert len(left(service)) == 6


def test_again_there_is_nothing_to_do(database, service, stored):
    for _ in range(2):
        summary = sync_db.synchronise(database, Authority({'t'}, {'u'}), service)

    assert summary == 'Nothing to delete: every subscription has its tenant and its user.'


def test_who_comes_while_we_ask_is_not_taken_for_gone(database, service, stored):
    class Slow(Authority):
        def users(self):
            service.create(
                {'name': 'new', 'service': 'x', 'events': [], 'config': {}, 'owner_tenant_uuid': 'brand new tenant'}
            )
            return super().users()

    sync_db.synchronise(database, Slow({'t'}, {'u'}), service)

    assert 'new' in left(service)


# -- the command --------------------------------------------------------------------------------


@pytest.fixture
def auth():
    double = AuthDouble()
    double.start()
    yield double
    double.stop()


@pytest.fixture
def world(postgresql, auth, tmp_path):
    """A configuration file, and two subscriptions of which one belongs to a deleted user."""
    uri = postgresql.engine.url.render_as_string(hide_password=False)
    service = SubscriptionService({'db_uri': uri, 'uuid': 'wazo'})
    for name, user in (('kept', auth.add_user()), ('lost', str(uuid4()))):
        service.create({
            'name': name, 'service': 'x', 'events': [], 'config': {}, 'owner_tenant_uuid': MASTER_TENANT,
            'owner_user_uuid': user,
        })  # fmt: skip
    config = {
        'db_uri': uri,
        'auth': {'host': '127.0.0.1', 'port': auth.port, 'username': SERVICE[0], 'password': SERVICE[1]},
        'extra_config_files': str(tmp_path / 'conf.d'),
    }
    (tmp_path / 'conf.d').mkdir()
    file = tmp_path / 'config.yml'
    file.write_text(yaml.safe_dump(config))
    yield service, str(file), config
    logging.getLogger('wazo-webhookd-sync-db').setLevel(logging.NOTSET)


def test_command_deletes_and_sums_up(world, auth, capsys):
    service, file, _ = world
    assert sync_db.main(['-c', file]) == 0
    out, err = capsys.readouterr()

    assert left(service) == {'kept'}
    assert out == 'Deleted 1 subscription of 0 tenants and 1 user that wazo-auth no longer has.\n'
    assert err == ''
    (asked,) = auth.calls('POST', '/token')
    assert asked.body == {'expiration': 300}
    assert 'wazo-tenant' not in auth.calls('GET', '/tenants')[0].headers
    assert auth.calls('GET', '/users')[0].query == {'recurse': 'True'}


def test_command_debugging_says_what_it_finds(world, capsys, caplog):
    _, file, _ = world
    assert sync_db.main(['-c', file, '-d']) == 0

    said = [record.message for record in caplog.records if record.name == 'wazo-webhookd-sync-db']
    assert said[:4] == [
        'Found 1 wazo-auth tenants',
        'Found 1 wazo-auth users',
        'Found 1 webhookd tenants',
        'Found 2 webhookd users',
    ]
    assert said[4].startswith('Removing user and its related data: ')


def test_command_is_quiet_when_told_so(world, capsys):
    _, file, _ = world
    assert sync_db.main(['-c', file, '-d', '-q']) == 0

    assert capsys.readouterr() == ('', '')


def test_command_dry_run(world, capsys):
    service, file, _ = world
    assert sync_db.main(['-c', file, '--dry-run']) == 0

    assert len(left(service)) == 2
    assert capsys.readouterr().out.startswith('Would delete 1 subscription ')


@pytest.mark.parametrize('trouble', ['down', 'failing', 'no user', 'no token', 'wrong password'])
def test_command_in_trouble_deletes_nothing_and_says_why(world, auth, capsys, tmp_path, trouble):
    service, file, config = world
    if trouble == 'down':
        auth.stop()
    elif trouble == 'failing':
        auth.fail_with(500)
    elif trouble == 'no user':
        auth.users.clear()
    elif trouble == 'no token':
        auth.answer('POST', '/token', 200, {'data': {}})
    else:
        config['auth']['password'] = 'wrong'
        file = tmp_path / 'other.yml'
        file.write_text(yaml.safe_dump(config))
    assert sync_db.main(['-c', str(file)]) == 1
    out, err = capsys.readouterr()

    assert len(left(service)) == 2
    assert out == ''
    assert err.startswith('wazo-webhookd-sync-db: wazo-auth ')
    assert len(err.splitlines()) == 1


def test_command_without_its_database(world, capsys, tmp_path):
    _, _, config = world
    file = tmp_path / 'other.yml'
    file.write_text(yaml.safe_dump({**config, 'db_uri': 'postgresql://nobody@127.0.0.1:1/none'}))

    assert sync_db.main(['-c', str(file)]) == 1
    assert 'cannot be reached' in capsys.readouterr().err


def test_command_on_a_database_without_tables(world, empty_postgresql, capsys, tmp_path):
    _, _, config = world
    file = tmp_path / 'other.yml'
    uri = empty_postgresql.engine.url.render_as_string(hide_password=False)
    file.write_text(yaml.safe_dump({**config, 'db_uri': uri}))

    assert sync_db.main(['-c', str(file)]) == 3
    assert 'wazo-webhookd-init-db' in capsys.readouterr().err


def test_command_with_a_configuration_that_is_wrong(capsys, tmp_path):
    file = tmp_path / 'config.yml'
    file.write_text('auth: {port: nonsense}')

    assert sync_db.main(['-c', str(file)]) == 1
    assert 'auth.port' in capsys.readouterr().err


def test_command_explains_itself(capsys):
    with pytest.raises(SystemExit) as ended:
        sync_db.main(['--help'])

    assert ended.value.code == 0
    assert 'examples:' in capsys.readouterr().out


def test_database_lost_on_the_way_is_told(database, stored, service):
    class Lost:
        def delete_of_tenant(self, _uuid):
            raise DatabaseUnavailable

        delete_of_user = delete_of_tenant

    with pytest.raises(DatabaseUnavailable):
        sync_db.synchronise(database, Authority({'t'}, {'u'}), Lost())
