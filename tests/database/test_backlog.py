"""A backlog for one dead endpoint: no statement of the daemon walks through it, and memory does not grow with it."""

from __future__ import annotations

import tracemalloc
from typing import Any

import pytest

from tests.database.deliveries_parts import Daemon, add_event, event
from wazo_webhookd.database import deliveries, journal, returns
from wazo_webhookd.database.dialect import Statement, is_sqlite, members

ROWS = 30_000
UUIDS = [f'dead{number}' for number in range(40)]


@pytest.fixture(params=['analysed before it was there', 'analysed since'])
def backlog(database, request):
    """So many rows wait for one subscription, of as many events."""
    before, since = (request.param == name for name in ('analysed before it was there', 'analysed since'))
    if before:
        analyse(database)
    numbers = (
        f'(WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {ROWS}) SELECT i FROM n) AS numbers'
        if database.is_sqlite
        else f'generate_series(1, {ROWS}) AS i'
    )
    now, later = ("'2026-01-01 00:00:00.000000'", "'2099-01-01 00:00:00.000000'")
    with database.transaction() as connection:
        add_event(connection)
        connection.exec_driver_sql(
            'INSERT INTO webhookd_delivery (uuid, sequence, subscription_uuid, tenant_uuid, event_uuid, event_name,'
            ' state, max_attempts, due_at, created_at, expires_at)'
            f" SELECT 'dead' || i, i, 'dead', 'tenant', 'event', 'call', 'waiting', 11, {now}, {now}, {later}"
            f' FROM {numbers}'
        )
        connection.exec_driver_sql(
            'INSERT INTO webhookd_journal (uuid, name, source, received_at, fingerprint, deliveries, headers, body)'
            f" SELECT 'event' || i, 'call', 'bus', {now}, 'print' || i, 1, '{{}}', '{{}}' FROM {numbers}"
        )
    if since:
        analyse(database)
    return database


def analyse(database):
    with database.own_connection(autocommit=True) as connection:
        connection.exec_driver_sql('ANALYZE')


def plan(connection: Any, statement: Statement, **parameters: Any) -> str:
    cursor = connection.connection.cursor()
    if is_sqlite(connection):
        cursor.execute(f'EXPLAIN QUERY PLAN {statement._sqlite}', parameters)
    else:
        cursor.execute(f'EXPLAIN {statement._postgresql}', parameters)
    return '\n'.join(str(row[-1]) for row in cursor.fetchall())


STATEMENTS = {
    'scan': (deliveries._SCAN, {}),
    'mark': (deliveries._MARK, {'uuids': UUIDS, 'from_deaths': 0, 'below_deaths': 2}),
    'out': (returns._READ_OUT, {'silent': 15, 'no': False}),
    'expire': (returns._EXPIRE_OLD, {'age': 9e8, 'reason': 'x', 'most': 500}),
    'take back': (returns._BACK, {'uuid': 'a', 'attempt': 1, 'send': 1, 'held_by': '', 'died': 0}),
    'put back': (returns._UNSENT, {'uuid': 'a', 'attempt': 1, 'send': 1}),
}


@pytest.mark.parametrize('name', STATEMENTS)
def test_indices_answer_what_is_asked_often(backlog, name):
    statement, parameters = STATEMENTS[name]
    with backlog.transaction() as connection:
        if 'uuids' in parameters:
            parameters = {**parameters, 'uuids': members(connection, parameters['uuids'])}
        found = plan(connection, statement, **parameters)

    assert 'Seq Scan on webhookd_delivery' not in found
    assert 'idx__due' not in found or 'uuids' not in parameters
    assert not [
        line for line in found.splitlines() if line.startswith('SCAN webhookd_delivery') and 'INDEX' not in line
    ]


def test_an_index_finds_what_was_taken_in_before(backlog):
    statement = journal._KNOWN_SQLITE if backlog.is_sqlite else journal._KNOWN
    with backlog.transaction() as connection:
        wanted = members(connection, [f'print{number}' for number in range(400)])
        asked = {'wanted': wanted, 'again': 'again:%', 'late': 600.0}
        found = plan(connection, statement, **asked, **({} if backlog.is_sqlite else {'most': 100}))

    assert 'webhookd_journal__idx__fingerprint' in found


@pytest.mark.parametrize('backlog', ['analysed since'], indirect=True)
def test_an_index_gives_the_beginning_of_a_lane_in_order(backlog):
    with backlog.transaction() as connection:
        if backlog.is_sqlite:
            found = plan(connection, deliveries._READ_LANE_SQLITE, lane='dead', most=96, below_deaths=2)
            assert 'webhookd_delivery__idx__waiting' in found
            assert 'TEMP B-TREE' not in found
        else:
            found = plan(connection, deliveries._READ_LANES, lanes=['dead'], limits=[96], below_deaths=2)
            assert 'Index Scan using webhookd_delivery__idx__waiting' in found


@pytest.mark.parametrize('backlog', ['analysed since'], indirect=True)
def test_a_backlog_costs_the_daemon_no_memory_and_the_others_no_time(backlog):
    daemon = Daemon(backlog)
    daemon.catalog.add('dead', ['dead'])
    daemon.subscribe('alive', ['call'])
    tracemalloc.start()
    try:
        daemon.take_over()
        for _ in range(3):
            daemon.again()
            daemon.round()
        grown, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert grown < 1_000_000
    assert daemon.desk.admission.held <= 2

    happened = event('call')
    daemon.receive(happened)
    assert happened.uuid in daemon.sender.events
    daemon.close()
