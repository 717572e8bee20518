import uuid

import pytest
from sqlalchemy import insert

from wazo_webhookd.database import bindings
from wazo_webhookd.database.models import Subscription, SubscriptionEvent


@pytest.fixture
def subscribe(database):
    def subscribe(*names):
        subscription = str(uuid.uuid4())
        with database.transaction() as connection:
            now = database.now(connection)
            connection.execute(
                insert(Subscription.__table__).values(
                    uuid=subscription, name='n', service='http', owner_tenant_uuid='t', created_at=now
                )
            )
            for name in names:
                row = {'uuid': str(uuid.uuid4()), 'subscription_uuid': subscription, 'event_name': name}
                connection.execute(insert(SubscriptionEvent.__table__).values(row))

    return subscribe


def say_bound(database, *names):
    with database.transaction() as connection:
        bindings.say_bound(connection, database, names)


def test_names_are_wanted_once_however_many_want_them(database, subscribe):
    subscribe('a', 'b')
    subscribe('b', 'c')

    with database.reading() as connection:
        assert bindings.wanted(connection) == {'a', 'b', 'c'}


def test_saying_twice_that_a_name_is_bound_is_harmless(database):
    say_bound(database, 'a', 'b')
    say_bound(database, 'b', 'c')

    with database.reading() as connection:
        assert bindings.bound(connection, ['a', 'b', 'x']) == {'a', 'b'}
        assert bindings.names_to_bind(connection) == {'a', 'b', 'c'}


def test_unwanted_is_what_nobody_wants_and_nobody_keeps(database, subscribe):
    subscribe('wanted')
    say_bound(database, 'wanted', 'kept', 'old', 'older')

    with database.transaction() as connection:
        assert bindings.unwanted(connection, {'kept'}, 10) == ['old', 'older']
        assert bindings.unwanted(connection, set(), 1) == ['kept']

        bindings.say_unbound(connection, ['old', 'older', 'never bound'])
        assert bindings.unwanted(connection, {'kept'}, 10) == []


def test_handled_names_are_forgotten_when_nobody_repeats_them(database):
    with database.transaction() as connection:
        assert bindings.handled(connection, 1000.0) == set()

        bindings.say_handled(connection, ['a', 'b'], 1000.0)
        bindings.say_handled(connection, ['b', 'c'], 1100.0)
        assert bindings.handled(connection, 1100.0) == {'a', 'b', 'c'}
        assert bindings.handled(connection, 1000.0 + bindings.HANDLED_SECONDS) == {'b', 'c'}
