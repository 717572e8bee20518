import functools
import json
from datetime import UTC, datetime
from unittest.mock import Mock

import pytest

from wazo_webhookd.bus.callbacks import (
    GuestBody,
    GuestEvent,
    Registration,
    event_name_registration,
    owner_of,
    takes_two,
)
from wazo_webhookd.domain.event import Event

BODY = {'name': 'user_created', 'origin_uuid': 'o', 'data': {'uuid': 'u', 'name': 'in data'}}
HEADERS = {'name': 'user_created', 'tenant_uuid': 't'}


def event(body=BODY, headers=HEADERS):
    text = json.dumps(body)
    return Event(
        'e', headers.get('name', 'n'), headers, json.loads(text), text, 'bus', datetime(2026, 1, 1, tzinfo=UTC)
    )


class Guest:
    def __init__(self):
        self.calls = []

    def two(self, body, event):
        self.calls.append((body, event))

    def one(self, body):
        self.calls.append((body,))

    def three(self, body, other=None, more=None):
        self.calls.append((body, other, more))

    def many(self, *args, **kwargs):
        self.calls.append(args)


@pytest.mark.parametrize(
    ('handler', 'expected'),
    [
        (Guest().two, True), (Guest().one, False), (Guest().three, False), (Guest().many, True), (Mock(), True),
        (lambda body: None, False), (lambda body, headers: None, True),
        (functools.partial(Guest().three, more=1), False), (functools.partial(lambda a, b, c: None, 1), True),
    ],
)  # fmt: skip
def test_exactly_two_parameters_mean_body_and_headers(handler, expected):
    assert takes_two(handler) is expected


def test_a_body_falls_back_to_its_data():
    body = GuestBody(BODY)

    assert body['uuid'] == 'u'
    assert body['data']['uuid'] == 'u'
    assert body['name'] == 'user_created'
    assert body.get('uuid') is None
    assert 'uuid' not in body
    assert body == BODY
    assert json.dumps(body) == json.dumps(BODY)
    with pytest.raises(KeyError):
        body['nothing']
    with pytest.raises(KeyError):
        GuestBody({'data': None})['uuid']


def test_an_event_is_a_mapping_and_a_harmless_message():
    message = GuestEvent(GuestBody(BODY), json.dumps(BODY), HEADERS)

    assert message['name'] == 'user_created'
    assert message['uuid'] == 'u'
    assert dict(message) == BODY
    assert len(message) == 3
    assert 'uuid' not in message
    assert message.headers['tenant_uuid'] == 't'
    assert message.payload == BODY
    assert json.loads(message.body) == BODY
    message.ack()
    message.ack()
    message.reject(requeue=True)
    message.requeue()
    assert message.acknowledged
    assert message.content_type == 'application/json'
    assert isinstance(message.delivery_info, dict)
    assert isinstance(message.properties, dict)
    with pytest.raises(TypeError):
        message['name'] = 'other'


def test_handlers_of_subscribe_get_plain_body_and_headers():
    guest = Guest()
    Registration('user_created', guest.two).call(event())
    Registration('user_created', guest.one).call(event())

    assert guest.calls == [(BODY, HEADERS), (BODY,)]
    assert type(guest.calls[0][0]) is dict
    assert type(guest.calls[0][1]) is dict


def test_callbacks_of_event_names_get_both_forms_at_once():
    guest = Guest()
    event_name_registration('key', 'user_created', None, None, guest.two).call(event())

    ((body, message),) = guest.calls
    assert body['uuid'] == 'u'
    assert message['name'] == 'user_created'


def test_each_handler_may_change_its_own_copy():
    def spoil(body):
        body['data'].clear()

    received = event()
    Registration('user_created', spoil).call(received)

    assert received.body == BODY


@pytest.mark.parametrize(
    ('wanted', 'match_all', 'headers', 'expected'),
    [
        ({}, True, {}, True),
        ({'a': 1}, True, {'a': 1, 'b': 2}, True),
        ({'a': 1, 'b': 3}, True, {'a': 1, 'b': 2}, False),
        ({'a': 1, 'b': 3}, False, {'a': 1, 'b': 2}, True),
        ({'a': 1}, True, {}, False),
        ({'a': None}, True, {}, False),
        ({'x-internal': True, 'x-other': 1}, True, {}, True),
        ({'x-internal': True, 'a': 1}, False, {}, False),
        ({'user_uuid:u': True}, True, {'user_uuid:u': True}, True),
        ({'user_uuid:u': True}, True, {'user_uuid:u-suffix': True}, False),
    ],
)
def test_binding_arguments_are_checked_again(wanted, match_all, headers, expected):
    assert Registration('n', print, wanted, match_all).wants(headers) is expected


def test_a_truth_value_is_no_number():
    wanted = Registration('n', print, {'user_uuid:u': True})

    assert [wanted.wants({'user_uuid:u': value}) for value in (True, 1, 'true')] == [True, False, False]


def test_other_exchange_types_know_names_only():
    assert Registration('n', print, {'a': 1}).wants({}, check_headers=False)


@pytest.mark.parametrize(
    ('name', 'headers', 'expected'),
    [
        ('user_created', {'user_uuid:u': True, 'origin_uuid': 'w'}, True),
        ('user_created', {'user_uuid:u': True}, False),
        ('user_created', {'user_uuid:*': True, 'origin_uuid': 'w'}, False),
        ('global_voicemail_message_created', {'user_uuid:*': True, 'origin_uuid': 'w'}, True),
    ],
)
def test_event_names_may_be_narrowed_to_a_user_and_a_server(name, headers, expected):
    assert event_name_registration('key', name, 'u', 'w', print).wants(headers) is expected


def test_the_guest_is_the_top_package_of_its_handler():
    assert owner_of(Guest().two) == owner_of(functools.partial(Guest().two)) == __name__.partition('.')[0]
