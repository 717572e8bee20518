"""What authors of services and plugins are promised (reference, delivery 1.9 and 7), with guests installed by pip."""

from __future__ import annotations

import json
import socket
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests

from integration_tests.support.auth_double import MASTER
from integration_tests.support.bus import WAZO_UUID
from integration_tests.support.receiver import Answer
from integration_tests.support.site import Daemon, Site
from integration_tests.support.until import for_a_while, until

SERVICES = ('by-class', 'by-instance', 'by-task', 'both-ways', 'listener', 'broken', 'owner')
FOR_SERVICES = {
    'api', 'auth_client', 'bus_consumer', 'bus_publisher', 'celery', 'config', 'status_aggregator',
    'token_change_subscribe',
}  # fmt: skip
FOR_PLUGINS = FOR_SERVICES | {'service_manager', 'next_token_change_subscribe'}


class Guests:
    """The package ``plugins/guests``, installed and enabled, and what it wrote down."""

    def __init__(self, site: Site, folder: Path) -> None:
        self.site = site
        self._notes = site.folder / 'notes'
        site.python_path.append(folder)
        site.environment['GUESTS_NOTES'] = str(self._notes)
        site.configure(
            enabled_services=dict.fromkeys(SERVICES, True),
            enabled_plugins={'guest-room': True, 'broken-room': True, 'not-there': True},
            enabled_celery_tasks={'guest-tasks': True, 'broken-tasks': True},
            guest_section={'secret': 'of the guest', 'url': site.receiver.url('')},
            hook_retry_schedule=[0, 1, 1],
            hook_retry_jitter=0,
        )

    def notes(self, who: str) -> list[dict[str, Any]]:
        if not self._notes.exists():
            return []
        lines = [json.loads(line) for line in self._notes.read_text().splitlines()]
        return [line for line in lines if line['who'] == who]

    def noted(self, who: str, number: int = 1) -> list[dict[str, Any]]:
        """What this guest wrote, once there is so much of it."""
        found = until(
            lambda: self.notes(who) if len(self.notes(who)) >= number else None, what=f'{number} notes of {who}'
        )
        assert found is not None
        return found


@pytest.fixture
def guests(site: Site, install: Callable[[str], Path]) -> Guests:
    return Guests(site, install('guests'))


def outcomes(daemon: Daemon, service: str, wishes: list[str]) -> dict[str, list[dict[str, Any]]]:
    """Deliver one event to a subscription for each wish; the log rows of each, once its delivery has ended."""
    name = f'event_{uuid.uuid4().hex[:8]}'
    wish = {'name': 'test', 'service': service, 'events': [name]}
    made = {how: daemon.rest.create({**wish, 'config': {'how': how}})['uuid'] for how in wishes}
    daemon.rest.send(name, {'a': 1})

    def ended(subscription: str) -> bool:
        (delivery,) = daemon.rest.deliveries(subscription)
        return delivery['state'] not in ('waiting', 'out')

    for how, subscription in made.items():
        until(lambda: ended(subscription), what=f'the end of the delivery to {service}, {how}')  # noqa: B023
    return {
        how: daemon.rest.logs(subscription, order='attempts', direction='asc') for how, subscription in made.items()
    }


def brief(rows: list[dict[str, Any]]) -> list[tuple[str, Any]]:
    return [(row['status'], row['detail']) for row in rows]


def test_outcomes_of_the_run_contract(site: Site, guests: Guests) -> None:
    daemon = site.daemon().ready()
    wishes = [
        'dict', 'none', 'text', 'expected', 'retry', 'retry-text', 'crash', 'exit', 'self-retry', 'attempts', 'config',
    ]  # fmt: skip
    rows = outcomes(daemon, 'by-class', wishes)

    def every(detail: Any) -> list[tuple[str, Any]]:
        return [('failure', detail), ('failure', detail), ('error', detail)]

    assert brief(rows['dict']) == [('success', {'fine': True})]
    assert brief(rows['none']) == [('success', {})]
    assert brief(rows['text']) == [('error', {'error': 'a plain text'})]
    assert brief(rows['expected']) == [('error', {'message': 'of the guest', 'error_id': 'guest-error'})]
    assert brief(rows['retry']) == every({'error': 'try again'})
    assert brief(rows['retry-text']) == every({'error': 'a plain text'})
    assert brief(rows['crash']) == [('error', {'error': 'of the guest'})]
    assert [row['status'] for row in rows['exit']] == ['error']
    assert brief(rows['self-retry']) == every({'error': 'again, please'})
    last = rows['attempts'][2]
    assert last['detail'] == {'retries': 2, 'max_retries': 2, 'id': last['uuid']}
    assert [row['attempts'] for row in rows['attempts']] == [1, 2, 3]
    assert {row['max_attempts'] for row in rows['attempts']} == {3}
    assert len({row['uuid'] for row in rows['attempts']}) == 1
    assert brief(rows['config']) == [('success', {})]

    (loaded,) = [item for item in guests.notes('by-class') if 'loaded' in item]
    assert set(loaded['loaded']) >= FOR_SERVICES
    assert loaded['pid'] == daemon.pid, 'load() of the run contract is called in the daemon only'
    (ran,) = [item for item in guests.notes('by-class') if 'secret' in item]
    assert (ran['secret'], ran['db_uri']) == ('of the guest', True)
    assert ran['pid'] in [worker.pid for worker in daemon.workers()]


def test_what_run_is_called_with_and_the_helpers(site: Site, guests: Guests) -> None:
    daemon = site.daemon().ready()
    rest = daemon.rest
    site.receiver.answer('/x', Answer(503), Answer(body=b'{"a": 1}'))
    wish = {'name': 'n', 'service': 'by-class', 'events': ['e']}
    subscription = rest.create({**wish, 'config': {'how': 'arguments', 'number': 1.5, 'flag': True}})
    asking = rest.create({**wish, 'config': {'how': 'request', 'url': site.receiver.url('/x')}})
    body = site.bus.publish('e', {'deep': [{'er': None}]}, tenant=MASTER, users=('u', 'v'))
    (seen,) = [item for item in guests.noted('by-class', 2) if 'event' in item]
    rows = until(lambda: rest.logs(asking['uuid']) if len(rest.logs(asking['uuid'])) == 2 else None)

    assert seen['subscription'] == rest.get(f'/subscriptions/{subscription["uuid"]}') == subscription
    assert seen['event'] == body
    assert rows is not None
    assert [row['status'] for row in rows] == ['success', 'failure']
    assert rows[0]['detail']['response_body'] == {'a': 1}
    assert rows[1]['detail']['error'].startswith('503 Server Error: Service Unavailable')


def test_outcomes_of_the_task_contract(site: Site, guests: Guests) -> None:
    daemon = site.daemon(celery={'processes': 2}).ready()
    wishes = ['prefix', 'none', 'text', 'retry', 'crash', 'self-retry', 'native-retry', 'attempts']
    rows = outcomes(daemon, 'by-task', wishes)

    (prefix,) = rows['prefix']
    assert prefix['detail'] == {
        'prefix': 'guest of the tests', 'event': prefix['event']['name'],
        'subscription': daemon.rest.get(f'/deliveries/{prefix["uuid"]}')['subscription_uuid'],
    }  # fmt: skip
    assert brief(rows['none']) == [('success', {})]
    assert brief(rows['text']) == [('error', {'error': 'a plain text'})]
    assert [row['status'] for row in rows['retry']] == ['failure', 'failure', 'error']
    assert brief(rows['crash']) == [('error', {'error': 'of the guest'})]
    assert [row['status'] for row in rows['self-retry']] == ['failure', 'failure', 'error']
    assert [row['status'] for row in rows['native-retry']] == ['failure', 'success']
    assert rows['native-retry'][1]['detail'] == {'retries': 1}
    assert rows['attempts'][2]['detail']['id'] == rows['attempts'][0]['uuid']
    loaded = guests.noted('by-task', 3)
    assert {item['pid'] for item in loaded} == {daemon.pid, *(worker.pid for worker in daemon.workers())}
    assert all(set(item['loaded']) >= FOR_SERVICES for item in loaded)


def test_other_ways_of_being_a_service(site: Site, guests: Guests) -> None:
    daemon = site.daemon().ready()

    def only(service: str) -> tuple[str, Any]:
        ((status, detail),) = brief(outcomes(daemon, service, ['x'])['x'])
        return status, detail

    assert only('by-instance') == ('success', {'word': 'made'})
    assert [item['pid'] for item in guests.notes('by-instance')] == [daemon.pid]
    assert only('both-ways') == ('success', {'by': 'run'})
    for service, sentence in (
        ('listener', 'only listens to the bus'),
        ('broken', 'failed to load'),
        ('nowhere', 'not installed'),
    ):
        status, detail = only(service)
        assert status == 'error'
        assert sentence in detail['error'] or 'was not loaded' in detail['error']
    services = daemon.rest.get('/subscriptions/services')['services']
    assert {'by-class', 'by-instance', 'by-task', 'both-ways', 'listener', 'owner', 'http'} <= set(services)
    assert 'broken' not in services
    assert 'failed to load' in daemon.rest.status()['services']['broken']['broken']
    for named in ('service broken (guests.services:Broken) failed to load', 'plugin broken-room', 'not-there'):
        assert named in daemon.output
    assert 'celery task module broken-tasks' in daemon.output


def test_handlers_of_bus_events(site: Site, guests: Guests) -> None:
    daemon = site.daemon().ready()
    ping = site.bus.publish('guests_ping', {'n': 1})
    site.bus.publish('guests_ping', {'n': 2}, tenant='wanted')
    site.bus.publish('guests_crash')
    site.bus.publish('guests_crash')
    site.bus.publish_raw('{"name": "guests_ping", "data": null}', {'name': 'guests_ping'})
    site.bus.publish('guests_old', {'uuid': 'created'})
    site.bus.publish('guests_older', {'uuid': 'created, too'}, tenant='t')
    site.bus.publish('guests_user', {'uuid': 'not for u'}, users=('v',))
    site.bus.publish('guests_user', {'uuid': 'for u'}, users=('u',))

    pings = guests.noted('ping', 3)
    assert [item['body'] for item in pings][0::2] == [ping, {'name': 'guests_ping', 'data': None}]
    assert pings[0]['pid'] == daemon.pid
    (of_tenant,) = guests.noted('ping-of-tenant')
    assert of_tenant['headers']['tenant_uuid'] == 'wanted'
    guests.noted('crash', 2)
    old = guests.noted('old', 3)
    assert [item['uuid'] for item in old] == ['created', 'created, too', 'for u']
    assert [item['name'] for item in old] == ['guests_old', 'guests_older', 'guests_user']
    assert old[1]['headers']['tenant_uuid'] == 't'
    assert old[0]['headers']['origin_uuid'] == WAZO_UUID

    site.bus.publish('guests_stop')
    (stopped,) = guests.noted('stopped')
    assert (stopped['found'], stopped['again']) == (True, False)
    site.bus.publish('guests_ping')
    site.bus.publish('guests_old', {'uuid': 'x'})
    site.bus.publish('guests_user', {'uuid': 'still heard'}, users=('u',))
    guests.noted('old', 4)
    for_a_while(lambda: (len(guests.notes('ping')), len(guests.notes('old'))) == (3, 4), 0.5)

    assert daemon.rest.status()['guests'] == {'status': 'ok'}
    assert site.bus.depth(site.queue) == 0


def test_what_a_guest_publishes_is_an_event_of_this_server(site: Site, guests: Guests) -> None:
    daemon = site.daemon().ready()
    subscription = daemon.rest.subscribe(site.receiver.url('/x'), ['guests_said'])
    site.bus.publish('guests_publish')
    first, second = guests.noted('said', 2)

    assert first['headers'].items() >= {
        'name': 'guests_said', 'origin_uuid': WAZO_UUID, 'tenant_uuid': 'of the guest',
        'required_access': 'event.guests_said', 'required_acl': 'events.guests.said',
    }.items()  # fmt: skip
    assert first['body'] == {**first['headers'], 'data': {'word': 'first'}}
    assert (second['headers']['room'], second['body']['data']) == ('kitchen', {'word': 'second'})
    site.receiver.wait_for(2)
    assert len(daemon.rest.deliveries(subscription)) == 2
    assert len(guests.noted('new-token')) == 1


def test_rooms_tasks_and_status_of_a_plugin(site: Site, guests: Guests) -> None:
    daemon = site.daemon().listens()
    rest = daemon.rest
    (room,) = guests.noted('room')
    until(lambda: guests.notes('token'), what='the next token is told')
    until(lambda: rest.status()['task_workers']['status'] == 'ok')
    assert set(room['loaded']) >= FOR_PLUGINS
    assert room['prefix'] == '/1.0'
    assert {'http', 'by-class', 'by-task', 'listener'} <= set(room['services'])

    assert rest.call('GET', '/guests', headers={'X-Auth-Token': ''}).json() == {'word': 'open'}
    assert rest.call('POST', '/guests/tasks', {}, headers={'X-Auth-Token': 'wrong'}).status_code == 401
    assert rest.call('POST', '/guests/tasks', {'left': 2, 'right': 3}).status_code == 204
    assert rest.call('POST', '/guests/tasks', {'left': 4, 'right': 5, 'fail': 2}).status_code == 204
    until(lambda: len([item for item in guests.notes('task') if 'sum' in item]) == 2, what='both tasks ran')
    first, second = sorted((item for item in guests.notes('task') if 'sum' in item), key=lambda item: item['sum'])
    assert (first['sum'], first['retries'], first['config']) == (5, 0, {'guest': 'of the guest'})
    assert (second['sum'], second['retries']) == (9, 2)
    assert first['pid'] in [worker.pid for worker in daemon.workers()]
    assert rest.status()['guest_room'] == {'status': 'ok'}

    site.bus.publish_raw('{"data": 1}', {'name': 'guests_sentinel'})
    assert guests.noted('sentinel')[0]['body'] == {'data': 1}
    assert len(guests.notes('token')) == 1


def test_subscriptions_of_a_guest_are_live_at_once(site: Site, guests: Guests) -> None:
    daemon = site.daemon().ready()
    site.bus.publish('guests_create')
    (created,) = guests.noted('created')
    assert (created['metadata'], created['tenant']) == ({'guest': 'yes'}, MASTER)
    shown = daemon.rest.get(f'/subscriptions/{created["uuid"]}')
    assert shown['config']['tries'] == 3
    site.bus.publish('guests_event', {'n': 1})
    site.receiver.wait_for(1, '/first')

    site.bus.publish('guests_change')
    guests.noted('changed')
    site.bus.publish('guests_event', {'n': 2})
    site.receiver.wait_for(1, '/second')

    site.bus.publish('guests_delete')
    assert guests.noted('deleted')[0]['left'] == 0
    site.bus.publish('guests_event', {'n': 3})
    for_a_while(lambda: len(site.receiver.requests) == 2, 0.5)
    assert guests.noted('owner')[0]['same']


def test_services_of_guests_work_in_prefork_too(site: Site, guests: Guests) -> None:
    site.configure(celery={'pool': 'prefork'})
    daemon = site.daemon().ready()
    titles = [' '.join(child.cmdline()) for child in daemon.children()]
    assert len([title for title in titles if f'webhookd@{socket.gethostname()}:ForkPoolWorker-' in title]) == 3
    assert len([title for title in titles if f'webhookd@{socket.gethostname()}:MainProcess' in title]) == 1
    by_class = outcomes(daemon, 'by-class', ['dict', 'text', 'attempts', 'crash'])
    by_task = outcomes(daemon, 'by-task', ['prefix', 'native-retry', 'text'])

    assert brief(by_class['dict']) == [('success', {'fine': True})]
    assert brief(by_class['text']) == [('error', {'error': 'a plain text'})]
    assert by_class['attempts'][2]['detail']['retries'] == 2
    assert brief(by_class['crash']) == [('error', {'error': 'of the guest'})]
    assert by_task['prefix'][0]['detail']['prefix'] == 'guest of the tests'
    assert [row['status'] for row in by_task['native-retry']] == ['failure', 'success']
    assert brief(by_task['text']) == [('error', {'error': 'a plain text'})]


@pytest.mark.timeout(120)
def test_guests_that_need_the_database_at_start_get_it_later(
    private_site: Site, install: Callable[[str], Path]
) -> None:
    site = private_site
    site.python_path.append(install('example_service'))
    site.configure(enabled_services={'example': True}, auth={'master_tenant_uuid': MASTER})
    site.postgres.stop()
    daemon = site.daemon().listens()
    assert 'example failed to load: the database is away; it will be loaded again' in daemon.output
    site.postgres.start()
    until(daemon.all_ok, 30, what='all is well', catching=requests.RequestException)

    def mine() -> list[dict[str, Any]]:
        items = daemon.rest.get('/subscriptions')['items']
        return [item for item in items if item['name'] == 'my-subscription']

    until(mine, what='the subscription of load() exists')
    wish = {'name': 'n', 'service': 'example', 'events': ['a'], 'config': {'sleep_time': 0}}
    subscription = daemon.rest.create(wish)['uuid']
    daemon.rest.send('a')
    until(lambda: [row['status'] for row in daemon.rest.logs(subscription)] == ['success'])
    assert len(mine()) == 1
