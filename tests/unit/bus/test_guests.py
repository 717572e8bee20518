import json
import logging
import threading
import uuid
from collections import defaultdict
from datetime import UTC, datetime

import pytest

from wazo_webhookd.bus import guests
from wazo_webhookd.bus.inert import InertBusConsumer, InertBusPublisher, LocalBus
from wazo_webhookd.domain.event import Event

SECONDS = 10


def event(name='ping', number=0, headers=None):
    body = {'name': name, 'data': {'number': number}}
    text = json.dumps(body)
    return Event('e', name, headers or {'name': name}, body, text, 'rest', datetime(2026, 1, 1, tzinfo=UTC))


class Ear:
    """Collects bodies until it has heard enough."""

    def __init__(self, expected=1):
        self.heard = []
        self.enough = threading.Event()
        self._expected = expected

    def __call__(self, body):
        self.heard.append(body['data']['number'])
        if len(self.heard) >= self._expected:
            self.enough.set()


@pytest.fixture
def bus():
    bus = LocalBus()
    yield bus
    bus.stop()


def test_handlers_hear_events_of_their_name_in_order(bus):
    ear = Ear(expected=100)
    bus.subscribe('ping', ear)
    for number in range(100):
        bus.tell_guests(event('pong', -1))
        bus.tell_guests(event('ping', number))

    assert ear.enough.wait(SECONDS)
    assert ear.heard == list(range(100))


def test_a_failing_handler_is_named_and_goes_on(bus, caplog):
    ear = Ear()

    def crash(body):
        raise ValueError('broken')

    bus.subscribe('ping', crash)
    bus.subscribe('ping', ear)
    with caplog.at_level(logging.ERROR):
        bus.tell_guests(event())

        assert ear.enough.wait(SECONDS)

    assert f'guest {__name__.partition(".")[0]}' in caplog.text
    assert 'ValueError: broken' in caplog.text


def test_a_slow_guest_delays_only_itself(bus):
    let_go = threading.Event()
    ear = Ear()

    def slow(body):
        let_go.wait(SECONDS)

    slow.__module__ = 'slow_guest.plugin'
    bus.subscribe('ping', slow)
    bus.subscribe('ping', ear)
    bus.tell_guests(event())

    assert ear.enough.wait(SECONDS)
    let_go.set()


def test_a_guest_that_does_not_keep_up_misses_events(monkeypatch, caplog):
    monkeypatch.setattr(guests, 'LANE_EVENTS', 3)
    let_go, started = threading.Event(), threading.Event()
    lane = guests.Lane('slow')
    heard = []

    def slow(body):
        started.set()
        let_go.wait(SECONDS)
        heard.append(body['data']['number'])

    registration = guests.Registration('ping', slow)
    with caplog.at_level(logging.WARNING):
        lane.put(registration, event(number=0))
        assert started.wait(SECONDS)
        for number in range(1, 11):
            lane.put(registration, event(number=number))

    assert lane.missed == 7
    assert caplog.text.count('too slow') == 3  # the 1st, 2nd and 4th time
    let_go.set()
    lane.stop()


def test_unsubscribing_says_whether_there_was_anything(bus):
    ear = Ear()
    bus.subscribe('ping', ear)

    assert bus.unsubscribe('ping', ear) is True
    assert bus.unsubscribe('ping', ear) is False
    bus.tell_guests(event())
    assert bus._desk.names() == set()


def test_uuid_objects_and_texts_are_the_same_key(bus):
    key = uuid.uuid4()
    ear, replaced = Ear(), Ear()
    bus.subscribe_to_event_names(
        uuid=key, event_names=['other'], user_uuid=None, wazo_uuid=None, callback=lambda body, event: replaced(body)
    )
    bus.change_subscription(str(key), ['ping', 'ping'], None, None, lambda body, event: ear(body))

    assert bus._desk.names() == {'ping'}
    bus.tell_guests(event())
    assert ear.enough.wait(SECONDS)
    assert ear.heard == [0]

    bus.unsubscribe_from_event_names(key)
    bus.unsubscribe_from_event_names('unknown')
    assert bus._desk.names() == set()


def test_a_uuid_is_needed(bus):
    with pytest.raises(RuntimeError, match='uuid must be set'):
        bus.subscribe_to_event_names(None, ['ping'], None, None, print)


def test_running_may_be_read_or_called(bus):
    assert bus.is_running
    assert bus.is_running() is True
    assert not guests.Flag(False)
    assert guests.Flag(False)() is False


def test_status_is_a_component(bus):
    status = defaultdict(dict)
    bus.provide_status(status)

    assert status == {'bus_consumer': {'status': 'ok'}}


def test_an_inert_bus_accepts_everything_and_calls_nobody():
    bus = InertBusConsumer()
    ear = Ear()
    bus.subscribe('ping', ear)
    bus.subscribe_internal('ping', ear)
    bus.tell_guests(event())
    with InertBusPublisher.from_config('uuid', {}) as publisher:
        publisher.publish(object())

    assert not bus._desk._lanes
    assert ear.heard == []
