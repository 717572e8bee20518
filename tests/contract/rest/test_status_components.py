"""The components of the status that look for themselves."""

import os
import threading
import time
from contextlib import contextmanager

import pytest

from integration_tests.support.until import until
from wazo_webhookd.database import processes
from wazo_webhookd.status import Status
from wazo_webhookd.status_components import (
    DATABASE_SECONDS,
    TaskBrokerComponent,
    bus_component,
    component,
    database_component,
    database_probe,
    task_workers_component,
)


def said(provider):
    status = Status()
    provider(status)
    return status


def test_the_database_is_asked(rest, away):
    provider = database_component(database_probe(rest.database))
    assert said(provider) == {'database': {'status': 'ok'}}

    away()
    assert said(provider) == {'database': {'status': 'fail'}}


class Silent:
    """A database that answers only when it is told to."""

    def __init__(self):
        self.speaks = threading.Event()
        self.asked = 0

    @contextmanager
    def reading(self):
        self.asked += 1
        self.speaks.wait(30)
        yield self

    def exec_driver_sql(self, statement):
        pass


def test_a_database_that_says_nothing_keeps_nobody_waiting():
    database = Silent()
    probe = database_probe(database)
    started = time.monotonic()
    components = [said(database_component(probe)), said(task_workers_component(database, probe))]
    took = time.monotonic() - started

    assert components == [{'database': {'status': 'fail'}}, {'task_workers': {'status': 'fail'}}]
    assert DATABASE_SECONDS <= took < DATABASE_SECONDS + 1
    assert not probe()
    assert time.monotonic() - started < DATABASE_SECONDS + 1
    assert database.asked == 1

    database.speaks.set()
    assert until(probe, 5)


def test_task_workers_are_ok_while_one_has_hands(rest, away):
    provider = task_workers_component(rest.database, database_probe(rest.database))
    assert said(provider)['task_workers'] == {'status': 'fail', 'workers': 0, 'hands': 0}

    with rest.database.transaction() as connection:
        processes.register(connection, 'd', 'daemon', 'host', os.getpid(), 0)
        processes.register(connection, 'w', 'worker', 'host', os.getpid(), 8)
        processes.renew(connection, 'w', 8, 2)
    assert said(provider)['task_workers'] == {'status': 'ok', 'workers': 1, 'hands': 6}

    with rest.database.transaction() as connection:
        processes.end(connection, 'w')
    assert said(provider)['task_workers']['status'] == 'fail'

    away()
    assert said(provider)['task_workers'] == {'status': 'fail'}


class FakeBus:
    def __init__(self):
        self.connected, self.speaks = True, True

    def provide_status(self, status):
        status['bus_consumer']['status'] = 'ok' if self.connected else 'fail'

    def answers(self):
        assert self.connected
        return self.speaks


def test_a_bus_is_ok_while_its_broker_answers():
    bus = FakeBus()
    provider = bus_component(bus)
    assert said(provider)['bus_consumer']['status'] == 'ok'

    bus.speaks = False
    assert said(provider)['bus_consumer']['status'] == 'fail'
    bus.connected = False
    assert said(provider)['bus_consumer']['status'] == 'fail'


class FakeCelery:
    def __init__(self):
        self.opened = 0
        self.up = True

    def connection_for_write(self, connect_timeout):
        self.opened += 1
        return self

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    transport_options = None

    @property
    def transport(self):
        return self

    def establish_connection(self):
        if not self.up:
            raise ConnectionRefusedError
        return self

    def close_connection(self, connection):
        assert connection is self


def test_the_task_broker_is_asked_now_and_then():
    now = [0.0]
    celery = FakeCelery()
    provider = TaskBrokerComponent(celery, lambda: now[0]).provide_status
    assert said(provider) == said(provider) == {'task_broker': {'status': 'ok'}}
    assert celery.opened == 1

    celery.up = False
    now[0] += 2.1
    assert said(provider) == {'task_broker': {'status': 'fail'}}


@pytest.mark.parametrize('words', [{'status': 'ok', 'waiting': 3}, {}])
def test_a_component_says_what_it_is_told(words):
    assert said(component('deliveries', lambda: words)) == {'deliveries': words}
