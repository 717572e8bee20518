"""Services of both contracts, of both at once, and of none."""

import time

from guests.notes import note
from wazo_webhookd.bus import BusPublisher
from wazo_webhookd.plugins.subscription.service import SubscriptionService, build_subscription_service
from wazo_webhookd.services.helpers import (
    HookExpectedError,
    HookRetry,
    requests_automatic_detail,
    requests_automatic_hook_retry,
)


def end_as_told(how, task):
    """What a subscription's ``config['how']`` asks for."""
    if how == 'dict':
        return {'fine': True}
    if how == 'text':
        raise HookExpectedError('a plain text')
    if how == 'expected':
        raise HookExpectedError({'message': 'of the guest', 'error_id': 'guest-error'})
    if how == 'retry':
        raise HookRetry({'error': 'try again'})
    if how == 'retry-text':
        raise HookRetry('a plain text')
    if how == 'crash':
        raise RuntimeError('of the guest')
    if how == 'exit':
        raise SystemExit(3)
    if how == 'self-retry':
        raise task.retry(countdown=0.5, exc=ValueError('again, please'))
    if how == 'attempts':
        if task.request.retries < 2:
            raise HookRetry({'retries': task.request.retries})
        return {'retries': task.request.retries, 'max_retries': task.max_retries, 'id': task.request.id}
    return None


class ByClass:
    def load(self, dependencies):
        note('by-class', loaded=sorted(dependencies))

    @classmethod
    def run(cls, task, config, subscription, event):
        how = subscription['config'].get('how')
        if how == 'request':
            import requests

            with requests_automatic_hook_retry(task):
                response = requests.get(subscription['config']['url'], timeout=5)
                response.raise_for_status()
            return requests_automatic_detail(response)
        if how == 'config':
            note('by-class', secret=config['guest_section']['secret'], db_uri='db_uri' in config)
        if how == 'arguments':
            note('by-class', subscription=subscription, event=event)
        return end_as_told(how, task)


class ByInstance:
    def __init__(self):
        self.word = 'made'

    def load(self, dependencies):
        note('by-instance', loaded=True)

    def run(self, task, config, subscription, event):
        return {'word': self.word}


class ByTask:
    def load(self, dependencies):
        note('by-task', loaded=sorted(dependencies))
        self.prefix = 'guest of the tests'

        @dependencies['celery'].task(bind=True)
        def by_task(task, subscription, event):
            how = subscription['config'].get('how')
            if how == 'prefix':
                return {'prefix': self.prefix, 'event': event['name'], 'subscription': subscription['uuid']}
            if how == 'native-retry':
                if task.request.retries == 0:
                    task.retry(countdown=1)
                return {'retries': task.request.retries}
            return end_as_told(how, task)

        self._task = by_task

    def callback(self):
        return self._task


class BothWays:
    def load(self, dependencies):
        @dependencies['celery'].task
        def never(subscription, event):
            raise AssertionError('run() is preferred')

        self._task = never

    def callback(self):
        return self._task

    @staticmethod
    def run(task, config, subscription, event):
        return {'by': 'run'}


class Said:
    """An event as wazo-bus has them."""

    name = 'guests_said'
    routing_key_fmt = routing_key = 'guests.said'
    required_acl = 'events.guests.said'

    def __init__(self, word):
        self.content = {'word': word}
        self.tenant_uuid = 'of the guest'


class Listener:
    """Hears the bus in every way there is; delivers nothing."""

    def load(self, dependencies):
        bus = dependencies['bus_consumer']
        bus.subscribe('guests_ping', self.on_ping)
        bus.subscribe('guests_ping', self.on_ping_of_tenant, headers={'tenant_uuid': 'wanted'})
        bus.subscribe('guests_crash', self.on_crash)
        bus.subscribe('guests_said', self.on_said)
        bus.subscribe('guests_stop', self.on_stop)
        bus.subscribe('guests_publish', self.on_publish)
        bus.subscribe_to_event_names('fixed', ['guests_old', 'guests_older'], None, None, self.on_old)
        bus.subscribe_to_event_names(uuid='user', event_names=['guests_user'], user_uuid='u', callback=self.on_old)
        dependencies['status_aggregator'].add_provider(self.provide_status)
        dependencies['token_change_subscribe'](lambda token: note('new-token', known=bool(token)))
        self.bus = bus
        self.publisher = dependencies['bus_publisher']
        self.config = dependencies['config']

    def provide_status(self, status):
        status['guests']['status'] = 'ok'

    def on_ping(self, body):
        note('ping', body=body)

    def on_ping_of_tenant(self, body, headers):
        note('ping-of-tenant', headers=headers)

    def on_said(self, body, headers):
        note('said', body=body, headers=headers)

    def on_crash(self, body):
        note('crash')
        raise RuntimeError('of the guest')

    def on_old(self, body, event):
        event.ack()
        note('old', uuid=body['uuid'], data=body['data'], name=event['name'], headers=event.headers)

    def on_publish(self, body):
        self.publisher.publish(Said('first'))
        with BusPublisher.from_config(self.config['uuid'], self.config['bus']) as publisher:
            publisher.publish(Said('second'), headers={'room': 'kitchen'})

    def on_stop(self, body):
        found = self.bus.unsubscribe('guests_ping', self.on_ping)
        again = self.bus.unsubscribe('guests_ping', self.on_ping)
        self.bus.unsubscribe_from_event_names('fixed')
        self.bus.unsubscribe_from_event_names('never subscribed')
        note('stopped', found=found, again=again)


class Broken:
    def load(self, dependencies):
        raise RuntimeError('cannot load')

    @classmethod
    def run(cls, task, config, subscription, event):
        return {'still': 'here'}


class Owner:
    """Creates, changes and deletes subscriptions from its code."""

    def load(self, dependencies):
        self.service = SubscriptionService(dependencies['config'], None)
        self.url = dependencies['config']['guest_section']['url']
        for word in ('create', 'change', 'delete'):
            dependencies['bus_consumer'].subscribe(f'guests_{word}', getattr(self, word))
        note('owner', same=type(build_subscription_service(dependencies)) is SubscriptionService)

    def create(self, body):
        created = self.service.create(
            {
                'name': 'made by a guest',
                'service': 'http',
                'events': ['guests_event'],
                'config': {'method': 'post', 'url': self.url + '/first', 'tries': 3},
                'metadata_': {'guest': 'yes'},
            }
        )
        note('created', uuid=created.uuid, metadata=created.metadata_, tenant=created.owner_tenant_uuid)

    def change(self, body):
        (mine,) = self.service.list(search_metadata={'guest': 'yes'})
        changed = {'config': {'method': 'post', 'url': self.url + '/second'}}
        note('changed', uuid=self.service.update(mine.uuid, {**mine.to_dict(), **changed}).uuid)

    def delete(self, body):
        for mine in self.service.list(search_metadata={'guest': 'yes'}):
            self.service.delete(mine.uuid)
        note('deleted', left=len(self.service.list(search_metadata={'guest': 'yes'})), at=time.time())
