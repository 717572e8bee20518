"""What the broker hands out a second time is recognised, and several daemons take each event in once."""

from __future__ import annotations

import json
import uuid
from collections import Counter

import pytest

from integration_tests.support.bus import event
from integration_tests.support.site import Site
from integration_tests.support.until import for_a_while, until
from integration_tests.support.wire import Wire

pytestmark = pytest.mark.timeout(120)


def numbers(site: Site) -> Counter[int]:
    return Counter(json.loads(request.body)['number'] for request in list(site.receiver.requests))


def test_events_committed_but_not_acknowledged_make_no_second_set(site: Site) -> None:
    """The daemon's acknowledgements do not reach the broker; then it dies, and the next one gets all events again."""
    with Wire(site.rabbit.port) as wire:
        first = site.daemon('first', bus={'port': wire.port}).ready()
        first.rest.subscribe(site.receiver.url('/x'), ['a'])
        wire.hold('out')
        for number in range(40):  # recognised by their own timestamps
            site.bus.publish('a', {'number': number})
        for number in range(40, 60):  # by their message ids
            headers = {'name': 'a'}
            body = json.dumps({'name': 'a', 'origin_uuid': 'x', 'data': {'number': number}})
            site.bus.publish_raw(body, headers, message_id=str(uuid.uuid4()))
        site.receiver.wait_for(60)
        until(lambda: site.query('SELECT count(*) FROM webhookd_delivery WHERE state = %s', 'success') == [(60,)])
        first.kill()
    until(lambda: site.bus.depth(site.queue) == 60, what='the broker has them all again')
    second = site.daemon('second').ready()
    until(lambda: site.bus.depth(site.queue) == 0, what='they were taken in again')
    site.bus.publish('a', {'number': 60})
    site.receiver.wait_for(61)

    for_a_while(lambda: numbers(site) == Counter(range(61)), 1, what='nothing comes twice')
    assert site.query('SELECT count(*) FROM webhookd_journal') == [(61,)]
    assert site.query('SELECT count(*) FROM webhookd_delivery') == [(61,)]
    assert second.rest.status()['events']['malformed'] == 0


def test_two_events_that_merely_look_alike_are_two_events(site: Site) -> None:
    daemon = site.daemon().ready()
    daemon.rest.subscribe(site.receiver.url('/x'), ['a'])
    headers = event('a')
    body = json.dumps({**headers, 'data': {'number': 0}})
    for _ in range(3):
        site.bus.publish_raw(body, headers)
    site.receiver.wait_for(3, distinct=True)

    assert len(set(site.receiver.deliveries())) == 3


def test_subscription_answered_by_one_daemon_misses_nothing_that_the_other_takes_in(site: Site) -> None:
    site.configure(celery={'start_workers': False, 'hands': 32})
    daemons = [site.daemon('first'), site.daemon('second')]
    site.worker()
    for daemon in daemons:
        daemon.ready()
    for number in range(25):
        name = f'event-{number}'
        daemons[number % 2].rest.subscribe(site.receiver.url(f'/{number}'), [name])
        for _ in range(4):  # shared by both
            site.bus.publish(name, {'number': number})
    site.receiver.wait_for(100, seconds=40)

    for_a_while(lambda: numbers(site) == Counter(dict.fromkeys(range(25), 4)), 1)


def test_what_json_allows_is_stored_and_delivered_as_received(site: Site) -> None:
    daemon = site.daemon().ready()
    as_it_came = daemon.rest.subscribe(site.receiver.url('/body'), ['odd'])
    data = '{"number": 1e400, "nul": "\\u0000", "half": "\\ud800", "big": 123456789012345678901234567890}'
    text = f'{{"name": "odd", "origin_uuid": "x",  "data": {data}}}'
    site.bus.publish_raw(text, event('odd'))
    (request,) = site.receiver.wait_for(1)
    (row,) = until(lambda: daemon.rest.logs(as_it_came), what='the attempt is recorded')

    assert row['status'] == 'success'
    assert site.query('SELECT body FROM webhookd_journal') == [(text,)]
    assert request.text == data
    assert site.query('SELECT event::text FROM webhookd_subscription_log') == [(text,)]
