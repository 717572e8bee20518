"""What becomes of subscriptions is told on the bus, and what becomes of users and tenants reaches subscriptions."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from integration_tests.support.auth_double import MASTER
from integration_tests.support.bus import WAZO_UUID
from integration_tests.support.ear import Ear
from integration_tests.support.site import Daemon, Site
from integration_tests.support.until import until

BODY = {'name': 'n', 'service': 'http', 'config': {'url': 'http://127.0.0.1:9/', 'method': 'get'}, 'events': ['a']}
OF_USERS = ('uuid', 'name', 'service', 'events', 'config', 'metadata')


@contextlib.contextmanager
def listening(site: Site) -> Iterator[Ear]:
    ear = Ear(site.bus)
    try:
        yield ear
    finally:
        ear.close()


@pytest.fixture
def ear(site: Site) -> Iterator[Ear]:
    with listening(site) as ear:
        yield ear


def done(daemon: Daemon, method: str, path: str, body: Any = None, token: str | None = None) -> Any:
    headers = {'X-Auth-Token': token} if token else {}
    answer = daemon.rest.call(method, path, body, headers=headers)
    assert answer.status_code in (200, 201, 204), answer.text
    return answer.json() if answer.text else None


def test_every_operation_is_told_once(site: Site, ear: Ear) -> None:
    daemon = site.daemon().ready()
    user = site.auth.add_user()
    token = site.auth.add_token(user_uuid=user)
    created = done(daemon, 'POST', '/subscriptions', BODY)
    path = f'/subscriptions/{created["uuid"]}'
    updated = done(daemon, 'PUT', path, {**BODY, 'name': 'm', 'metadata': {'a': 'b'}})
    done(daemon, 'DELETE', path)
    own = done(daemon, 'POST', '/users/me/subscriptions', BODY, token)
    changed = done(daemon, 'PUT', f'/users/me/subscriptions/{own["uuid"]}', {**BODY, 'name': 'mine'}, token)
    cleared = done(daemon, 'PUT', f'/subscriptions/{own["uuid"]}', {**BODY, 'owner_user_uuid': None})
    done(daemon, 'PUT', f'/subscriptions/{own["uuid"]}', {**BODY, 'owner_user_uuid': user})
    done(daemon, 'DELETE', f'/users/me/subscriptions/{own["uuid"]}', token=token)
    for refused in ({}, {**BODY, 'name': 5}):
        daemon.rest.call('POST', '/subscriptions', refused)
    daemon.rest.call('DELETE', path)
    tenant, of_user = 'webhookd_subscription', 'webhookd_user_subscription'
    told = [
        (f'{tenant}_created', created), (f'{tenant}_updated', updated), (f'{tenant}_deleted', updated),
        (f'{of_user}_created', own), (f'{of_user}_updated', changed), (f'{tenant}_updated', cleared),
        (f'{of_user}_updated', None), (f'{of_user}_deleted', None),
    ]  # fmt: skip
    ear.wait(len(told))
    time.sleep(1)

    assert ear.names() == [name for name, _ in told]
    for (name, data), event in zip(told, ear.heard, strict=True):
        deed = name.rpartition('_')[2]
        whose = f'users.{user}.' if name.startswith(of_user) else ''
        assert event.routing_key == f'webhookd.{whose}subscription.{deed}'
        assert event.headers == {
            'name': name,
            'origin_uuid': WAZO_UUID,
            'timestamp': event.headers['timestamp'],
            'tenant_uuid': MASTER,
            f'user_uuid:{user if whose else "*"}': True,
            'required_access': f'event.{name}',
            'required_acl': f'events.{event.routing_key}',
        }
        assert event.body == {**event.headers, 'data': event.body['data']}
        assert event.properties['content_type'] == 'application/json'
        assert event.properties['delivery_mode'] == 2
        if data is not None:
            assert event.body['data'] == ({key: data[key] for key in OF_USERS} if whose else data)


@pytest.mark.timeout(180)
def test_a_killed_daemon_and_an_absent_bus_keep_nothing_from_being_told(private_site: Site) -> None:
    site = private_site
    with listening(site) as ear:
        first = site.daemon('first').ready()
        site.rabbit.stop()
        started = time.monotonic()
        uuid = done(first, 'POST', '/subscriptions', BODY)['uuid']
        done(first, 'PUT', f'/subscriptions/{uuid}', {**BODY, 'name': 'm'})
        done(first, 'DELETE', f'/subscriptions/{uuid}')
        assert time.monotonic() - started < 6
        first.kill_all()
        site.rabbit.start()
        second = site.daemon('second').ready(40)
        ear.wait(3, 60)
        time.sleep(4)

        assert ear.names() == [f'webhookd_subscription_{deed}' for deed in ('created', 'updated', 'deleted')]
        assert site.query('SELECT count(*) FROM webhookd_outbox') == [(0,)]
        second.stop()


@pytest.mark.timeout(180)
def test_a_daemon_killed_while_it_writes_leaves_no_change_untold(site: Site, ear: Ear) -> None:
    daemon = site.daemon('killed').ready()
    answered: list[str] = []

    def write() -> None:
        with contextlib.suppress(requests.RequestException):
            while True:
                answered.append(daemon.rest.create(BODY)['uuid'])

    writer = threading.Thread(target=write)
    writer.start()
    time.sleep(1 + random.random())
    daemon.kill_all()
    writer.join(30)
    site.daemon('next').ready()
    stored = {uuid for (uuid,) in site.query('SELECT uuid FROM webhookd_subscription')}
    ear.wait(len(stored), 60)
    until(lambda: site.query('SELECT count(*) FROM webhookd_outbox') == [(0,)], 30, what='the outbox is empty')
    ear.names()
    times = Counter(event.body['data']['uuid'] for event in ear.heard)

    assert len(answered) > 10
    assert stored >= set(answered)
    assert set(times) == stored
    assert sum(times.values()) - len(times) <= 100  # those of one batch, confirmed but not yet deleted


def test_subscriptions_of_deleted_users_and_tenants_go(site: Site, ear: Ear) -> None:
    daemon = site.daemon().ready()
    tenant, gone, stays = site.auth.add_tenant(), site.auth.add_user(), site.auth.add_user()
    owned = daemon.rest.create({**BODY, 'owner_user_uuid': gone})['uuid']
    watching = daemon.rest.create({**BODY, 'events_user_uuid': gone})['uuid']
    of_tenant = daemon.rest.create(BODY, tenant=tenant)['uuid']
    kept = daemon.rest.create({**BODY, 'owner_user_uuid': stays, 'events_user_uuid': stays})['uuid']

    def left() -> set[str]:
        return {item['uuid'] for item in daemon.rest.get('/subscriptions?recurse=true')['items']}

    assert left() == {owned, watching, of_tenant, kept}
    site.bus.publish('user_deleted', {'uuid': gone}, origin_uuid='another wazo')
    until(lambda: left() == {of_tenant, kept}, 5, what='those of the user are gone')
    site.bus.publish('auth_tenant_deleted', {'uuid': tenant}, origin_uuid='another wazo')
    until(lambda: left() == {kept}, 5, what='those of the tenant are gone')
    deleted = [event for event in ear.wait(7) if event.name.endswith('_deleted')]

    assert {event.body['data']['uuid'] for event in deleted} == {owned, watching, of_tenant}
    assert {event.name for event in deleted} == {
        'webhookd_subscription_deleted', 'webhookd_user_subscription_deleted',
    }  # fmt: skip


def test_sync_db_deletes_what_nobody_owns_and_running_daemons_follow(site: Site, ear: Ear) -> None:
    daemons = [site.daemon(name).ready() for name in ('one', 'two')]
    tenant, user = site.auth.add_tenant(), site.auth.add_user()
    make = daemons[0].rest.create
    gone = {make({**BODY, 'owner_user_uuid': user})['uuid'], make({**BODY, 'events_user_uuid': user})['uuid']}
    gone.add(make(BODY, tenant=tenant)['uuid'])
    kept = make({**BODY, 'owner_user_uuid': site.auth.add_user()})['uuid']
    del site.auth.users[user], site.auth.tenants[tenant]
    config = str(site.write_config('sync'))

    assert 'Would delete 3 subscriptions of 1 tenant and 1 user' in site.command(
        'wazo-webhookd-sync-db', '-c', config, '--dry-run'
    )
    assert daemons[1].rest.send('a')['deliveries'] == 2  # owned, and the one that stays
    site.auth.requests.clear()
    assert site.command('wazo-webhookd-sync-db', '-c', config).endswith(
        'Deleted 3 subscriptions of 1 tenant and 1 user that wazo-auth no longer has.\n'
    )
    [of_users] = site.auth.calls('GET', '/users')
    assert of_users.query == {'recurse': 'True'}
    assert len(site.auth.calls('GET', '/tenants')) == 1
    [login] = site.auth.calls('POST', '/token')
    assert login.body == {'expiration': 300}
    for daemon in daemons:
        until(lambda daemon=daemon: daemon.rest.send('a')['deliveries'] == 1, 5, what='the daemon knows')
        assert {item['uuid'] for item in daemon.rest.get('/subscriptions?recurse=true')['items']} == {kept}
    deleted = [event for event in ear.wait(7, 20) if event.name.endswith('_deleted')]
    assert {event.body['data']['uuid'] for event in deleted} == gone
