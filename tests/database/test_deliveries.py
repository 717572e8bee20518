"""The table of deliveries: what goes in, out, back and to its end."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select, text

from tests.database.deliveries_parts import (
    add_delivery,
    add_event,
    add_subscription,
    bump,
    change,
    deliveries,
    end_life,
    worker,
)
from wazo_webhookd.database import admission, counts, endpoints, journal, returns
from wazo_webhookd.database import deliveries as rows
from wazo_webhookd.database.deliveries import NewDelivery
from wazo_webhookd.database.dialect import is_about_data
from wazo_webhookd.database.journal import JournalRow
from wazo_webhookd.database.models import SubscriptionLog
from wazo_webhookd.domain.admission import Health
from wazo_webhookd.domain.admission.rules import DEATHS

NOW = datetime.now(UTC)


def new(uuid: str, sequence: int = 1, subscription: str = 'sub', out: bool = False) -> NewDelivery:
    return NewDelivery(uuid, sequence, subscription, 'tenant', 'event', 'call', out)


def put(database, *given: NewDelivery, due_in: float = 0.0) -> None:
    with database.transaction() as connection:
        rows.insert(
            connection,
            given,
            now=NOW,
            due_at=NOW + timedelta(seconds=due_in),
            expires_at=NOW + timedelta(days=30),
            max_attempts=3,
        )


def ago(**duration: float) -> datetime:
    return datetime.now(UTC) - timedelta(**duration)


# -- in -----------------------------------------------------------------------------------------------


def test_new_deliveries_wait_or_are_out(database):
    put(database, new('a'), new('b', out=True))

    found = deliveries(database)
    a, b = found['a'], found['b']
    assert (a.state, a.attempt, a.send, a.sent_at, a.deaths) == ('waiting', 1, 0, None, 0)
    assert (b.state, b.attempt, b.send, b.sent_at) == ('out', 1, 1, NOW)
    assert (a.due_at, a.created_at, a.expires_at, a.max_attempts) == (NOW, NOW, NOW + timedelta(days=30), 3)


def test_what_is_there_already_stays_as_it_is(database):
    put(database, new('a', out=True))
    change(database, 'a', state='success')
    put(database, new('a'), new('b'))

    assert [row.state for row in deliveries(database).values()] == ['success', 'waiting']


def test_nothing_to_insert_is_no_statement(database):
    put(database)
    with database.transaction() as connection:
        journal.insert(connection, [])
        assert rows.mark_out(connection, []) == []

    assert deliveries(database) == {}


@pytest.mark.parametrize('text_', ['{"a": "\\u0000"}', '{"a": "\\ud800"}', '{"a": 1e400}', '{"a": "é\u2028😀"}'])
def test_bodies_are_stored_as_received(database, text_):
    row = JournalRow('event', 'call', 'tenant', 'bus', NOW, 'print', 2, '{}', text_)
    with database.transaction() as connection:
        journal.insert(connection, [row])
        journal.insert(connection, [row])

    with database.reading() as connection:
        assert journal.bodies(connection, ['event', 'unknown']) == {'event': text_}
        assert journal.known_fingerprints(connection, ['print', 'other']) == {'print': 2}
        (stored,) = connection.execute(select(journal._journal)).all()
    assert stored.received_at == NOW


def refused(database, name: str) -> bool:
    row = JournalRow('event', name, None, 'bus', NOW, None, 0, '{}', '{}')
    try:
        with database.transaction() as connection:
            journal.insert(connection, [row])
    except Exception as error:
        return is_about_data(error)
    return False


def test_a_text_that_no_column_takes_is_the_data_s_fault(database):
    assert refused(database, 'a\ud800b')


def test_so_is_one_that_postgresql_does_not_take(postgresql):
    assert refused(postgresql, 'a\0b')


# -- out ----------------------------------------------------------------------------------------------


def test_marking_out_counts_the_send_and_tells_the_time(database):
    put(database, new('a'), new('b'), new('c'))
    with database.transaction() as connection:
        marked = {row.uuid: row for row in rows.mark_out(connection, ['c', 'a', 'unknown'])}

    assert set(marked) == {'a', 'c'}
    row = marked['a']
    assert (row.subscription_uuid, row.event_uuid, row.attempt, row.send, row.max_attempts) == ('sub', 'event', 1, 1, 3)
    assert abs(row.sent_at - datetime.now(UTC).timestamp()) < 5
    found = deliveries(database)
    assert [found[uuid].state for uuid in 'abc'] == ['out', 'waiting', 'out']
    assert abs(found['a'].sent_at.timestamp() - row.sent_at) < 0.01


@pytest.mark.parametrize(
    'values',
    [
        {'state': 'out'},
        {'state': 'cancelled'},
        {'due_at': datetime.now(UTC) + timedelta(hours=1)},
        {'expires_at': ago(seconds=5)},
        {'deaths': 2},
    ],
)
def test_only_what_waits_and_is_due_is_marked_out(database, values):
    with database.transaction() as connection:
        add_delivery(connection, 'a', **values)
        assert rows.mark_out(connection, ['a']) == []


def test_suspects_are_marked_on_their_own_way_only(database):
    with database.transaction() as connection:
        add_delivery(connection, 'a', deaths=2)
        add_delivery(connection, 'b', deaths=0)
        marked = rows.mark_out(connection, ['a', 'b'], suspects=True)

    assert [row.uuid for row in marked] == ['a']


def test_lanes_are_read_from_the_beginning_in_order_of_due_and_sequence(database):
    moment = ago(seconds=9)
    with database.transaction() as connection:
        add_delivery(connection, 'late', due_at=ago(seconds=1), sequence=1)
        add_delivery(connection, 'second', due_at=moment, sequence=8)
        add_delivery(connection, 'first', due_at=moment - timedelta(milliseconds=1), sequence=9)
        add_delivery(connection, 'gone', due_at=ago(seconds=99), expires_at=ago(seconds=1))
        add_delivery(connection, 'suspect', due_at=ago(seconds=99), deaths=3)
        add_delivery(connection, 'out', due_at=ago(seconds=99), state='out')
        add_delivery(connection, 'other', subscription='other')
        lanes = rows.read_lanes(connection, {'sub': 5, 'other': 1, 'none': 3})

    assert lanes['sub'] == (['first', 'second', 'late'], False, None)
    assert lanes['other'] == (['other'], True, None)
    assert lanes['none'] == ([], False, None)


def test_rows_of_equal_due_leave_by_sequence(database):
    put(database, new('c', 3), new('a', 1), new('b', 2))
    with database.reading() as connection:
        assert rows.read_lanes(connection, {'sub': 9})['sub'].uuids == ['a', 'b', 'c']


def test_reading_a_lane_tells_when_the_next_falls_due(database):
    later = datetime.now(UTC) + timedelta(hours=1)
    with database.transaction() as connection:
        add_delivery(connection, 'now')
        add_delivery(connection, 'later', due_at=later)
        lane = rows.read_lanes(connection, {'sub': 2})['sub']

    assert (lane.uuids, lane.more) == (['now'], False)
    assert lane.next_due == pytest.approx(later.timestamp(), abs=0.01)


def test_the_scan_finds_each_lane_once_with_its_earliest(database):
    earliest = ago(hours=1)
    with database.transaction() as connection:
        for number in range(5):
            add_delivery(connection, f'a{number}', subscription='a', due_at=earliest + timedelta(minutes=number))
            add_delivery(connection, f'b{number}', subscription='b')
            add_delivery(connection, f'c{number}', subscription='c', state='success')
        found = dict(rows.scan_lanes(connection))

    assert set(found) == {'a', 'b'}
    assert found['a'] == pytest.approx(earliest.timestamp(), abs=0.01)


def test_the_scan_of_nothing_finds_nothing(database):
    with database.reading() as connection:
        assert rows.scan_lanes(connection) == []


# -- back ---------------------------------------------------------------------------------------------


def out(connection, uuid: str, age: float = 0.0, **more) -> None:
    add_delivery(connection, uuid, state='out', send=1, sent_at=ago(seconds=age), **more)


def orphans(connection) -> list[returns.OutRow]:
    return [row for row in returns.read_out(connection) if returns.is_orphan(row)]


def test_who_is_an_orphan(database):
    worker(database, 'alive')
    worker(database, 'dead')
    end_life(database, 'dead')
    with database.transaction() as connection:
        out(connection, 'fresh', 44)
        out(connection, 'old', 46)
        out(connection, 'held', 4600, held_by='alive')
        out(connection, 'bereft', 2, held_by='dead')
        out(connection, 'unheard of', 2, held_by='nobody')
        found = {row.uuid for row in orphans(connection)}
        assert len(returns.read_out(connection)) == 5

    assert found == {'old', 'bereft', 'unheard of'}


def test_an_orphan_waits_again_and_counts_a_death_only_if_it_was_held(database):
    with database.transaction() as connection:
        out(connection, 'old', 46)
        out(connection, 'bereft', 2, held_by='dead', deaths=1)
        back = returns.take_back(connection, orphans(connection))

    assert {row.uuid: row.deaths for row in back} == {'old': 0, 'bereft': 2}
    found = deliveries(database)
    assert (found['old'].state, found['old'].deaths, found['old'].send) == ('waiting', 0, 1)
    assert (found['bereft'].state, found['bereft'].deaths, found['bereft'].held_by) == ('waiting', 2, None)


@pytest.mark.parametrize(
    'meanwhile', [{'state': 'success'}, {'attempt': 2}, {'send': 2}, {'held_by': 'somebody'}, {'state': 'waiting'}]
)
def test_what_changed_since_it_was_read_is_left_alone(database, meanwhile):
    with database.transaction() as connection:
        out(connection, 'a', 46)
        found = orphans(connection)
    change(database, 'a', **meanwhile)
    with database.transaction() as connection:
        assert returns.take_back(connection, found) == []


def test_what_was_never_sent_is_put_back_as_if_it_had_not_been_out(database):
    put(database, new('a'), new('b'), new('c'))
    with database.transaction() as connection:
        rows.mark_out(connection, ['a', 'b', 'c'])
    change(database, 'b', held_by='somebody')
    change(database, 'c', send=2)
    with database.transaction() as connection:
        assert returns.put_back(connection, {('a', 1, 1), ('b', 1, 1), ('c', 1, 1)}) == 1

    found = deliveries(database)
    assert [(found[uuid].state, found[uuid].send) for uuid in 'abc'] == [('waiting', 0), ('out', 1), ('out', 2)]


def test_first_sends_of_a_commit_without_answer_are_marked_again(database):
    put(database, new('a', out=True), new('b'), new('c', out=True))
    change(database, 'c', send=2)
    with database.transaction() as connection:
        marked = rows.mark_again(connection, ['a', 'b', 'c'])

    assert [(row.uuid, row.send) for row in marked] == [('a', 1)]


def test_suspects_are_found(database):
    with database.transaction() as connection:
        for deaths in range(DEATHS + 1):
            add_delivery(connection, f'd{deaths}', deaths=deaths)
        found = returns.suspects(connection)

    assert found == [('d2', 'sub'), ('d3', 'sub'), ('d4', 'sub')]


def test_giving_up_leaves_a_log_row_that_says_why(database):
    with database.transaction() as connection:
        add_event(connection, text='{"name": "call", "x": "\\u0000"}')
        out(connection, 'a', deaths=5, attempt=2)
        add_delivery(connection, 'b', state='success')
        assert returns.give_up(connection, ['a', 'b', 'unknown'], 'it died') == ['a']

    row = deliveries(database)['a']
    assert (row.state, row.reason, row.ended_at is not None) == ('error', 'it died', True)
    with database.reading() as connection:
        log = connection.execute(
            text(
                'SELECT uuid, subscription_uuid, status, attempts, max_attempts, event, detail, ended_at'
                ' FROM webhookd_subscription_log'
            )
        ).one()
        (detail,) = connection.execute(select(SubscriptionLog.__table__.c.detail)).one()
    assert (log.uuid, log.subscription_uuid, log.status, log.attempts, log.max_attempts) == ('a', 'sub', 'error', 2, 3)
    assert log.ended_at is not None
    assert detail == {'error': 'it died'}


# -- ends without an attempt --------------------------------------------------------------------------


def test_what_waited_too_long_expires(database):
    with database.transaction() as connection:
        add_delivery(connection, 'old', created_at=ago(days=31), expires_at=ago(days=1))
        add_delivery(connection, 'out', created_at=ago(days=31), expires_at=ago(days=1), state='out')
        add_delivery(connection, 'short', created_at=ago(days=2), expires_at=ago(days=1))
        add_delivery(connection, 'young')
        assert returns.expire(connection, older_than=30 * 86400) == 1
        assert returns.expire(connection, older_than=None) == 1

    found = deliveries(database)
    assert {uuid: row.state for uuid, row in found.items()} == {
        'old': 'expired',
        'out': 'out',
        'short': 'expired',
        'young': 'waiting',
    }
    assert found['old'].reason == 'not delivered before it expired'
    assert found['old'].ended_at is not None


def test_expiring_goes_in_steps(database):
    with database.transaction() as connection:
        for number in range(5):
            add_delivery(connection, f'd{number}', created_at=ago(days=31), expires_at=ago(days=1))
        assert returns.expire(connection, older_than=86400, most=3) == 3
        assert returns.expire(connection, older_than=86400, most=3) == 2


def test_what_waits_for_a_subscription_that_is_gone_is_cancelled(database):
    with database.transaction() as connection:
        add_subscription(connection, 'alive')
        add_delivery(connection, 'a', subscription='gone')
        add_delivery(connection, 'b', subscription='gone', state='out')
        add_delivery(connection, 'c', subscription='alive')
        assert returns.cancel_gone(connection, 'gone') == 1
        assert returns.cancel_gone(connection, 'alive') == 0
        assert returns.has_subscription(connection, 'alive')
        assert not returns.has_subscription(connection, 'gone')

    found = deliveries(database)
    assert [(row.state, row.reason) for row in found.values()] == [
        ('cancelled', 'subscription deleted'),
        ('out', None),
        ('waiting', None),
    ]


# -- questions ----------------------------------------------------------------------------------------


def test_how_many_wait_and_since_when(database):
    with database.transaction() as connection:
        assert counts.waiting(connection) == (0, None)
        add_delivery(connection, 'later', due_at=ago(seconds=-50))
        assert counts.waiting(connection) == (1, None)
        add_delivery(connection, 'old', due_at=ago(seconds=100))
        count, oldest = counts.waiting(connection)
        assert (count, counts.count(connection, 'out'), counts.waiting_of(connection, 'sub')) == (2, 0, 2)

    assert oldest == pytest.approx(100, abs=5)


def test_the_state_that_transactions_ask_first(database):
    bump(database)
    bump(database)
    bump(database, 'disabled_version')
    with database.transaction() as connection:
        state = admission.state(connection, intake='shared')
        assert (state.index_version, state.disabled_version, state.epoch) == (2, 1, 0)
    with database.transaction() as connection:
        state = admission.state(connection, intake='alone')
        assert state.now == pytest.approx(datetime.now(UTC).timestamp(), abs=5)


def test_what_is_remembered_of_endpoints_comes_back_as_it_was(database):
    health = Health('tenant|https://host:443', 'tenant')
    health.circuit, health.until, health.rest = 'open', 2000.5, 30.0
    health.failures, health.failing_since, health.warned, health.disabled = 7, 1000.25, 2, True
    health.reason, health.since, health.last_success, health.last_failure = 'why', 1500.0, 900.0, 1600.0
    with database.transaction() as connection:
        endpoints.save(connection, [endpoints.as_row(Health('sub:x', 'tenant'), 'fresh', 1.0)])
        endpoints.save(connection, [endpoints.as_row(health, 'proven', 1.0)])
        endpoints.save(connection, [endpoints.as_row(health, 'poor', 2.0)])
        found = {found.key: (found, standing) for found, standing in endpoints.load(connection)}

    again, standing = found[health.key]
    assert standing == 'poor'
    assert {name: getattr(again, name) for name in Health.__slots__} == {
        name: getattr(health, name) for name in Health.__slots__
    }
    assert set(found) == {health.key, 'sub:x'}


def test_a_resume_closes_the_circuits_of_both_and_ends_the_disabling(database):
    own, endpoint, other = Health('sub:x', 't'), Health('t|host', 't'), Health('t|other', 't')
    own.disabled = True
    endpoint.circuit = other.circuit = 'open'
    with database.transaction() as connection:
        endpoints.save(connection, [endpoints.as_row(health, 'poor', 1.0) for health in (own, endpoint, other)])
        assert endpoints.disabled(connection) == {'x'}
        assert endpoints.resume(connection, 'x', 't|host')
        assert not endpoints.resume(connection, 'x', 't|host')
        assert not endpoints.resume(connection, 'unknown', None)
        assert endpoints.disabled(connection) == set()
        circuits = {health.key: health.circuit for health, _ in endpoints.load(connection)}
        assert admission.state(connection).disabled_version == 1

    assert circuits == {'sub:x': 'closed', 't|host': 'closed', 't|other': 'open'}
