"""What REST answers about one subscription is never older than what anybody was told before."""

from __future__ import annotations

import threading
from typing import Any
from uuid import uuid4

from integration_tests.support.auth_double import MASTER
from integration_tests.support.site import Daemon, Site
from integration_tests.support.until import until

BODY = {'name': 'n', 'service': 'http', 'config': {'url': 'http://127.0.0.1:9/', 'method': 'get'}, 'events': ['a']}


def name(daemon: Daemon, uuid: str) -> Any:
    return daemon.rest.get(f'/subscriptions/{uuid}')['name']


def rename(daemon: Daemon, uuid: str, new: str) -> None:
    assert daemon.rest.call('PUT', f'/subscriptions/{uuid}', {**BODY, 'name': new}).status_code == 200


def created(daemon: Daemon) -> str:
    uuid: str = daemon.rest.call('POST', '/subscriptions', BODY).json()['uuid']
    return uuid


def test_a_daemon_that_is_alone_answers_from_what_it_knows(site: Site) -> None:
    daemon = site.daemon().ready()
    uuid = created(daemon)
    assert name(daemon, uuid) == 'n'
    unseen = "SET webhookd.writer = 'wazo-webhookd'; UPDATE webhookd_subscription SET name = 'unseen' WHERE uuid = %s"
    site.query(f'{unseen} RETURNING 1', uuid)
    assert name(daemon, uuid) == 'n'  # nobody told it, and it did not look

    site.query("UPDATE webhookd_subscription SET name = 'by hand' WHERE uuid = %s RETURNING 1", uuid)
    until(lambda: name(daemon, uuid) == 'by hand', 5, what='what was written by hand is answered')
    site.query("UPDATE webhookd_subscription_event SET event_name = 'b' RETURNING 1")
    until(lambda: daemon.rest.get(f'/subscriptions/{uuid}')['events'] == ['b'], 5, what='the other event is answered')
    rename(daemon, uuid, 'over rest')
    assert name(daemon, uuid) == 'over rest'
    site.query('DELETE FROM webhookd_subscription RETURNING 1')
    until(lambda: daemon.rest.call('GET', f'/subscriptions/{uuid}').status_code == 404, 5, what='the deletion is seen')


def test_two_daemons_answer_as_one(site: Site) -> None:
    first = site.daemon('first').ready()
    uuid = created(first)
    stop = threading.Event()
    last_told = ['n']
    stale: list[tuple[str, str]] = []

    def look() -> None:
        while not stop.is_set():
            told = last_told[0]
            seen = name(first, uuid)
            if seen != told and int(seen) < int(told):
                stale.append((seen, told))

    second = site.daemon('second', celery={'start_workers': False}).ready()
    rename(second, uuid, '0')
    last_told[0] = '0'
    looking = threading.Thread(target=look)
    looking.start()
    try:
        for number in range(1, 100):
            rename((first, second)[number % 2], uuid, str(number))
            last_told[0] = str(number)
            assert name((second, first)[number % 2], uuid) == str(number)
    finally:
        stop.set()
        looking.join(20)
    assert stale == []

    second.stop()
    rename(first, uuid, 'alone again')
    assert name(first, uuid) == 'alone again'


BY_HAND = """
WITH given AS (SELECT %s AS uuid, %s AS tenant, %s AS url),
     s AS (INSERT INTO webhookd_subscription (uuid, name, service, owner_tenant_uuid)
           SELECT uuid, 'by hand', 'http', tenant FROM given),
     o AS (INSERT INTO webhookd_subscription_option (uuid, subscription_uuid, name, value)
           SELECT gen_random_uuid()::text, given.uuid, option.name, option.value
           FROM given, LATERAL (VALUES ('url', given.url), ('method', 'post')) AS option (name, value))
INSERT INTO webhookd_subscription_event (uuid, subscription_uuid, event_name)
SELECT gen_random_uuid()::text, uuid, 'by_hand' FROM given RETURNING uuid
"""


def test_a_subscription_written_by_hand_gets_its_events(site: Site) -> None:
    daemon = site.daemon().ready()
    uuid = str(uuid4())
    site.query(BY_HAND, uuid, MASTER, site.receiver.url('/by-hand'))
    assert daemon.rest.get(f'/subscriptions/{uuid}')['events'] == ['by_hand']

    def arrives() -> bool:
        site.bus.publish('by_hand', {})
        return bool(site.receiver.at('/by-hand'))

    until(arrives, 10, what='the event is bound, matched and sent')
