from types import SimpleNamespace

import pytest
import requests

from wazo_webhookd.discovery import ServiceDiscovery, Unregistered

SETTINGS = SimpleNamespace(
    advertise_address='10.0.0.1',
    advertise_address_interface='eth0',
    advertise_port=9300,
    ttl_interval=30,
    refresh_interval=27,
    retry_interval=2,
    extra_tags=('extra',),
)
CONFIG = SimpleNamespace(service_discovery=SETTINGS, uuid='wazo')


class FakeConsul:
    def __init__(self):
        self.known = {}
        self.calls = []
        self.trouble = None

    def _called(self, name):
        self.calls.append(name)
        if self.trouble:
            raise self.trouble

    def register(self, service):
        self._called('register')
        self.known[service['id']] = service

    def heartbeat(self, service_id):
        self._called('heartbeat')
        if service_id not in self.known:
            raise Unregistered('404')

    def deregister(self, service_id, timeout):
        self._called('deregister')
        del self.known[service_id]

    def close(self):
        self.calls.append('close')


@pytest.fixture
def consul():
    return FakeConsul()


@pytest.fixture
def published():
    return []


@pytest.fixture
def registration(consul, published):
    return ServiceDiscovery(CONFIG, published.append, consul)


def test_registers_then_keeps_it_up(registration, consul, published):
    assert [registration.step(), registration.step()] == [27, 27]
    assert consul.calls == ['register', 'heartbeat', 'heartbeat']
    (service,) = consul.known.values()
    assert service == {
        'name': 'wazo-webhookd',
        'id': service['id'],
        'address': '10.0.0.1',
        'port': 9300,
        'tags': ['wazo', 'wazo-webhookd', 'extra'],
        'check': {'ttl': '30s'},
    }
    (event,) = published
    assert event.name == 'service_registered'
    assert event.routing_key == 'service.registered.wazo-webhookd'
    assert event.headers['required_acl'] == 'events.service.registered.wazo-webhookd'
    assert event.body['data'] == {
        'service_name': 'wazo-webhookd',
        'service_id': service['id'],
        'address': '10.0.0.1',
        'port': 9300,
        'tags': ['wazo', 'wazo-webhookd', 'extra'],
    }
    assert 'tenant_uuid' not in event.headers


def test_registers_again_when_consul_forgot(registration, consul, published):
    registration.step()
    consul.known.clear()

    assert registration.step() == 0
    assert registration.step() == 27
    assert len(consul.known) == 1
    assert [event.name for event in published] == ['service_registered'] * 2


def refused():
    answer = requests.Response()
    answer.status_code = 403
    answer._content = b'Permission denied'
    return requests.HTTPError(response=answer)


@pytest.mark.parametrize(
    'trouble', [requests.ConnectionError(), requests.Timeout(), refused(), OSError('no TLS certificate file')]
)
def test_an_absent_consul_is_asked_again_soon(registration, consul, trouble):
    consul.trouble = trouble

    assert registration.step() == 2

    consul.trouble = None
    assert registration.step() == 27


def test_a_consul_that_refuses_is_not_said_to_be_away(registration, consul, caplog):
    caplog.set_level('INFO')
    consul.trouble = refused()
    registration.step()

    assert 'Consul refuses (403 Permission denied), trying again' in caplog.messages


def test_the_bus_is_told_later_when_it_is_away(consul):
    told = []

    def publish(event):
        told.append(event.name)
        if len(told) < 2:
            raise OSError('away')

    registration = ServiceDiscovery(CONFIG, publish, consul)

    assert [registration.step(), registration.step(), registration.step()] == [2, 27, 27]
    assert told == ['service_registered'] * 2


def test_stopping_deregisters_and_tells(registration, consul, published):
    registration.step()
    registration.stop()

    assert consul.calls[-2:] == ['deregister', 'close']
    assert consul.known == {}
    assert published[-1].name == 'service_deregistered'
    assert set(published[-1].body['data']) == {'service_name', 'service_id', 'tags'}
    assert published[-1].routing_key == 'service.registered.wazo-webhookd'


def test_stopping_never_fails(registration, consul):
    registration.step()
    consul.trouble = requests.ConnectionError()
    registration.stop()

    assert consul.calls[-1] == 'close'
