"""The bench that guests test with: what it promises, and that it does what the program does."""

import pytest
from marshmallow import ValidationError

from wazo_webhookd.auth import required_acl
from wazo_webhookd.plugins.subscription.service import SubscriptionService
from wazo_webhookd.rest_api import AuthResource
from wazo_webhookd.services.helpers import HookExpectedError, HookRetry

pytest_plugins = ['wazo_webhookd.testing']


class Room:
    """Run contract."""

    seen = None

    @classmethod
    def run(cls, task, config, subscription, event):
        cls.seen = (task.request.id, task.request.retries, subscription, event)
        wanted = subscription['config'].get('do')
        if wanted == 'retry':
            raise HookRetry({'error': 'closed'}, delay=subscription['config'].get('delay'))
        if wanted == 'expected':
            raise HookExpectedError('no such room')
        if wanted == 'bug':
            raise KeyError('room')
        return {'room': config.get('room'), 'password': 'hunter2'}


class Sleeper:
    """Task contract."""

    def load(self, dependencies):
        @dependencies['celery'].task(bind=True)
        def sleep(task, subscription, event):
            if event['data'] == 'again':
                raise task.retry(countdown=7)
            return {'self': id(self), 'event': event['name']}

        self._task = sleep

    def callback(self):
        return self._task


class Listener:
    """Bus-only."""

    def load(self, dependencies):
        self.heard = []
        dependencies['bus_consumer'].subscribe_to_event_names(
            uuid='listener', event_names=['user_created'], callback=self.on_user
        )
        dependencies['bus_consumer'].subscribe('crash', lambda body: body['nothing'])
        dependencies['status_aggregator'].add_provider(lambda status: status['listener'].update(status='ok'))
        wish = {'name': 'mine', 'service': 'http', 'events': ['a'], 'config': {'url': 'http://x', 'method': 'get'}}
        SubscriptionService(dependencies['config']).create(wish)

    def on_user(self, body, event):
        self.heard.append((body['uuid'], event.headers['tenant_uuid']))


def test_returned_value_is_the_detail_as_the_log_would_show_it(webhookd):
    webhookd.load(Room)
    attempt = webhookd.deliver('door_opened', {'uuid': 'x'}, headers={'user_uuid:u': True}, config={'do': 'well'})

    assert (attempt.status, attempt.number, attempt.wait) == ('success', 1, None)
    assert attempt.detail == {'room': None, 'password': '********'}


def test_service_sees_the_event_as_on_the_bus_and_the_subscription_as_rest_shows_it(webhookd):
    webhookd.load(Room)
    webhookd.deliver('door_opened', {'uuid': 'x'}, headers={'user_uuid:u': True}, attempt=3, metadata={'a': 'b'})
    uuid, retries, subscription, event = Room.seen

    assert len(uuid) == 36
    assert retries == 2
    assert event['data'] == {'uuid': 'x'}
    assert event['user_uuid:u'] is True
    assert event['tenant_uuid'] == subscription['owner_tenant_uuid']
    assert subscription['metadata'] == {'a': 'b'}
    assert set(subscription) == {
        'uuid', 'name', 'service', 'events', 'config', 'events_user_uuid', 'events_wazo_uuid', 'owner_user_uuid',
        'owner_tenant_uuid', 'metadata',
    }  # fmt: skip


def test_retries_are_made_without_waiting(webhookd):
    webhookd.load(Room)
    attempts = webhookd.deliver_to_the_end('door_opened', config={'do': 'retry'})

    assert [attempt.number for attempt in attempts] == list(range(1, 12))
    assert [attempt.status for attempt in attempts] == ['failure'] * 10 + ['error']
    assert [attempt.wait for attempt in attempts[:3]] == [5, 30, 300]


def test_service_may_say_when_to_try_again(webhookd):
    webhookd.load(Room)

    assert webhookd.deliver('door_opened', config={'do': 'retry', 'delay': 3}).wait == 3


@pytest.mark.parametrize(
    ('do', 'detail'), [('expected', {'error': 'no such room'}), ('bug', {'error': "missing key: 'room'"})]
)
def test_other_exceptions_end_the_delivery(webhookd, do, detail):
    webhookd.load(Room)
    attempt = webhookd.deliver('door_opened', config={'do': do})

    assert (attempt.status, attempt.detail) == ('error', detail)


def test_config_that_rest_refuses_is_refused(webhookd):
    webhookd.load(Room)

    with pytest.raises(ValidationError):
        webhookd.deliver('door_opened', config={'rooms': ['a']})


class TestConfigured:
    @pytest.fixture
    def webhookd_settings(self):
        return {'room': 'blue', 'hook_retry_schedule': [0, 1]}

    def test_settings_reach_the_service_and_the_schedule(self, webhookd):
        webhookd.load(Room)

        assert webhookd.deliver('door_opened').detail['room'] == 'blue'
        assert len(webhookd.deliver_to_the_end('door_opened', config={'do': 'retry'})) == 2


def test_task_contract_works_alike(webhookd):
    service = webhookd.load(Sleeper)
    attempt = webhookd.deliver('door_opened', 'x')
    again = webhookd.deliver('door_opened', 'again')

    assert attempt.detail == {'self': id(service), 'event': 'door_opened'}
    assert (again.status, again.wait) == ('failure', 7)


def test_task_of_an_earlier_load_is_forgotten(webhookd):
    webhookd.load(Sleeper)
    second = webhookd.load(Sleeper)

    assert webhookd.deliver('door_opened', 'x').detail['self'] == id(second)


def test_handlers_hear_of_events_at_once(webhookd):
    listener = webhookd.load(Listener)
    called = webhookd.tell('user_created', {'uuid': 'ada'}, {'tenant_uuid': 't'})

    assert called == 1
    assert listener.heard == [('ada', 't')]
    with pytest.raises(KeyError):
        webhookd.tell('crash')
    assert webhookd.tell('unheard_of') == 0


def test_bus_only_service_cannot_deliver_and_says_so(webhookd):
    webhookd.load(Listener)

    assert 'only listens to the bus' in webhookd.deliver('door_opened').detail['error']


def test_what_load_leaves_behind_can_be_seen(webhookd):
    webhookd.load(Listener)
    webhookd.load(Listener)

    assert [subscription.name for subscription in webhookd.subscriptions] == ['mine']
    assert webhookd.status == {'listener': {'status': 'ok'}}


def test_published_events_are_kept(webhookd):
    class Event:
        name = 'room_booked'
        content = {'room': 'blue'}

    webhookd.dependencies['bus_publisher'].publish(Event())

    assert [event.body['data'] for event in webhookd.published] == [{'room': 'blue'}]


def test_service_that_cannot_be_loaded_fails_the_test(webhookd):
    class Broken:
        def load(self, dependencies):
            raise OSError('no way')

    with pytest.raises(AssertionError, match='failed to load: OSError'):
        webhookd.load(Broken)


def test_installed_service_is_found_by_its_name(webhookd):
    webhookd.load('example')

    assert webhookd.deliver('door_opened', config={'sleep_time': 0}).detail == {'slept': 0.0}
    with pytest.raises(AssertionError, match='no installed package'):
        webhookd.load('nowhere')


def test_resources_of_plugins_answer(webhookd):
    class Door(AuthResource):
        @required_acl('webhookd.door.read')
        def get(self):
            return {'door': 'open'}, 200

    class Plugin:
        def load(self, dependencies):
            dependencies['api'].add_resource(Door, '/door')

    webhookd.load_plugin(Plugin)

    assert webhookd.rest.get('/1.0/door').json == {'door': 'open'}
    assert webhookd.rest.get('/1.0/door', headers={'X-Auth-Token': 'wrong'}).status_code == 401


def test_it_warns_of_nothing_before_something_is_loaded(webhookd, caplog):
    assert caplog.get_records('setup') == []


def test_delivering_with_nothing_loaded_says_what_to_do(webhookd):
    with pytest.raises(AssertionError, match=r'call webhookd\.load'):
        webhookd.deliver('anything')


def test_mapping_is_no_event_to_publish(webhookd):
    with pytest.raises(TypeError, match='an event is an object'):
        webhookd.dependencies['bus_publisher'].publish({'name': 'door_ringing', 'data': {}})
