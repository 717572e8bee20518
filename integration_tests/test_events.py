"""``POST /events`` with the whole daemon: the way of a bus event, behind two walls."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from integration_tests.support.auth_double import MASTER
from integration_tests.support.bus import WAZO_UUID
from integration_tests.support.site import Daemon, Rest, Site
from integration_tests.support.until import for_a_while, until

USER = 'aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee'


def numbers(site: Site, path: str) -> list[int]:
    return sorted(json.loads(request.body)['n'] for request in site.receiver.at(path))


def hook(site: Site, daemon: Daemon, path: str, tenant: str | None = None, **more: Any) -> str:
    wish = {'name': path, 'service': 'http', 'events': ['a'], **more}
    wish['config'] = {'url': site.receiver.url(path), 'method': 'post'}
    return str(daemon.rest.create(wish, tenant=tenant)['uuid'])


def caller(site: Site, daemon: Daemon, tenant: str) -> Rest:
    return Rest(daemon.rest.base, site.auth.add_token(tenant))


def test_an_event_is_matched_as_one_of_the_bus(site: Site) -> None:
    daemon = site.daemon().ready()
    hook(site, daemon, '/user', events_user_uuid=USER)
    hook(site, daemon, '/server', events_wazo_uuid=WAZO_UUID)
    everything = hook(site, daemon, '/all')
    accepted = [
        daemon.rest.send('a', {'n': 1}),
        daemon.rest.send('a', {'n': 2}, headers={f'user_uuid:{USER}': True}),
        daemon.rest.send('a', {'n': 3}, headers={f'user_uuid:{USER}': 'true'}),
        daemon.rest.send('a', {'n': 4}, origin_uuid='elsewhere'),
        daemon.rest.send('b', {'n': 5}),
    ]
    site.receiver.wait_for(sum(answer['deliveries'] for answer in accepted))

    assert [answer['deliveries'] for answer in accepted] == [2, 3, 2, 1, 0]
    assert numbers(site, '/user') == [2]
    assert numbers(site, '/server') == [1, 2, 3]
    assert numbers(site, '/all') == [1, 2, 3, 4]
    rows = until(lambda: daemon.rest.logs(everything) if len(daemon.rest.logs(everything)) == 4 else None)
    assert rows is not None
    assert {row['event']['tenant_uuid'] for row in rows} == {MASTER}
    assert {row['event']['origin_uuid'] for row in rows} == {WAZO_UUID, 'elsewhere'}
    assert {delivery['event_uuid'] for delivery in daemon.rest.deliveries(everything)} == {
        answer['uuid'] for answer in accepted[:4]
    }


def test_a_caller_is_behind_the_wall_of_its_tenant(site: Site) -> None:
    daemon = site.daemon().ready()
    mine, other = site.auth.add_tenant(), site.auth.add_tenant()
    below = site.auth.add_tenant(mine)
    for path, tenant in (('/mine', mine), ('/other', other), ('/below', below), ('/master', None)):
        hook(site, daemon, path, tenant)
    rest = caller(site, daemon, mine)
    for number, headers in enumerate(({}, {'tenant_uuid': other}, {'tenant_uuid': None}, {'tenant_uuid': ''})):
        rest.send('a', {'n': number}, headers=headers)
    site.receiver.wait_for(8)
    rest.call('POST', '/events', {'name': 'a', 'data': {'n': 10}}, tenant=below)
    site.receiver.wait_for(10)
    refused = rest.call('POST', '/events', {'name': 'a', 'data': {'n': 11}}, tenant=other)
    daemon.rest.send('a', {'n': 20}, headers={'tenant_uuid': other})
    daemon.rest.send('a', {'n': 21}, headers={'tenant_uuid': None})
    site.receiver.wait_for(13)
    for_a_while(lambda: len(site.receiver.requests) == 13, 0.3)

    assert refused.status_code == 401
    assert numbers(site, '/mine') == [0, 1, 2, 3]
    assert numbers(site, '/below') == [10]
    assert numbers(site, '/other') == [20]
    assert numbers(site, '/master') == [0, 1, 2, 3, 10, 20, 21]


def test_our_own_handlers_never_see_what_was_posted(site: Site) -> None:
    daemon = site.daemon(auth={'cache_seconds': 600}).ready()
    tenant = site.auth.add_tenant()
    user = site.auth.add_user(tenant)
    site.auth.external[(user, 'mobile')] = {'token': 'x'}
    kept = [
        hook(site, daemon, '/x', owner_user_uuid=user, events_user_uuid=user),
        hook(site, daemon, '/x', tenant),
    ]
    token = site.auth.tokens[site.token]
    added = {'user_uuid': user, 'external_auth_name': 'mobile'}
    for name, data in (
        ('user_deleted', {'uuid': user}),
        ('auth_tenant_deleted', {'uuid': tenant}),
        ('auth_user_external_auth_added', added),
        ('auth_session_deleted', {'uuid': token.session_uuid}),
    ):
        daemon.rest.send(name, data)
    site.bus.publish(
        'auth_user_external_auth_added', {'user_uuid': user, 'external_auth_name': 'mobile'}, tenant=tenant
    )

    def found() -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = daemon.rest.get('/subscriptions', params={'recurse': True})['items']
        return items

    until(lambda: [item for item in found() if item['service'] == 'mobile'], what='the one of the bus is heard')
    assert len([item for item in found() if item['service'] == 'mobile']) == 1
    assert {item['uuid'] for item in found()} >= set(kept)
    site.bus.publish('user_deleted', {'uuid': user})
    until(lambda: [item['uuid'] for item in found()] == [kept[1]], what='on the bus it counts')


def test_guests_hear_what_the_master_tenant_posts(site: Site, install: Callable[[str], Path]) -> None:
    site.python_path.append(install('guests'))
    notes = site.folder / 'notes'
    site.environment['GUESTS_NOTES'] = str(notes)
    site.configure(enabled_services={'listener': True})
    daemon = site.daemon().ready()
    caller(site, daemon, site.auth.add_tenant()).send('guests_ping', {'n': 1})
    daemon.rest.call('POST', '/events', {'name': 'guests_ping', 'data': 2}, tenant=site.auth.add_tenant())
    daemon.rest.send('guests_ping', {'n': 3}, headers={'room': 'kitchen'})

    def pings() -> list[dict[str, Any]]:
        lines = notes.read_text().splitlines() if notes.exists() else []
        return [note for note in map(json.loads, lines) if note['who'] == 'ping']

    until(pings, what='the guest heard of it')
    for_a_while(lambda: len(pings()) == 1, 0.5)

    body = pings()[0]['body']
    assert (body['data'], body['room'], body['tenant_uuid']) == ({'n': 3}, 'kitchen', MASTER)


@pytest.mark.parametrize(
    'body',
    [
        {}, {'name': 'a'}, {'name': '', 'data': 1}, {'name': 'x' * 129, 'data': 1}, {'name': 5, 'data': 1},
        {'name': 'a', 'data': 1, 'headers': []}, {'name': 'a', 'data': 1, 'headers': {'x': 5}},
        {'name': 'a', 'data': 1, 'origin_uuid': 5}, {'name': 'a\0', 'data': 1}, [], 'text',
        {'name': 'a', 'data': 'x' * 2_000_000},
    ],
    ids=lambda body: json.dumps(body)[:40],
)  # fmt: skip
def test_bad_input_is_refused_in_the_usual_shape(alone: Daemon, body: Any) -> None:
    answer = alone.rest.call('POST', '/events', data=json.dumps(body), headers={'Content-Type': 'application/json'})

    assert answer.status_code == 400
    assert set(answer.json()) >= {'message', 'error_id', 'details', 'timestamp'}


@pytest.fixture(scope='module')
def alone(tmp_path_factory: pytest.TempPathFactory) -> Any:
    from integration_tests.support.auth_double import AuthDouble
    from integration_tests.support.receiver import Receiver
    from integration_tests.support.servers import Postgres, Rabbit

    with Receiver() as receiver:
        folder = tmp_path_factory.mktemp('alone')
        site = Site(folder, Postgres(1), '', Rabbit(1), '/', AuthDouble(), receiver)
        yield site.standalone()
        for program in site.programs:
            program.clean_up()


def test_what_no_subscription_wants_is_accepted(alone: Daemon) -> None:
    answer = alone.rest.call('POST', '/events', {'name': 'nobody', 'data': None})

    assert answer.status_code == 202
    assert answer.json()['deliveries'] == 0
    assert uuid.UUID(answer.json()['uuid'])
