"""``POST /events`` (new.md)."""

import json

import pytest

from wazo_webhookd.deliveries.intake import EventRefused
from wazo_webhookd.exceptions import DatabaseUnavailable
from wazo_webhookd.plugins.events import http as module

from .conftest import MASTER, OTHER, TENANT, WAZO

EVENT = {'name': 'user_created', 'data': {'uuid': 'u'}}


def test_an_event_is_accepted_when_it_is_journaled(rest):
    rest.intake.answer = 3
    response = rest.call('POST', '/events', json=EVENT)
    [event] = rest.intake.events

    assert response.status_code == 202
    assert response.json == {'uuid': event.uuid, 'deliveries': 3}
    assert event.source == 'rest'
    assert event.body == {'name': 'user_created', 'origin_uuid': WAZO, 'tenant_uuid': MASTER, 'data': {'uuid': 'u'}}


def test_the_event_keeps_its_spelling(rest):
    text = '{"name": "a", "data": {"n": 1e400, "s": "\\ud800\\u0000", "x": 1.10}}'
    response = rest.call('POST', '/events', data=text, content_type='application/json')

    assert response.status_code == 202
    assert rest.intake.events[0].text.endswith('"data": {"n": 1e400, "s": "\\ud800\\u0000", "x": 1.10}}')


def test_the_tenant_is_the_callers(rest):
    rest.call('POST', '/events', token='tenant', json=EVENT | {'tenant_uuid': OTHER, 'headers': {'tenant_uuid': OTHER}})

    assert rest.intake.events[0].headers['tenant_uuid'] == TENANT


def test_a_caller_that_acts_in_a_tenant_is_behind_its_wall(rest):
    rest.call('POST', '/events', headers={'Wazo-Tenant': TENANT}, json=EVENT | {'headers': {'tenant_uuid': OTHER}})

    assert rest.intake.events[0].headers['tenant_uuid'] == TENANT
    assert rest.guests_heard == []


def test_the_master_tenant_may_name_another_or_none(rest):
    for given in (OTHER, None):
        rest.call('POST', '/events', json=EVENT | {'headers': {'tenant_uuid': given, 'user_uuid:x': True}})

    assert [event.tenant_uuid for event in rest.intake.events] == [OTHER, None]
    assert rest.intake.events[0].headers['user_uuid:x'] is True


def test_guests_hear_events_of_the_master_tenant_only(rest):
    rest.call('POST', '/events', token='tenant', json=EVENT)
    assert rest.guests_heard == []

    rest.call('POST', '/events', json=EVENT)
    assert rest.guests_heard == rest.intake.events[1:]


@pytest.mark.parametrize('answer', [DatabaseUnavailable(), None])
def test_an_event_that_cannot_be_journaled_is_503(rest, monkeypatch, answer):
    monkeypatch.setattr(module, 'PATIENCE_SECONDS', 0.05)
    rest.intake.answer = answer
    response = rest.call('POST', '/events', json=EVENT)

    assert response.status_code == 503
    assert response.json['error_id'] == 'database-unavailable'
    assert rest.guests_heard == []


def test_an_event_that_the_database_refuses_is_400(rest):
    rest.intake.answer = EventRefused('the words of the database')
    response = rest.call('POST', '/events', json=EVENT)

    assert response.status_code == 400
    assert 'the words' not in response.text


@pytest.mark.parametrize(
    ('body', 'field', 'constraint_id'),
    [
        ({'data': 1}, 'name', 'required'),
        ({'name': 'a'}, 'data', 'required'),
        ({'name': '', 'data': 1}, 'name', 'length'),
        ({'name': 'x' * 129, 'data': 1}, 'name', 'length'),
        ({'name': 5, 'data': 1}, 'name', 'type'),
        ({'name': None, 'data': 1}, 'name', 'not_null'),
        ({'name': 'a\0', 'data': 1}, 'name', None),
        ({'name': '\ud800', 'data': 1}, 'name', None),
        ({'name': 'a', 'data': 1, 'origin_uuid': 5}, 'origin_uuid', 'type'),
        ({'name': 'a', 'data': 1, 'headers': []}, 'headers', 'type'),
        ({'name': 'a', 'data': 1, 'headers': None}, 'headers', 'not_null'),
        ({'name': 'a', 'data': 1, 'headers': {'a': 1}}, 'headers', 'key-value-type'),
        ({'name': 'a', 'data': 1, 'headers': {'a': None}}, 'headers', 'key-value-type'),
        ({'name': 'a', 'data': 1, 'headers': {'tenant_uuid': True}}, 'headers', 'key-value-type'),
        ({'name': 'a', 'data': 1, 'headers': {'a': 'x' * 3000}}, 'headers', 'key-value-length'),
        ({'name': 'a', 'data': 1, 'headers': {'a': '\0'}}, 'headers', None),
        ({'name': 'a', 'data': 'x' * 1_100_000}, 'data', 'length'),
    ],
)
def test_bad_input_has_the_usual_shape(rest, body, field, constraint_id):
    response = rest.call('POST', '/events', json=body)

    assert response.status_code == 400
    assert response.json['error_id'] == 'invalid-data'
    [error] = [value for name, value in response.json['details'].items() if name == field]
    error = error[0] if isinstance(error, list) else error
    assert constraint_id is None or error['constraint_id'] == constraint_id
    assert rest.intake.events == []


@pytest.mark.parametrize('data', [None, 0, '', [], {}, False])
def test_data_may_be_any_json(rest, data):
    assert rest.call('POST', '/events', json={'name': 'a', 'data': data}).status_code == 202
    assert json.loads(rest.intake.events[0].text)['data'] == data
