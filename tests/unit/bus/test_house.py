import json
import logging
import threading
from datetime import UTC, datetime

import pytest

from wazo_webhookd.bus import house
from wazo_webhookd.domain.event import Event
from wazo_webhookd.exceptions import DatabaseUnavailable

BODY = {'name': 'user_deleted', 'data': {'uuid': 'u'}}
EVENT = Event(
    'e', 'user_deleted', {'tenant_uuid': 't'}, BODY, json.dumps(BODY), 'bus', datetime(2026, 1, 1, tzinfo=UTC)
)


@pytest.fixture
def handlers(monkeypatch):
    monkeypatch.setattr(house, 'RETRY_SECONDS', 0.001)
    handlers = house.HouseHandlers()
    yield handlers
    handlers.stop(5)


class Answer:
    def __init__(self):
        self.given = []
        self._came = threading.Event()

    def __call__(self, stored):
        self.given.append(stored)
        self._came.set()

    def wait(self):
        assert self._came.wait(5)
        return self.given


def test_all_handlers_finish_before_the_answer(handlers):
    calls, answer = [], Answer()
    handlers.add('user_deleted', lambda body: calls.append(body))
    handlers.add('user_deleted', lambda body, headers: calls.append((body, headers)))
    handlers.submit(EVENT, lambda: True, answer)

    assert answer.wait() == [True]
    assert calls == [BODY, (BODY, {'tenant_uuid': 't'})]
    assert handlers.handles('user_deleted')
    assert handlers.names() == {'user_deleted'}


def test_an_absent_database_is_waited_for(handlers):
    calls, answer = [], Answer()

    def fail_twice(body):
        calls.append(body)
        if len(calls) < 3:
            raise DatabaseUnavailable

    handlers.add('user_deleted', fail_twice)
    handlers.submit(EVENT, lambda: True, answer)

    assert answer.wait() == [True]
    assert len(calls) == 3


def test_an_event_that_is_handed_back_is_given_up(handlers):
    calls, answer = [], Answer()

    def fail(body):
        calls.append(body)
        raise DatabaseUnavailable

    handlers.add('user_deleted', fail)
    handlers.submit(EVENT, lambda: len(calls) < 2, answer)

    assert answer.wait() == [False]


def test_other_failures_are_logged_and_done(handlers, caplog):
    answer = Answer()

    def crash(body):
        raise ValueError('broken')

    handlers.add('user_deleted', crash)
    with caplog.at_level(logging.ERROR):
        handlers.submit(EVENT, lambda: True, answer)

        assert answer.wait() == [True]
    assert 'broken' in caplog.text
