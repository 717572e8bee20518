"""A delivery as a Celery message."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
from celery import Celery
from kombu.serialization import loads

from wazo_webhookd.attempts.parcel import open_parcel, ticket_of
from wazo_webhookd.deliveries.message import Message, Parcel, Writer
from wazo_webhookd.domain.delivery import Ticket

DOCUMENT = {'uuid': 'sub', 'name': 'Zoë "quoted"', 'config': {'url': 'https://host/'}}
EVENT = '{"name":"call", "data": {"é": "\\u0000", "big": 1e400, "twice": 1, "twice": 2}}'


def written(contract: str = 'run', age: float = 0.0, **more: Any) -> Message:
    route = SimpleNamespace(task_name='tasks.deliver', ep_name='module:Service', contract=contract)
    card = SimpleNamespace(
        service='http',
        endpoint='tenant|https://host:443',
        document=json.dumps(DOCUMENT, separators=(',', ':')).encode(),
    )
    values: dict[str, Any] = {
        'uuid': 'delivery',
        'subscription': 'sub',
        'event': 'event',
        'card': card,
        'text': EVENT,
        'attempt': 3,
        'send': 4,
        'max_attempts': 11,
        'sent_at': 1000.5,
    }
    return Writer(lambda name: route).write(Parcel(**(values | more)), age)


def test_the_run_contract_gets_five_arguments() -> None:
    args, kwargs, embed = json.loads(written().body)

    assert args == ['delivery', 'module:Service', None, DOCUMENT, json.loads(EVENT)]
    assert kwargs == {}
    assert embed == {'callbacks': None, 'errbacks': None, 'chain': None, 'chord': None}


def test_the_task_contract_gets_subscription_and_event() -> None:
    args, _, _ = json.loads(written('task').body)

    assert args == [DOCUMENT, json.loads(EVENT)]


@pytest.mark.parametrize('contract', ['run', 'task', 'none'])
def test_the_event_travels_as_it_was_received(contract: str) -> None:
    parcel = open_parcel(written(contract).body)

    assert parcel.event_text == EVENT
    assert parcel.subscription == DOCUMENT


def test_the_ticket_is_what_the_worker_reads() -> None:
    ticket = ticket_of(written(suspect=True).headers)

    assert ticket == Ticket('delivery', 'sub', 'event', 'http', 'tenant|https://host:443', 3, 4, 11, 1000.5, True)


@pytest.mark.parametrize(('age', 'expiration'), [(0.0, '30000'), (29.0, '1000'), (29.9999, '1')])
def test_the_broker_drops_it_when_its_time_is_over(age: float, expiration: str) -> None:
    assert written(age=age).properties['expiration'] == expiration


def test_headers_say_what_celery_s_own_would() -> None:
    message = written()
    app = Celery(set_as_current=False)
    own = app.amqp.as_task_v2(
        'delivery', 'tasks.deliver', json.loads(message.body)[0], {}, retries=2, argsrepr='(…)', ignore_result=True
    )

    for name in ('lang', 'task', 'id', 'root_id', 'retries', 'argsrepr', 'kwargsrepr', 'ignore_result'):
        assert message.headers[name] == own.headers[name]
    for name in ('eta', 'expires', 'group', 'shadow', 'parent_id', 'stamped_headers'):
        assert own.headers[name] is None  # what is left out
    assert message.properties['correlation_id'] == own.properties['correlation_id']
    assert (
        loads(message.body, 'application/json', 'utf-8', accept=['application/json'])[0] == json.loads(message.body)[0]
    )


def test_nothing_of_the_event_is_in_the_headers() -> None:
    assert 'call' not in json.dumps(written().headers)
