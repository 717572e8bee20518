"""From events to rows, with everything that may die in between."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import delete, insert, select, update

from tests.database.deliveries_parts import (
    DELIVERY,
    JOURNAL,
    Daemon,
    add_delivery,
    add_event,
    bump,
    change,
    deliveries,
    event,
    states,
    until,
)
from wazo_webhookd.database import admission as admission_rows
from wazo_webhookd.database import journal as journal_rows
from wazo_webhookd.database.models import EndpointHealth, Fact
from wazo_webhookd.deliveries.intake import Arrival, EventRefused
from wazo_webhookd.domain.admission import Waiting
from wazo_webhookd.domain.delivery import Word
from wazo_webhookd.exceptions import DatabaseUnavailable


@pytest.fixture
def daemon(database):
    daemon = Daemon(database)
    yield daemon
    daemon.close()


@pytest.fixture
def admitting(daemon):
    daemon.take_over()
    return daemon


def journal(database) -> dict[str, object]:
    with database.reading() as connection:
        return {row.uuid: row for row in connection.execute(select(JOURNAL))}


# -- rows ---------------------------------------------------------------------------------------------


def test_an_event_becomes_a_journal_row_and_a_delivery_for_each_subscription_that_wants_it(admitting):
    admitting.subscribe('a')
    admitting.subscribe('b')
    admitting.subscribe('c', ['other'])
    happened = event(fingerprint='print')

    assert admitting.receive(happened) == [2]

    row = journal(admitting.database)[happened.uuid]
    assert (row.name, row.tenant_uuid, row.source, row.deliveries) == ('call', 'tenant', 'bus', 2)
    assert (row.body, row.fingerprint, row.received_at) == (happened.text, 'print', happened.received_at)
    made = list(deliveries(admitting.database).values())
    assert [(row.subscription_uuid, row.event_uuid, row.event_name) for row in made] == [
        ('a', happened.uuid, 'call'),
        ('b', happened.uuid, 'call'),
    ]
    assert {row.tenant_uuid for row in made} == {'tenant'}
    assert {(row.expires_at - row.created_at).days for row in made} == {30}


def test_an_event_that_matched_nothing_is_in_the_journal_if_its_name_is_wanted(admitting):
    admitting.subscribe('a', ['call'])
    admitting.catalog.match = lambda happened: []

    wanted, unwanted = event('call'), event('nobody')
    assert admitting.receive(wanted, unwanted) == [0, 0]
    assert set(journal(admitting.database)) == {wanted.uuid}


def test_what_admission_allows_is_out_at_once_and_sent_after_the_commit(admitting):
    admitting.subscribe('a')
    admitting.sender.before = lambda: seen.extend(states(admitting.database))
    seen: list[str] = []
    first, second = event(), event()

    admitting.receive(first, second)

    assert seen == ['out', 'waiting']
    (parcel,) = admitting.sender.parcels
    assert (parcel.event, parcel.subscription, parcel.attempt, parcel.send) == (first.uuid, 'a', 1, 1)
    assert (parcel.text, parcel.max_attempts, parcel.card.uuid) == (first.text, 3, 'a')
    assert parcel.sent_at == pytest.approx(deliveries(admitting.database)[parcel.uuid].sent_at.timestamp(), abs=0.001)


def test_a_daemon_that_does_not_admit_writes_what_waits(daemon):
    daemon.subscribe('a')
    assert daemon.receive(event()) == [1]

    assert states(daemon.database) == ['waiting']
    assert daemon.sender.parcels == []


def test_rows_written_while_this_daemon_became_the_admitting_one_are_not_forgotten(daemon):
    daemon.subscribe('a')
    write = daemon.intake._write_unadmitted

    def write_late(batch):
        daemon.take_over()
        write(batch)

    daemon.intake._write_unadmitted = write_late
    daemon.receive(event())
    daemon.round()

    assert len(daemon.sender.parcels) == 1


def test_sequences_grow_from_batch_to_batch(admitting):
    admitting.subscribe('a')
    admitting.subscribe('b')
    for _ in range(3):
        admitting.receive(event(), event())

    sequences = [row.sequence for row in deliveries(admitting.database).values()]
    assert len(set(sequences)) == 12
    order = [row.event_uuid for row in deliveries(admitting.database).values() if row.subscription_uuid == 'a']
    with admitting.database.reading() as connection:
        by_due = connection.execute(
            select(DELIVERY.c.event_uuid)
            .where(DELIVERY.c.subscription_uuid == 'a')
            .order_by(DELIVERY.c.due_at, DELIVERY.c.sequence)
        ).scalars()
        assert list(by_due) == order


def test_a_large_fan_out_is_split_into_transactions(admitting, monkeypatch):
    monkeypatch.setattr('wazo_webhookd.deliveries.intake.BATCH_DELIVERIES', 5)
    for number in range(4):
        admitting.subscribe(f's{number}')

    assert admitting.receive(*(event() for _ in range(6))) == [4] * 6
    assert len(deliveries(admitting.database)) == 24


def test_a_subscription_answered_201_elsewhere_misses_nothing(admitting):
    admitting.subscribe('a')
    admitting.catalog.later[1] = lambda: admitting.subscribe_later('b')
    admitting.subscribe_later = lambda uuid: admitting.catalog.add(uuid)
    bump(admitting.database)

    assert admitting.receive(event()) == [2]
    assert admitting.catalog.version == 1


def test_a_disabled_subscription_gets_no_new_deliveries_but_its_events_are_in_the_journal(admitting):
    admitting.subscribe('a')
    admitting.receive(event('nothing'))
    with admitting.database.transaction() as connection:
        connection.execute(
            insert(EndpointHealth.__table__).values(
                key='sub:a', standing='fresh', circuit='closed', disabled=True, updated_at=event().received_at
            )
        )
    bump(admitting.database, 'disabled_version')

    assert admitting.receive(event()) == [0]
    assert len(journal(admitting.database)) == 1
    admitting.admitter.resume('a')
    assert admitting.receive(event()) == [1]


def test_events_about_an_endpoint_in_trouble_do_not_go_to_it(admitting):
    name = 'webhookd_endpoint_resting'
    admitting.subscribe('a', [name], endpoint='tenant|https://host:443')
    admitting.subscribe('neighbour', [name], endpoint='tenant|https://host:443')
    admitting.subscribe('watcher', [name])

    assert admitting.receive(event(name, body={'name': name, 'data': {'uuid': 'a'}})) == [1]
    assert [row.subscription_uuid for row in deliveries(admitting.database).values()] == ['watcher']


# -- twice --------------------------------------------------------------------------------------------


def test_an_event_redelivered_after_a_crash_makes_no_second_set(admitting):
    admitting.subscribe('a')
    admitting.subscribe('b')
    admitting.receive(event(fingerprint='print'))

    again = event(fingerprint='print', redelivered=True)
    assert admitting.receive(again) == [2]
    assert len(deliveries(admitting.database)) == 2
    assert again.uuid not in journal(admitting.database)


def test_a_redelivery_within_one_batch_is_recognised_too(admitting):
    admitting.subscribe('a')
    first, again = event(fingerprint='print'), event(fingerprint='print', redelivered=True)

    assert admitting.receive(first, again) == [1, 1]
    assert len(deliveries(admitting.database)) == 1


@pytest.mark.parametrize('redelivered', [False, True])
def test_events_that_merely_look_alike_are_two_events(admitting, redelivered):
    admitting.subscribe('a')
    fingerprint = None if redelivered else 'print'
    admitting.receive(event(fingerprint=fingerprint), event(fingerprint=fingerprint, redelivered=redelivered))

    assert len(deliveries(admitting.database)) == 2


def test_a_redelivery_waits_for_another_daemon_that_is_about_to_commit(postgresql):
    one, other = Daemon(postgresql), Daemon(postgresql, hands=0)
    for daemon in (one, other):
        daemon.catalog.add('a')
    one.take_over()
    inside, go_on = threading.Event(), threading.Event()
    settle = one.desk.lease.transaction

    @contextmanager
    def slow_transaction(**how):
        with settle(**how) as value:
            yield value
            inside.set()
            assert go_on.wait(5)

    one.desk.lease.transaction = slow_transaction
    committing = threading.Thread(target=one.receive, args=[event(fingerprint='print')])
    committing.start()
    assert inside.wait(5)
    threading.Timer(0.3, go_on.set).start()

    assert other.receive(event(fingerprint='print', redelivered=True)) == [1]

    committing.join()
    assert len(deliveries(postgresql)) == 1
    one.close()


# -- one bad event ------------------------------------------------------------------------------------


def test_one_event_that_the_database_refuses_costs_only_itself(admitting):
    bad = 'call\ud800'
    admitting.subscribe('a', ['call', bad])
    events = [event() for _ in range(7)]
    events[3] = event(bad)

    answers = admitting.receive(*events)

    assert [answer for answer in answers if not isinstance(answer, Exception)] == [1] * 6
    assert isinstance(answers[3], EventRefused)
    good = [happened.uuid for happened in events if happened is not events[3]]
    assert [row.event_uuid for row in deliveries(admitting.database).values()] == good
    assert set(journal(admitting.database)) == set(good)
    admitting.round()
    while len(admitting.sender.parcels) < 6:
        admitting.heard(*(Word(parcel.uuid, 1, 1, 'success', 0.01) for parcel in admitting.sender.parcels))
    assert admitting.sender.events == good


def test_one_event_that_cannot_be_matched_costs_only_itself(admitting):
    admitting.subscribe('a')
    answers = admitting.receive(event(), event('unmatchable'), event())

    assert answers[0] == answers[2] == 1
    assert isinstance(answers[1], EventRefused)


def test_an_odd_tenant_in_the_headers_is_not_stored(admitting):
    admitting.subscribe('a')
    happened = event(headers={'name': 'call', 'tenant_uuid': 'x\0', 'odd': float('inf'), 'n': 1})

    assert admitting.receive(happened) == [1]
    assert journal(admitting.database)[happened.uuid].tenant_uuid is None


def test_who_cannot_be_told_keeps_nobody_from_being_told(admitting):
    admitting.subscribe('a')
    told: list[object] = []

    def deaf(answer):
        raise RuntimeError

    admitting.intake.submit(Arrival(event(), deaf))
    admitting.intake.submit(Arrival(event(), told.append))
    admitting.intake._take(admitting.intake._collect())

    assert told == [1]


# -- the database is away -------------------------------------------------------------------------------


class Away:
    """Stands before a database or a lease and lets transactions fail: before anything, or in the commit."""

    def __init__(self, daemon: Daemon) -> None:
        self.daemon = daemon
        self.how = ''
        self.lease = daemon.desk.lease
        self._transaction = self.lease.transaction
        self._reading = daemon.database.reading
        self.lease.transaction = self.transaction
        daemon.database.reading = self.reading

    @contextmanager
    def transaction(self, **how):
        if self.how == 'down':
            raise DatabaseUnavailable
        with self._transaction(**how) as value:
            yield value
            if self.how == 'before the commit':
                raise DatabaseUnavailable
        if self.how == 'after the commit':
            raise DatabaseUnavailable

    @contextmanager
    def reading(self, **how):
        if self.how == 'down':
            raise DatabaseUnavailable
        with self._reading(**how) as connection:
            yield connection


def test_without_a_database_arrivals_are_told_so_at_once_and_it_heals(admitting, monkeypatch):
    monkeypatch.setattr('wazo_webhookd.deliveries.intake.PROBE_SECONDS', 0.0)
    admitting.subscribe('a')
    away = Away(admitting)
    away.how = 'down'

    first = admitting.receive(event(), event())
    second = admitting.receive(event())

    assert all(isinstance(answer, DatabaseUnavailable) for answer in [*first, *second])
    assert admitting.trouble == [True]
    assert not admitting.desk.outage.over
    away.how = ''
    assert admitting.receive(event()) == [1]
    assert admitting.trouble == [True, False]
    assert not admitting.desk.outage.over  # 45 s of quiet


def test_nothing_of_a_failed_batch_is_left_in_memory(admitting):
    admitting.subscribe('a')
    away = Away(admitting)
    away.how = 'down'
    admitting.receive(event(), event(), event())

    admission = admitting.desk.admission
    assert (admission.out, admission.held) == ({}, 0)
    assert admitting.sender.parcels == []


@pytest.mark.parametrize('how', ['before the commit', 'after the commit'])
def test_a_commit_whose_answer_was_lost_is_repeated_and_nothing_is_doubled_or_late(admitting, monkeypatch, how):
    monkeypatch.setattr('wazo_webhookd.deliveries.intake.PROBE_SECONDS', 0.01)
    admitting.subscribe('a')
    admitting.subscribe('b')
    away = Away(admitting)
    away.how = how
    threading.Timer(0.3, setattr, [away, 'how', '']).start()
    events = [event() for _ in range(3)]

    answers = admitting.receive(*events)

    assert answers == [2, 2, 2]
    assert len(deliveries(admitting.database)) == 6
    admitting.round(2)
    parcels = admitting.sender.parcels
    assert len({parcel.uuid for parcel in parcels}) == len(parcels) == 2
    assert {parcel.event for parcel in parcels} == {events[0].uuid}
    while len(admitting.sender.parcels) < 6:
        admitting.again('recount')
        out = [row for row in deliveries(admitting.database).values() if row.state == 'out']
        for row in out:
            change(admitting.database, row.uuid, state='success')
        admitting.heard(*(Word(row.uuid, 1, row.send, 'success', 0.01) for row in out))
    assert sorted(admitting.sender.uuids) == sorted(set(admitting.sender.uuids))


def test_what_another_daemon_stored_meanwhile_is_not_stored_again(admitting, monkeypatch):
    """The commit was lost with the connection, and so was the broker's, which handed the events to another daemon."""
    monkeypatch.setattr('wazo_webhookd.deliveries.intake.PROBE_SECONDS', 0.01)
    admitting.subscribe('a')
    before = datetime.now(UTC) - timedelta(seconds=30)
    with admitting.database.transaction() as connection:
        add_event(connection, 'earlier', fingerprint='two that look alike', received_at=before)
    away = Away(admitting)
    away.how = 'before the commit'

    def other_daemon():
        with admitting.database.transaction() as connection:
            admission_rows.state(connection, intake='alone')
            add_event(connection, 'theirs', fingerprint=journal_rows.again('one'), deliveries=7)
        away.how = ''

    threading.Timer(0.3, other_daemon).start()
    events = [event(fingerprint=fingerprint) for fingerprint in ('one', 'two that look alike', 'three', 'three', None)]
    answers = admitting.receive(*events)

    assert answers == [7, 1, 1, 1, 1]
    assert journal(admitting.database).keys() == {'earlier', 'theirs', *(happened.uuid for happened in events[1:])}
    assert len(deliveries(admitting.database)) == 4


def test_what_another_daemon_got_from_the_broker_and_stored_is_not_stored_too(admitting):
    """This one had it first, and does not know yet that its connection was lost; or it stood still."""
    admitting.subscribe('a')
    handed_over = event(fingerprint='one', redelivered=True)
    assert admitting.receive(handed_over) == [1]

    assert admitting.receive(event(fingerprint='one'), event(fingerprint='one', redelivered=True)) == [1, 1]
    assert admitting.receive(event(fingerprint='two'), event(fingerprint='two')) == [1, 1]
    assert journal(admitting.database).keys() >= {handed_over.uuid}
    assert len(journal(admitting.database)) == 3


def test_much_later_it_is_another_event_that_looks_alike(admitting):
    admitting.subscribe('a')
    long_ago = datetime.now(UTC) - timedelta(seconds=journal_rows.LATE_SECONDS + 5)
    admitting.receive(event(fingerprint='one', redelivered=True, received_at=long_ago))

    assert admitting.receive(event(fingerprint='one')) == [1]
    assert len(journal(admitting.database)) == 2


def test_somebody_who_waits_for_an_answer_is_told_in_time(admitting, monkeypatch):
    monkeypatch.setattr('wazo_webhookd.deliveries.intake.PROBE_SECONDS', 0.01)
    monkeypatch.setattr('wazo_webhookd.deliveries.intake.TELL_SECONDS', 0.05)
    admitting.subscribe('a')
    away = Away(admitting)
    away.how = 'after the commit'
    posted, received = event(source='rest'), event()
    late = event()

    def recover():
        admitting.intake.submit(Arrival(late, late_answers.append))
        until(lambda: late_answers)
        away.how = ''

    late_answers: list[object] = []
    recovering = threading.Timer(0.2, recover)
    recovering.start()
    answers = admitting.receive(posted, received)
    recovering.join()

    assert isinstance(answers[0], DatabaseUnavailable)
    assert answers[1] == 1
    assert isinstance(late_answers[0], DatabaseUnavailable)
    assert len(deliveries(admitting.database)) == 2


def test_a_table_that_is_missing_is_nobody_s_event_s_fault(admitting, monkeypatch):
    from sqlalchemy.exc import ProgrammingError

    admitting.subscribe('a')

    def insert_fails(*arguments, **more):
        raise ProgrammingError('INSERT', {}, Exception('relation does not exist'))

    monkeypatch.setattr('wazo_webhookd.deliveries.batch.delivery_rows.insert', insert_fails)
    (answer,) = admitting.receive(event())

    assert isinstance(answer, DatabaseUnavailable)


# -- who admits -----------------------------------------------------------------------------------------


def test_a_daemon_that_lost_the_lease_without_noticing_writes_what_waits(postgresql):
    frozen = Daemon(postgresql)
    frozen.subscribe('a')
    frozen.take_over()
    with postgresql.transaction() as connection:  # another one took over
        connection.execute(update(Fact.__table__).where(Fact.__table__.c.name == 'admission_epoch').values(number=99))

    assert frozen.receive(event()) == [1]

    assert states(postgresql) == ['waiting']
    assert frozen.sender.parcels == []
    assert not frozen.desk.lease.held


def test_lanes_of_other_daemons_reach_the_admitting_one(postgresql):
    one, other = Daemon(postgresql), Daemon(postgresql, hands=0)
    for daemon in (one, other):
        daemon.catalog.add('a')
    one.admitter.start()
    try:
        until(lambda: one.desk.lease.held and one.admitter._ears.listening and one.desk.admission.window.size)
        other.receive(event())
        until(lambda: one.sender.parcels)
    finally:
        one.admitter.stop()

    assert states(postgresql) == ['out']


def test_the_thread_takes_what_comes_and_stops(admitting):
    admitting.subscribe('a')
    answers: list[object] = []
    admitting.intake.start()
    for _ in range(50):
        admitting.intake.submit(Arrival(event(), answers.append))
    until(lambda: len(answers) == 50)
    for _ in range(50):
        admitting.intake.submit(Arrival(event(), answers.append))
    admitting.intake.stop()

    assert answers == [1] * 100


def test_rows_that_are_read_before_they_are_committed_are_not_forgotten(admitting):
    """The lane is unread, so the new delivery stays a row; before its commit the admitter reads the lane without it."""
    admitting.subscribe('a')
    lane = admitting.desk.admission.lane('a', 'tenant', 'tenant|https://a:443')
    admitting.desk.admission.unread(lane)
    insert_rows = journal_rows.insert

    def insert_after_a_look(connection, events):
        _, [hungry] = admitting.desk.admission.pick()
        admitting.desk.admission.refill(hungry, Waiting((), False, None, hungry.writes), 0.0)
        insert_rows(connection, events)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(journal_rows, 'insert', insert_after_a_look)
        admitting.receive(event())
    admitting.round()

    assert len(admitting.sender.parcels) == 1


def test_a_lane_with_rows_that_memory_does_not_know_is_not_overtaken(admitting):
    admitting.subscribe('a')
    with admitting.database.transaction() as connection:
        add_delivery(connection, 'old', 'a')
        connection.execute(delete(JOURNAL))
    admitting.admitter.kick(['a'])
    admitting.admitter._learn()

    admitting.receive(event())
    assert admitting.sender.parcels == []
