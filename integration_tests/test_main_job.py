"""The main job with real parts: an event on the bus becomes a request at a receiver, and a row in the log."""

from __future__ import annotations

import json
import time
import uuid
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from integration_tests.support.auth_double import MASTER
from integration_tests.support.bus import WAZO_UUID, event
from integration_tests.support.figures import Note
from integration_tests.support.receiver import Answer, doubles
from integration_tests.support.site import Daemon, Site
from integration_tests.support.until import for_a_while, until


def succeeded(daemon: Daemon, subscription: str, number: int, seconds: float = 20) -> list[dict[str, Any]]:
    """Wait until so many attempts are recorded as success; their rows, oldest first."""

    def rows() -> list[dict[str, Any]] | None:
        found = daemon.rest.logs(subscription, order='started_at', direction='asc')
        good = [row for row in found if row['status'] == 'success']
        return good if len(good) >= number else None

    found = until(rows, seconds, what=f'{number} successful attempts of {subscription}')
    assert found is not None
    return found


def test_two_hundred_events_reach_exactly_the_right_subscriptions(site: Site) -> None:
    tenant = site.auth.add_tenant()
    daemon = site.daemon().ready()
    rest = daemon.rest
    created = rest.subscribe(site.receiver.url('/created'), ['call_created'])
    both = rest.subscribe(site.receiver.url('/both'), ['call_created', 'call_ended'])
    body = {'name': 'test', 'service': 'http', 'events': ['call_ended'],
            'config': {'url': site.receiver.url('/tenant'), 'method': 'post'}}  # fmt: skip
    of_tenant = rest.create(body, tenant=tenant)['uuid']

    published = []
    for number in range(200):
        name = ('call_created', 'call_ended', 'call_updated', 'call_ended')[number % 4]
        whose = tenant if number % 3 == 0 else None
        published.append((number, name, whose, site.bus.publish(name, {'number': number}, tenant=whose)))
    wanted = {
        '/created': [number for number, name, _, _ in published if name == 'call_created'],
        '/both': [number for number, name, _, _ in published if name in ('call_created', 'call_ended')],
        '/tenant': [number for number, name, whose, _ in published if name == 'call_ended' and whose == tenant],
    }
    site.receiver.wait_for(sum(map(len, wanted.values())))
    for_a_while(lambda: len(site.receiver.requests) == sum(map(len, wanted.values())), 1, what='nothing arrives twice')

    bodies = {number: body for number, _, _, body in published}
    for path, subscription in (('/created', created), ('/both', both), ('/tenant', of_tenant)):
        requests = site.receiver.at(path)
        assert sorted(json.loads(request.body)['number'] for request in requests) == wanted[path]
        assert {request.method for request in requests} == {'POST'}
        assert {request.headers['content-type'] for request in requests} == {'application/json; charset=utf-8'}
        assert all(request.text == json.dumps(json.loads(request.text)) for request in requests)
        assert all(abs(int(request.headers['webhook-timestamp']) - request.at) < 5 for request in requests)

        rows = succeeded(daemon, subscription, len(requests))
        assert len(rows) == len(requests)
        assert {row['attempts'] for row in rows} == {1}
        assert {row['uuid'] for row in rows} == {request.delivery for request in requests}
        assert all(row['event'] == bodies[row['event']['data']['number']] for row in rows)

        sent = site.query(
            'SELECT j.body, d.sent_at FROM webhookd_delivery d JOIN webhookd_journal j ON j.uuid = d.event_uuid '
            'WHERE d.subscription_uuid = %s ORDER BY d.sequence',
            subscription,
        )
        assert [json.loads(text)['data']['number'] for text, _ in sent] == wanted[path]
        times = [at.timestamp() for _, at in sent]  # of those marked in one statement, in any order
        assert all(later > earlier - 0.02 for earlier, later in pairwise(times))


def test_first_attempts_leave_in_the_order_of_the_events(site: Site) -> None:
    daemon = site.daemon(celery={'processes': 1, 'hands': 1}).ready()
    daemon.rest.subscribe(site.receiver.url('/x'), ['a', 'b'])
    site.receiver.answer('/x', *[Answer(delay=0.002 * (number % 4)) for number in range(120)])
    for number in range(120):
        site.bus.publish('ab'[number % 2], {'number': number})
    requests = site.receiver.wait_for(120)

    assert [json.loads(request.body)['number'] for request in requests] == list(range(120))


def test_templates_method_and_content_type_are_used(site: Site) -> None:
    daemon = site.daemon().ready()
    daemon.rest.subscribe(
        site.receiver.url('/{{ event.room }}?{{ event.query | urlencode }}'),
        ['chat'],
        config={
            'method': 'put',
            'body': '{{ event_name }} in {{ event.room }} on {{ wazo_uuid }}',
            'content_type': 'text/x-chat',
        },
    )
    site.bus.publish('chat', {'room': 'kitchen', 'query': {'a': 'b c'}})
    (request,) = site.receiver.wait_for(1)

    assert request.method == 'PUT'
    assert (request.path, request.query) == ('/kitchen', 'a=b+c')
    assert request.text == f'chat in kitchen on {WAZO_UUID}'
    assert request.headers['content-type'] == 'text/x-chat; charset=utf-8'


def test_change_and_deletion_take_effect_at_once(site: Site) -> None:
    daemon = site.daemon().ready()
    subscription = daemon.rest.subscribe(site.receiver.url('/old'), ['a'])
    site.bus.publish('a')
    site.receiver.wait_for(1, '/old')
    changed = {
        'name': 'new',
        'service': 'http',
        'events': ['b'],
        'config': {'url': site.receiver.url('/new'), 'method': 'post'},
    }
    assert daemon.rest.call('PUT', f'/subscriptions/{subscription}', changed).status_code == 200
    site.bus.publish('a')
    site.bus.publish('b')
    site.receiver.wait_for(1, '/new')
    assert daemon.rest.call('DELETE', f'/subscriptions/{subscription}').status_code == 204
    site.bus.publish('b')

    for_a_while(lambda: Counter(item.path for item in site.receiver.requests) == {'/old': 1, '/new': 1}, 1)


def test_worker_of_its_own_delivers(site: Site) -> None:
    daemon = site.daemon(celery={'start_workers': False}).listens()
    subscription = daemon.rest.subscribe(site.receiver.url('/x'), ['a'])
    until(lambda: daemon.rest.status()['bus_consumer']['status'] == 'ok')
    site.bus.publish('a')
    for_a_while(lambda: not site.receiver.requests, 1, what='nobody delivers yet')
    worker = site.worker()
    site.receiver.wait_for(1)
    succeeded(daemon, subscription, 1)

    assert daemon.workers() == []
    assert worker.stop() == 0
    assert daemon.stop() == 0


def test_event_that_came_while_the_daemon_was_down_is_delivered(site: Site) -> None:
    daemon = site.daemon().ready()
    daemon.rest.subscribe(site.receiver.url('/x'), ['a'])
    assert daemon.stop() == 0
    for number in range(50):
        site.bus.publish('a', {'number': number})
    site.daemon('second').ready()
    requests = site.receiver.wait_for(50)

    assert sorted(json.loads(request.body)['number'] for request in requests) == list(range(50))


def test_event_posted_over_rest_goes_the_same_way(site: Site) -> None:
    tenant = site.auth.add_tenant()
    daemon = site.daemon().ready()
    mine = daemon.rest.subscribe(site.receiver.url('/master'), ['a'])
    answer = daemon.rest.send('a', {'x': 1})
    (request,) = site.receiver.wait_for(1, '/master')

    assert answer['deliveries'] == 1
    assert json.loads(request.body) == {'x': 1}
    assert succeeded(daemon, mine, 1)[0]['event']['name'] == 'a'
    assert daemon.rest.call('POST', '/events', {'data': 1}).status_code == 400
    assert daemon.rest.call('POST', '/events', {'name': 'a', 'data': 2}, tenant=tenant).json()['deliveries'] in (0, 1)


# -- the contract of the published documentation --------------------------------------------------

DOCUMENTED = {'name': 'Example webhook', 'service': 'example', 'config': {'time_sleep': 10}, 'events': ['user_created']}


@pytest.fixture
def example(site: Site, install: Callable[[str], Path]) -> Path:
    """The documentation's package is installed; the file where it notes what its bus callback heard."""
    site.python_path.append(install('example_service'))
    notes = site.folder / 'notes'
    site.environment['EXAMPLE_SERVICE_NOTES'] = str(notes)
    return notes


def of_the_example(daemon: Daemon) -> list[dict[str, Any]]:
    return [item for item in daemon.rest.get('/subscriptions')['items'] if item['name'] == 'my-subscription']


@pytest.mark.timeout(180)
def test_example_of_the_documentation_works(site: Site, example: Path) -> None:
    site.configure(enabled_services={'example': True}, celery={'processes': 3, 'hands': 8})
    daemon = site.daemon().ready()
    rest = daemon.rest
    assert set(rest.get('/subscriptions/services')['services']) >= {'http', 'example'}
    assert 'example_service' in daemon.output, 'the log says that a guest replaces our service of that name'

    as_documented = rest.create(DOCUMENTED)
    right = rest.create({**DOCUMENTED, 'config': {'sleep_time': 0}})
    user = str(uuid.uuid4())
    published = site.bus.publish('user_created', {'uuid': user})
    (done,) = succeeded(daemon, right['uuid'], 1)
    failed = until(lambda: rest.logs(as_documented['uuid']), what='the other attempt is recorded')

    assert as_documented['config'] == {'time_sleep': 10}
    assert done['event'] == published
    assert [row['status'] for row in failed] == ['error']
    assert 'sleep_time' in json.dumps(failed[0]['detail'])
    until(example.exists, what='the callback heard of the user')
    assert example.read_text() == f'user {user} {user} user_created has been created\n'

    (created,) = until(lambda: of_the_example(daemon), what='the subscription of load() exists')
    assert created['owner_tenant_uuid'] == MASTER
    site.bus.publish('call_created', {})
    until(lambda: rest.deliveries(created['uuid']), what='the subscription of load() is live')

    for run in ('second', 'third'):
        assert daemon.stop() == 0
        daemon = site.daemon(run).ready()
        again = until(lambda: of_the_example(daemon))  # noqa: B023 - called at once
        assert [item['uuid'] for item in again] == [created['uuid']]


def test_service_that_is_installed_but_not_enabled_is_named(site: Site, example: Path) -> None:
    daemon = site.daemon().ready()
    subscription = daemon.rest.create(DOCUMENTED)
    site.bus.publish('user_created', {'uuid': 'x'})
    (row,) = until(lambda: daemon.rest.logs(subscription['uuid']), what='the attempt is recorded')

    assert row['status'] == 'error'
    assert 'example' in json.dumps(row['detail'])
    assert 'enabled' in json.dumps(row['detail'])
    assert 'example' in daemon.output
    assert not example.exists()


# -- whatever dies --------------------------------------------------------------------------------


@pytest.mark.timeout(240)
def test_all_arrive_though_daemon_and_worker_are_killed_in_the_middle(site: Site, note: Note) -> None:
    hands = 16
    site.configure(celery={'processes': 1, 'hands': hands})
    site.receiver.answer('/x', always=Answer(delay=0.1))
    daemon = site.daemon().ready()
    subscription = daemon.rest.subscribe(site.receiver.url('/x'), ['a'])
    for number in range(300):
        site.bus.publish('a', {'number': number})

    site.receiver.wait_for(60)
    (worker, *_) = daemon.workers()
    worker.kill()
    first_kill = time.time()
    site.receiver.wait_for(120, seconds=60)
    daemon.kill()
    second_kill = time.time()
    second = site.daemon('second').ready()
    requests = site.receiver.wait_for(300, seconds=120, distinct=True)
    until(lambda: len(second.rest.logs(subscription)) >= 300, 30, what='all are recorded')

    again = doubles(request.delivery for request in requests)
    in_flight = [
        len([item for item in requests if at - 0.2 <= item.at <= at + 0.1]) for at in (first_kill, second_kill)
    ]
    note(f'300 deliveries, daemon and worker killed: {again} doubles, about {in_flight} in flight at the kills')
    assert sorted({json.loads(request.body)['number'] for request in requests}) == list(range(300))
    assert again <= 2 * hands
    assert {row['status'] for row in second.rest.logs(subscription)} == {'success'}


# -- rubbish on the bus ---------------------------------------------------------------------------

DEEP = '{"name": "a", "data": ' + '[' * 5000 + ']' * 5000 + '}'
MALFORMED: dict[str, tuple[str | bytes, dict[str, Any]]] = {
    'not JSON': ('{"name": ', event('a')),
    'a text, not JSON': ('hello', event('a')),
    'a list': ('[1, 2]', event('a')),
    'a number': ('5', event('a')),
    'null': ('null', event('a')),
    'empty': ('', event('a')),
    'not a number': ('{"name": "a", "data": NaN}', event('a')),
    'infinity': ('{"name": "a", "data": -Infinity}', event('a')),
    'invalid UTF-8': (b'{"name": "a", "data": "\xff\xfe"}', event('a')),
    'nested without end': (DEEP, event('a')),
    'no name anywhere': ('{"data": {}}', {}),
    'a name that is no text': ('{"name": 5}', {'name': 5}),
}


def test_malformed_messages_are_told_once_counted_and_acknowledged(site: Site) -> None:
    daemon = site.daemon().ready()
    daemon.rest.subscribe(site.receiver.url('/x'), ['a'])
    until(lambda: site.bus.depth(site.queue) == 0)
    before = daemon.rest.status()['events']
    for body, headers in MALFORMED.values():
        site.bus.publish_raw(body, headers, queue=site.queue)
    huge = json.dumps({'name': 'a', 'data': 'x' * 5_000_000})
    site.bus.publish_raw(huge, event('a'))
    good = site.bus.publish('a', {'good': True})
    requests = site.receiver.wait_for(1)

    def counted() -> bool:
        now = daemon.rest.status()['events']
        assert now['malformed'] - before['malformed'] == len(MALFORMED)
        assert now['dropped'] - before['dropped'] == 1
        return True

    until(counted, what='all malformed messages are counted')
    assert [json.loads(request.body) for request in requests] == [good['data']]
    assert site.bus.depth(site.queue) == 0
    assert daemon.rest.status()['bus_consumer']['status'] == 'ok'
    told = [line for line in daemon.output.splitlines() if 'alformed' in line]
    assert len(told) == len(MALFORMED), '\n'.join(told)
    assert len([line for line in daemon.output.splitlines() if str(len(huge)) in line]) == 1


def test_what_json_allows_is_delivered_as_it_came(site: Site) -> None:
    daemon = site.daemon().ready()
    subscription = daemon.rest.subscribe(site.receiver.url('/x'), ['odd'])
    data = '{"nul": "\\u0000", "half": "\\ud800", "big": 123456789012345678901234567890}'
    text = f'{{"name": "odd", "origin_uuid": "x", "data": {data}}}'
    site.bus.publish_raw(text, event('odd'))
    (request,) = site.receiver.wait_for(1)
    succeeded(daemon, subscription, 1)

    assert json.loads(request.body) == json.loads(data)
