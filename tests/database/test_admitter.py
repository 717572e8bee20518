"""The admitter over real rows: words, orphans, deaths, take-over, and everything that dies in between."""

from __future__ import annotations

import json
import shutil
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import delete, select, update

from tests.database.deliveries_parts import (
    DELIVERY,
    JOURNAL,
    PROCESS,
    SUBSCRIPTION,
    Daemon,
    add_delivery,
    add_event,
    bump,
    change,
    deliveries,
    end_life,
    event,
    states,
    until,
    worker,
)
from wazo_webhookd.attempts.lives import ProcessRegister
from wazo_webhookd.database.models import EndpointHealth, OutboxEvent
from wazo_webhookd.database.session import Database
from wazo_webhookd.deliveries.health import health
from wazo_webhookd.deliveries.intake import Arrival
from wazo_webhookd.domain.admission import Rules
from wazo_webhookd.domain.delivery import Word
from wazo_webhookd.exceptions import DatabaseUnavailable

RULES = Rules(open_after=3, rest=30, rest_max=100, disable_after=1000)


def ago(**duration: float) -> datetime:
    return datetime.now(UTC) - timedelta(**duration)


@pytest.fixture
def daemon(database):
    daemon = Daemon(database, rules=RULES)
    daemon.take_over()
    yield daemon
    daemon.close()


@pytest.fixture
def file(tmp_path, sqlite_with_tables):
    path = tmp_path / 'webhookd.sqlite'
    shutil.copy(sqlite_with_tables, path)
    return Database.from_uri(f'sqlite:///{path}')


def fill(database, number: int, subscription: str = 'a', **more) -> list[str]:
    with database.transaction() as connection:
        if connection.execute(select(JOURNAL)).first() is None:
            add_event(connection)
        for index in range(number):
            add_delivery(connection, f'{subscription}{index:03}', subscription, sequence=index, **more)
    return [f'{subscription}{index:03}' for index in range(number)]


def succeed(daemon: Daemon, *uuids: str) -> None:
    """As workers do: row and word."""
    words = []
    for uuid in uuids:
        row = deliveries(daemon.database)[uuid]
        change(daemon.database, uuid, state='success', ended_at=datetime.now(UTC), held_by=None)
        words.append(Word(uuid, row.attempt, row.send, 'success', 0.01))
    daemon.heard(*words)


def fail(daemon: Daemon, uuid: str, verdict: str = 'silent', again_in: float | None = 5.0, rest=None) -> None:
    row = deliveries(daemon.database)[uuid]
    at = None if again_in is None else time.time() + again_in
    if at is None:
        change(daemon.database, uuid, state='error', ended_at=datetime.now(UTC))
    else:
        change(daemon.database, uuid, state='waiting', attempt=row.attempt + 1, due_at=datetime.fromtimestamp(at, UTC))
    daemon.heard(Word(uuid, row.attempt, row.send, verdict, 1.0, at, rest))


def outbox(database) -> list[tuple[str, str, dict, dict]]:
    table = OutboxEvent.__table__
    with database.reading() as connection:
        return [
            (row.name, row.routing_key, json.loads(row.headers), json.loads(row.body))
            for row in connection.execute(select(table).order_by(table.c.id))
        ]


# -- going out ----------------------------------------------------------------------------------------


def test_a_backlog_is_read_from_the_rows_and_leaves_in_order(daemon):
    daemon.subscribe('a')
    uuids = fill(daemon.database, 150)
    daemon.again()
    daemon.round()
    while daemon.desk.admission.out:
        succeed(daemon, *daemon.desk.admission.out)

    assert daemon.sender.uuids == uuids
    parcel = daemon.sender.parcels[-1]
    assert (parcel.text, parcel.send, parcel.event) == ('{"name": "call"}', 1, 'event')
    assert set(states(daemon.database)) == {'success'}


def test_events_of_a_storm_keep_their_order_between_memory_and_rows(daemon):
    daemon.subscribe('a')
    sent: list[str] = []
    for _ in range(10):
        batch = [event() for _ in range(20)]
        daemon.receive(*batch)
        sent += [happened.uuid for happened in batch]
        succeed(daemon, *list(daemon.desk.admission.out)[:3])
    while daemon.desk.admission.out:
        succeed(daemon, *daemon.desk.admission.out)

    assert daemon.sender.events == sent


def test_what_is_sent_was_committed_as_out_before(daemon):
    daemon.subscribe('a')
    [uuid] = fill(daemon.database, 1)
    seen = []
    daemon.sender.before = lambda: seen.append(deliveries(daemon.database)[uuid].state)
    daemon.again()
    daemon.round()

    assert seen == ['out']


def test_a_retry_goes_when_it_falls_due(daemon):
    daemon.subscribe('a')
    daemon.receive(event())
    [uuid] = daemon.sender.uuids
    fail(daemon, uuid, again_in=0.3)
    assert len(daemon.sender.parcels) == 1

    def gone():
        daemon.round()
        return len(daemon.sender.parcels) == 2

    until(gone)
    assert (daemon.sender.parcels[1].attempt, daemon.sender.parcels[1].send) == (2, 2)


def test_a_retry_whose_word_was_lost_is_found_by_the_scan(daemon):
    daemon.subscribe('a')
    daemon.receive(event())
    [uuid] = daemon.sender.uuids
    change(daemon.database, uuid, state='waiting', attempt=2, due_at=ago(seconds=1))
    daemon.again('recount', 'scan')
    daemon.round()

    assert daemon.sender.uuids == [uuid, uuid]


def test_a_success_whose_word_was_lost_is_found_by_the_recount(daemon):
    daemon.subscribe('a')
    daemon.receive(event(), event())
    [uuid] = daemon.sender.uuids
    change(daemon.database, uuid, state='success')
    daemon.round()
    assert len(daemon.sender.parcels) == 1

    daemon.again('recount')
    daemon.round()
    assert len(daemon.sender.parcels) == 2


def test_the_subscription_travels_as_it_is_then(daemon):
    daemon.subscribe('a')
    daemon.receive(event(), event())
    daemon.catalog.add('a', name='renamed')
    succeed(daemon, daemon.sender.uuids[0])

    assert json.loads(daemon.sender.parcels[1].card.document)['name'] == 'renamed'


def test_a_new_url_leads_to_another_endpoint(daemon):
    daemon.subscribe('a')
    daemon.receive(event(), event())
    daemon.catalog.add('a', endpoint='tenant|https://elsewhere:443')
    daemon.admitter.kick(['a'])
    daemon.round()

    assert len(daemon.sender.parcels) == 2
    assert set(daemon.desk.admission.endpoints) == {'tenant|https://a:443', 'tenant|https://elsewhere:443'}


def test_an_event_that_is_not_in_the_journal_ends_its_deliveries(daemon):
    daemon.subscribe('a')
    fill(daemon.database, 1)
    with daemon.database.transaction() as connection:
        connection.execute(delete(JOURNAL))
    daemon.again()
    daemon.round()

    [row] = deliveries(daemon.database).values()
    assert (row.state, row.reason) == ('error', 'the event is not in the journal any more')


# -- the broker is away ---------------------------------------------------------------------------------


def test_while_the_broker_is_away_nothing_is_out_and_order_is_kept(daemon):
    daemon.subscribe('a')
    events = [event() for _ in range(3)]
    daemon.sender.ready = False  # nobody noticed yet
    daemon.receive(*events)
    assert daemon.desk.unsent
    daemon.round(2)
    assert states(daemon.database) == ['waiting'] * 3
    assert [row.send for row in deliveries(daemon.database).values()] == [0, 0, 0]
    late = event()
    daemon.receive(late)

    daemon.sender.set_ready(True)
    daemon.round(2)
    while len(daemon.sender.parcels) < 4:
        succeed(daemon, *daemon.desk.admission.out)
    assert daemon.sender.events == [happened.uuid for happened in [*events, late]]
    assert {parcel.send for parcel in daemon.sender.parcels} == {1}


# -- the database is away -------------------------------------------------------------------------------


class Commit:
    """Lets the next transactions of a lease fail: before or after the commit."""

    def __init__(self, daemon: Daemon) -> None:
        self.how = ''
        lease = daemon.desk.lease
        lease.transaction = self.failing(lease.transaction)
        lease.marking = self.failing(lease.marking)

    def failing(self, transaction):
        @contextmanager
        def failing(**more):
            with transaction(**more) as value:
                yield value
                if self.how == 'before':
                    raise DatabaseUnavailable
            if self.how == 'after':
                raise DatabaseUnavailable

        return failing


@pytest.mark.parametrize('how', ['before', 'after'])
def test_a_commit_without_answer_sends_nothing_and_then_everything_once(daemon, how):
    daemon.subscribe('a')
    uuids = fill(daemon.database, 4)
    commit = Commit(daemon)
    daemon.admitter.kick(['a'])
    commit.how = how
    with pytest.raises(DatabaseUnavailable):
        daemon.round()
    assert daemon.sender.parcels == []
    assert daemon.desk.admission.out == {}

    commit.how = ''
    daemon.round(2)
    assert [(parcel.uuid, parcel.send) for parcel in daemon.sender.parcels] == [(uuids[0], 1)]
    while len(daemon.sender.parcels) < 4:
        succeed(daemon, *daemon.desk.admission.out)
    assert daemon.sender.uuids == uuids


def test_marks_in_doubt_are_forgotten_once_another_daemon_admitted(daemon):
    daemon.subscribe('a')
    [uuid] = fill(daemon.database, 1)
    commit = Commit(daemon)
    daemon.admitter.kick(['a'])
    commit.how = 'before'
    with pytest.raises(DatabaseUnavailable):
        daemon.round()
    commit.how = ''
    change(daemon.database, uuid, state='out', send=1, sent_at=datetime.now(UTC))  # by the other one
    outgoing = daemon.admitter._outgoing
    outgoing._doubtful_epoch -= 2

    daemon.round(2)
    assert states(daemon.database) == ['out']
    assert daemon.sender.parcels == []


def test_in_the_first_moments_after_an_outage_nobody_is_judged(daemon):
    daemon.subscribe('a')
    fill(daemon.database, 1, state='out', send=1, sent_at=ago(seconds=100))
    daemon.expect_orphans()
    daemon.desk.outage.began()
    daemon.again('recount')
    daemon.round()
    assert states(daemon.database) == ['out']

    daemon.expect_orphans()
    daemon.again('recount')
    daemon.round()
    assert len(daemon.sender.parcels) == 1


def test_who_takes_over_from_a_server_just_started_judges_nobody(postgresql):
    daemon = Daemon(postgresql)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr('wazo_webhookd.database.admission.server_age', lambda connection: 3.0)
        daemon.take_over()
    assert not daemon.desk.outage.over
    daemon.close()


# -- orphans and deaths ---------------------------------------------------------------------------------


def test_an_orphan_is_sent_again_with_the_next_send(daemon):
    daemon.expect_orphans()
    daemon.subscribe('a')
    daemon.receive(event())
    [uuid] = daemon.sender.uuids
    change(daemon.database, uuid, sent_at=ago(seconds=46))
    daemon.again('recount')
    daemon.round()

    assert [(parcel.uuid, parcel.attempt, parcel.send) for parcel in daemon.sender.parcels] == [
        (uuid, 1, 1),
        (uuid, 1, 2),
    ]
    assert deliveries(daemon.database)[uuid].deaths == 0


def test_what_somebody_holds_is_no_orphan_however_long_it_takes(daemon):
    daemon.expect_orphans()
    daemon.subscribe('a')
    worker(daemon.database, 'w')
    fill(daemon.database, 1, state='out', send=1, sent_at=ago(seconds=4000), held_by='w')
    daemon.again('recount')
    daemon.round()
    assert states(daemon.database) == ['out']

    end_life(daemon.database, 'w')
    daemon.again('recount')
    daemon.round()
    assert daemon.sender.uuids == ['a000']
    assert deliveries(daemon.database)['a000'].deaths == 1


def test_what_is_in_no_hand_keeps_nobody_from_sending(daemon):
    """A frozen worker holds messages back until they are orphans; the lane goes on without them."""
    daemon.expect_orphans()
    daemon.subscribe('a')
    daemon.receive(event(), event())
    [stuck] = daemon.sender.uuids
    change(daemon.database, stuck, sent_at=ago(seconds=11))
    daemon.again('recount')
    daemon.round()

    assert len(daemon.sender.parcels) == 2
    assert set(daemon.desk.admission.out) == set(daemon.sender.uuids)


def test_a_late_failure_changes_nothing_and_a_late_success_counts(daemon):
    """The orphan's first send ends after all, while its second is out."""
    daemon.expect_orphans()
    daemon.subscribe('a')
    daemon.receive(event(), event())
    [uuid] = daemon.sender.uuids
    change(daemon.database, uuid, sent_at=ago(seconds=46))
    daemon.again('recount')
    daemon.round()
    daemon.heard(Word(uuid, 1, 1, 'silent', 50.0, time.time() + 5))
    assert uuid in daemon.desk.admission.out

    change(daemon.database, uuid, state='success')
    daemon.heard(Word(uuid, 1, 1, 'success', 50.0))
    assert uuid not in daemon.desk.admission.out
    assert len(daemon.sender.parcels) == 3


def die_with(daemon: Daemon, uuid: str, life: str, kind: str = 'worker') -> None:
    worker(daemon.database, life, kind)
    change(daemon.database, uuid, held_by=life)
    end_life(daemon.database, life)
    daemon.again('recount', 'hands')
    daemon.round()


def test_after_two_deaths_a_delivery_goes_alone_and_after_three_more_it_is_given_up(daemon):
    daemon.expect_orphans()
    standalone = daemon.database.is_sqlite
    daemon.subscribe('a')
    daemon.receive(event())
    [uuid] = daemon.sender.uuids
    die_with(daemon, uuid, 'w1')
    assert [parcel.suspect for parcel in daemon.sender.parcels] == [False, False]
    assert daemon.suspects == []

    die_with(daemon, uuid, 'w2')
    assert daemon.suspects == [1]
    if not standalone:
        assert len(daemon.sender.parcels) == 2  # nobody there who would run it
        worker(daemon.database, 's0', 'suspects', 1)
        daemon.again('hands')
        daemon.round()
    assert daemon.sender.parcels[-1].suspect
    assert uuid not in daemon.desk.admission.out

    for number in range(3):
        worker(daemon.database, f's{number + 1}', 'suspects', 1)
        die_with(daemon, uuid, f'dead{number}', 'suspects')

    row = deliveries(daemon.database)[uuid]
    assert (row.state, row.deaths) == ('error', 5)
    assert 'worker process died' in row.reason
    assert daemon.suspects == [1, 0]
    assert [parcel.suspect for parcel in daemon.sender.parcels] == [False, False, True, True, True]


def test_suspects_go_one_at_a_time_and_others_go_on(database):
    daemon = Daemon(database)
    worker(database, 's', 'suspects', 1)
    daemon.subscribe('a')
    daemon.subscribe('b')
    fill(database, 3, deaths=2)
    daemon.take_over()
    if not database.is_sqlite:
        daemon.receive(event('call'))
        assert len(daemon.sender.parcels) >= 2

    suspects = [parcel.uuid for parcel in daemon.sender.parcels if parcel.suspect]
    assert suspects == ['a000']
    succeed(daemon, 'a000')
    daemon.round()
    assert [parcel.uuid for parcel in daemon.sender.parcels if parcel.suspect] == ['a000', 'a001']
    assert daemon.suspects == [3, 2]
    daemon.close()


def test_standalone_lets_nothing_else_out_beside_a_suspect(file):
    daemon = Daemon(file)
    daemon.subscribe('a')
    fill(daemon.database, 1, deaths=2)
    daemon.take_over()
    assert daemon.sender.uuids == ['a000']

    daemon.receive(event())
    daemon.round()
    assert daemon.sender.uuids == ['a000']
    succeed(daemon, 'a000')
    daemon.round()
    assert len(daemon.sender.parcels) == 2


def test_a_suspect_that_failed_in_the_ordinary_way_is_one_no_more(daemon):
    worker(daemon.database, 's', 'suspects', 1)
    daemon.subscribe('a')
    fill(daemon.database, 1)
    change(daemon.database, 'a000', deaths=2)
    daemon.admitter._suspects.found([('a000', 'a')])
    daemon.again('hands')
    daemon.round()
    assert daemon.sender.parcels[-1].suspect

    change(daemon.database, 'a000', state='waiting', attempt=2, deaths=0, due_at=ago(seconds=1))
    daemon.heard(Word('a000', 1, 1, 'silent', 1.0, time.time() - 1))
    daemon.round()
    assert not daemon.sender.parcels[-1].suspect
    assert daemon.sender.parcels[-1].attempt == 2


# -- standalone -----------------------------------------------------------------------------------------


def test_in_standalone_every_row_out_at_start_is_an_orphan(file):
    daemon = Daemon(file)
    daemon.subscribe('a')
    fill(file, 2, state='out', send=1, sent_at=ago(seconds=1))
    change(file, 'a001', held_by='an earlier life')
    daemon.take_over()

    assert daemon.sender.uuids == ['a000']
    assert [row.deaths for row in deliveries(file).values()] == [0, 1]


def test_after_a_worker_that_ended_well_nothing_is_out_and_nobody_died(file):
    daemon = Daemon(file)
    daemon.take_over()
    daemon.subscribe('a')
    fill(file, 2, state='out', send=1, sent_at=ago(seconds=1), held_by='w')
    daemon.admitter.give_all_back()

    assert [(row.state, row.deaths) for row in deliveries(file).values()] == [('waiting', 0)] * 2


# -- who admits -----------------------------------------------------------------------------------------


def test_one_daemon_admits_and_another_takes_over_when_it_lets_go(postgresql):
    one, other = Daemon(postgresql), Daemon(postgresql)
    one.take_over()
    other.round()
    assert (one.desk.lease.held, other.desk.lease.held) == (True, False)

    one.admitter._end()
    other.take_over()
    assert other.desk.lease.epoch > 1
    other.close()


def test_a_frozen_holder_is_cut_off_and_changes_nothing_when_it_wakes_up(postgresql):
    frozen, other = Daemon(postgresql), Daemon(postgresql)
    for daemon in (frozen, other):
        daemon.catalog.add('a')
    frozen.take_over()
    frozen.receive(event(), event())
    assert len(frozen.sender.parcels) == 1
    end_life(postgresql, frozen.life)

    other.take_over()
    assert set(other.desk.admission.out) == set(frozen.sender.uuids)

    before = deliveries(postgresql)
    frozen.admitter.hear([Word(frozen.sender.uuids[0], 1, 1, 'success', 0.1)])
    with pytest.raises(DatabaseUnavailable):
        frozen.round()
    assert not frozen.desk.lease.held
    frozen.round()
    assert frozen.desk.admission.out == {}
    assert deliveries(postgresql) == before
    assert len(frozen.sender.parcels) == 1
    assert frozen.receive(event()) == [1]
    assert states(postgresql) == ['out', 'waiting', 'waiting']
    other.close()


def test_a_holder_that_lives_is_not_cut_off(postgresql):
    one, other = Daemon(postgresql), Daemon(postgresql)
    one.take_over()
    other.round(3)

    assert not other.desk.lease.held
    one.again('recount')
    one.round()
    assert one.desk.lease.held
    one.close()


def test_a_life_without_a_row_does_not_admit(postgresql):
    daemon = Daemon(postgresql)
    with postgresql.transaction() as connection:
        connection.execute(delete(PROCESS))
    daemon.round()

    assert not daemon.desk.lease.held


def test_rows_cannot_be_marked_by_an_older_epoch(postgresql):
    daemon = Daemon(postgresql)
    daemon.subscribe('a')
    daemon.take_over()
    fill(postgresql, 1)
    daemon.desk.lease._epoch += 1
    daemon.admitter.kick(['a'])
    with pytest.raises(Exception, match='Another daemon admits'):
        daemon.round()

    assert states(postgresql) == ['waiting']
    assert not daemon.desk.lease.held


def test_what_was_out_at_a_take_over_counts_as_out(postgresql):
    one, other = Daemon(postgresql, hands=1), Daemon(postgresql, hands=0)
    for daemon in (one, other):
        daemon.catalog.add('a')
        daemon.catalog.add('b')
    one.take_over()
    one.receive(event(), event())
    one.close()
    other.take_over()

    assert set(other.desk.admission.out) == set(one.sender.uuids)
    assert other.sender.parcels == []
    succeed(other, one.sender.uuids[0])
    assert len(other.sender.parcels) == 1
    other.close()


# -- ends -----------------------------------------------------------------------------------------------


def test_what_waits_for_a_subscription_that_is_gone_is_cancelled(daemon):
    fill(daemon.database, 3, 'gone')
    daemon.again()
    daemon.round()

    assert states(daemon.database) == ['cancelled'] * 3


def test_a_lane_of_a_subscription_deleted_while_it_waited_is_forgotten(daemon):
    daemon.subscribe('a')
    daemon.receive(event(), event())
    succeed(daemon, daemon.sender.uuids[0])
    with daemon.database.transaction() as connection:
        connection.execute(delete(SUBSCRIPTION))
        connection.execute(update(DELIVERY).where(DELIVERY.c.state == 'waiting').values(state='cancelled'))
    daemon.catalog.remove('a')
    succeed(daemon, *list(daemon.desk.admission.out))
    daemon.round(2)

    lane = daemon.desk.admission.lanes['a']
    assert (lane.unread, lane.waiting, lane.next_due, lane.out) == (False, None, None, 0)


def test_a_subscription_that_the_catalog_does_not_know_yet_is_looked_up(daemon):
    daemon.subscribe('a')
    known = daemon.catalog.cards['a']
    daemon.catalog.remove('a')
    daemon.catalog.later[1] = lambda: daemon.catalog.cards.update(a=known)
    fill(daemon.database, 1)
    bump(daemon.database)
    daemon.again()
    daemon.round(2)

    assert daemon.sender.uuids == ['a000']


def test_what_expires_says_so(daemon):
    daemon.subscribe('a')
    fill(daemon.database, 2, created_at=ago(days=31), expires_at=ago(seconds=1))
    daemon.again()
    daemon.round()

    assert states(daemon.database) == ['expired'] * 2
    assert daemon.sender.parcels == []


# -- health ---------------------------------------------------------------------------------------------


def rest(daemon: Daemon, subscription: str = 'a', verdict: str = 'silent') -> None:
    for _ in range(3):
        daemon.receive(event())
        daemon.round()
        fail(daemon, daemon.sender.uuids[-1], verdict, again_in=None)
    daemon.again('write')
    daemon.round()


def test_an_endpoint_in_trouble_rests_and_people_are_told(daemon):
    daemon.subscribe('a')
    rest(daemon)
    daemon.receive(event())

    found = health(daemon.database, 'a')
    assert set(found) == {
        'subscription_uuid', 'state', 'reason', 'since', 'resting_until', 'endpoint', 'failures_in_a_row',
        'last_success_at', 'last_failure_at', 'waiting', 'success_rate',
    }  # fmt: skip
    assert (found['state'], found['endpoint'], found['failures_in_a_row']) == ('resting', 'https://a:443', 3)
    assert (found['reason'], found['waiting']) == ('no proper answer, 3 times in a row', 1)
    assert datetime.fromisoformat(found['resting_until']) > datetime.now(UTC)
    with daemon.database.reading() as connection:
        rows = {row.key: row for row in connection.execute(select(EndpointHealth.__table__))}
    row = rows['tenant|https://a:443']
    assert (row.circuit, row.standing, row.failures_in_a_row) == ('open', 'poor', 3)
    assert row.resting_until > datetime.now(UTC) + timedelta(seconds=25)
    [(name, routing_key, headers, body)] = outbox(daemon.database)
    assert (name, routing_key) == ('webhookd_endpoint_resting', 'webhookd.endpoint.resting')
    assert headers['tenant_uuid'] == 'tenant'
    assert headers['user_uuid:*'] is True
    assert headers['required_acl'] == 'events.webhookd.endpoint.resting'
    assert set(body['data']) == {'uuid', 'name', 'state', 'reason', 'since'}
    assert (body['data']['uuid'], body['data']['state']) == ('a', 'resting')
    assert states(daemon.database)[-1] == 'waiting'


def test_an_owner_alone_hears_of_his_subscription(daemon):
    daemon.subscribe('a', owner_user_uuid='me')
    rest(daemon)

    [(_, routing_key, headers, _)] = outbox(daemon.database)
    assert routing_key == 'webhookd.users.me.endpoint.resting'
    assert headers['user_uuid:me'] is True
    assert 'user_uuid:*' not in headers


def test_a_restart_does_not_wake_what_rests(daemon):
    daemon.subscribe('a')
    rest(daemon)
    daemon.close()
    again = Daemon(daemon.database, rules=RULES)
    again.catalog = again.desk.catalog = daemon.catalog
    again.take_over()
    again.receive(event())

    assert again.sender.parcels == []
    assert again.desk.admission.endpoints['tenant|https://a:443'].standing == 'poor'
    again.close()


def test_a_resume_lets_what_waits_go_on(daemon):
    daemon.subscribe('a', endpoint='sub:a')
    rest(daemon, verdict='refused')
    daemon.receive(event())
    assert health(daemon.database, 'a')['state'] == 'resting'
    before = len(daemon.sender.parcels)

    daemon.admitter.resume('a')
    daemon.round()

    assert len(daemon.sender.parcels) == before + 1
    assert [item[0] for item in outbox(daemon.database)] == [
        'webhookd_endpoint_resting',
        'webhookd_subscription_resumed',
    ]
    succeed(daemon, daemon.sender.uuids[-1])
    daemon.again('write')
    daemon.round()
    assert health(daemon.database, 'a')['state'] == 'healthy'


def test_an_edit_lets_one_of_what_waits_go_as_a_probe(daemon):
    daemon.subscribe('a', endpoint='sub:a')
    rest(daemon, verdict='refused')
    daemon.receive(event())
    daemon.receive(event())
    before = len(daemon.sender.parcels)

    daemon.admitter.kick(['a'])
    daemon.round()

    assert len(daemon.sender.parcels) == before + 1


def test_a_resume_at_another_daemon_reaches_the_admitting_one(postgresql):
    one, other = Daemon(postgresql, rules=RULES), Daemon(postgresql, hands=0, rules=RULES)
    for daemon in (one, other):
        daemon.catalog.add('a')
    one.take_over()
    rest(one)
    one.receive(event())
    before = len(one.sender.parcels)
    one.admitter.start()
    try:
        until(lambda: one.admitter._ears.listening)
        other.admitter.resume('a')
        until(lambda: len(one.sender.parcels) > before)
    finally:
        one.admitter.stop()


def test_a_subscription_is_disabled_after_days_of_failures_and_told_before(daemon):
    daemon.subscribe('a', endpoint='sub:a')
    daemon.receive(event())
    fail(daemon, daemon.sender.uuids[-1])
    for age in (300, 600, 800, 1001):
        own = daemon.desk.admission.healths['sub:a']
        own.failing_since = daemon.desk.clock.now() - age
        own.circuit = 'closed'
        daemon.desk.admission.consider_all('sub:a')
        daemon.receive(event())
        daemon.round()
        fail(daemon, daemon.sender.uuids[-1], again_in=None)
        daemon.again('write')
        daemon.round()

    names = [item[0] for item in outbox(daemon.database)]
    assert [name for name in names if 'disabl' in name] == [
        'webhookd_subscription_disabling',
        'webhookd_subscription_disabling',
        'webhookd_subscription_disabling',
        'webhookd_subscription_disabled',
    ]
    assert health(daemon.database, 'a')['state'] == 'disabled'
    assert daemon.receive(event()) == [0]

    daemon.admitter.resume('a')
    assert daemon.receive(event()) == [1]
    assert [item[0] for item in outbox(daemon.database)][-1] == 'webhookd_subscription_resumed'


def test_status_counts(daemon):
    daemon.subscribe('a')
    daemon.receive(event(), event(), event())

    assert daemon.admitter.status() == {
        'status': 'ok',
        'waiting': 2,
        'out': 1,
        'window': 64,
        'oldest_waiting_seconds': pytest.approx(0, abs=5),
    }


def test_status_without_workers_fails(database):
    daemon = Daemon(database, hands=0)
    daemon.take_over()

    assert daemon.admitter.status()['status'] == 'fail'
    daemon.close()


# -- the thread -----------------------------------------------------------------------------------------


def test_the_loop_serves_and_ends(daemon):
    daemon.subscribe('a')
    daemon.admitter.start()
    daemon.intake.start()
    done: list[object] = []
    for _ in range(200):
        daemon.intake.submit(Arrival(event(), done.append))
    said: set[str] = set()

    def all_sent():
        fresh = [uuid for uuid in daemon.sender.uuids if uuid not in said]
        said.update(fresh)
        with daemon.database.transaction() as connection:
            connection.execute(update(DELIVERY).where(DELIVERY.c.uuid.in_(fresh)).values(state='success'))
        daemon.admitter.hear([Word(uuid, 1, 1, 'success', 0.01) for uuid in fresh])
        return len(said) == 200

    until(all_sent, 15)
    daemon.intake.stop()
    daemon.admitter.stop()

    assert len(daemon.sender.parcels) == 200
    assert set(states(daemon.database)) == {'success'}
    assert not daemon.desk.lease.held


def test_hands_are_known_as_soon_as_a_worker_has_them(database, monkeypatch):
    for name in ('HANDS_SECONDS', 'NO_HANDS_SECONDS'):
        monkeypatch.setattr(f'wazo_webhookd.deliveries.admitter.{name}', 60.0)
    daemon = Daemon(database, hands=0)
    daemon.subscribe('a')
    fill(database, 1)
    daemon.admitter.start()
    until(lambda: daemon.desk.lease.held and daemon.admitter._ears.listening)
    told = daemon.admitter.workers_changed if database.is_sqlite else lambda: None
    register = ProcessRegister(database, 'worker', 'worker', 'host', 7, on_hands=told)
    register.begin(0)
    register.renew(4, 0)
    until(lambda: daemon.sender.parcels)
    register.end()
    until(lambda: daemon.desk.admission.window.size == 0)
    daemon.admitter.stop()


def test_a_broken_database_does_not_end_the_loop(daemon, monkeypatch):
    monkeypatch.setattr('wazo_webhookd.deliveries.admitter.WAITS', (0.01,))
    daemon.subscribe('a')
    commit = Commit(daemon)
    commit.how = 'before'
    daemon.again()
    daemon.admitter.start()
    fill(daemon.database, 1)
    until(lambda: daemon.desk.outage.away)
    commit.how = ''
    daemon.admitter.kick(['a'])
    until(lambda: daemon.sender.parcels)
    daemon.admitter.stop()
