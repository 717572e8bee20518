import os
import time
import uuid

from wazo_webhookd.plugins.subscription.service import SubscriptionService


class Service:

    def load(self, dependencies):
        celery_app = dependencies['celery']

        @celery_app.task
        def example_callback(subscription, event):
            '''
            "subscription" is the subscription as the REST API returns it, "event" is the whole body of the event.
            '''
            time.sleep(subscription['config']['sleep_time'])

        self._callback = example_callback

        bus_consumer = dependencies['bus_consumer']
        bus_consumer.subscribe_to_event_names(
            uuid=uuid.uuid4(),
            event_names=['user_created'],
            user_uuid=None,
            wazo_uuid=None,
            callback=self.on_user_created,
        )

        SubscriptionService(dependencies['config']).create({
            'name': 'my-subscription',
            'service': 'http',
            'events': ['call_created'],
            'config': {
                'method': 'get',
                'url': 'https://me.example.com',
            },
        })

    def callback(self):
        return self._callback

    def on_user_created(self, body, event):
        note('user {} {} {} has been created'.format(body['uuid'], body['data']['uuid'], body['name']))


def note(line):
    '''Where the test looks; the only thing added.'''
    path = os.environ.get('EXAMPLE_SERVICE_NOTES')
    if path:
        with open(path, 'a') as notes:
            notes.write(line + '\n')
