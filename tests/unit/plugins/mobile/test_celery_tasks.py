from types import SimpleNamespace

import pytest
from celery.exceptions import Retry

from wazo_webhookd.plugins.mobile import celery_tasks
from wazo_webhookd.services.helpers import HookExpectedError, HookRetry
from wazo_webhookd.services.mobile.push import NoApplication

NOTIFICATION = {'notification_type': 'plugin', 'user_uuid': 'u', 'title': 't', 'body': 'b', 'extra': {}}


class FakeTask:
    def __init__(self, retries=0):
        self.app = SimpleNamespace(runtime=SimpleNamespace(guest_config={'the': 'config'}, http='http'))
        self.request = SimpleNamespace(retries=retries)
        self.waits = []

    def retry(self, countdown):
        self.waits.append(countdown)
        return Retry()


@pytest.fixture
def run(monkeypatch):
    def run(answer, task=None):
        def send(config, user_uuid, notification, http):
            assert (config, user_uuid, notification.type, http) == ({'the': 'config'}, 'u', 'plugin', 'http')
            if isinstance(answer, Exception):
                raise answer
            return answer

        monkeypatch.setattr(celery_tasks, 'push', SimpleNamespace(send=send))
        return celery_tasks.send_notification.__wrapped__.__func__(task or FakeTask(), None, NOTIFICATION)

    return run


def test_the_task_has_the_name_that_clients_know():
    assert celery_tasks.send_notification.name == 'wazo_webhookd.plugins.mobile.celery_tasks.send_notification'


@pytest.mark.parametrize(
    ('answer', 'expected'),
    [
        ({'success': True}, True),
        ({'success': False}, False),
        (NoApplication({'error': 'none'}), False),
        (HookExpectedError({'error': 'refused'}), False),
    ],
)
def test_the_result_says_whether_it_was_sent(run, answer, expected):
    assert run(answer) is expected


def test_trouble_is_tried_again_at_once_without_a_timer(run):
    task = FakeTask()
    with pytest.raises(Retry):
        run(HookRetry({'error': 'away'}), task)

    assert task.waits == [0]


def test_trouble_is_not_tried_for_ever(run):
    assert run(HookRetry({'error': 'away'}), FakeTask(retries=celery_tasks.RETRIES)) is False
