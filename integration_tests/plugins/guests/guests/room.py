"""A REST room of a guest, with a task behind it and a word in the status."""

from flask import request
from flask_restful import Resource

from guests.notes import note
from guests.tasks import add
from wazo_webhookd.auth import required_acl
from wazo_webhookd.rest_api import AuthResource


class Open(Resource):
    def __init__(self, word):
        self.word = word

    def get(self):
        return {'word': self.word}


class Guarded(AuthResource):
    @required_acl('webhookd.guests.create')
    def post(self):
        add.delay(dict(self.config), **request.get_json())
        return '', 204


class Plugin:
    def load(self, dependencies):
        api = dependencies['api']
        note('room', loaded=sorted(dependencies), prefix=api.prefix, services=dependencies['service_manager'].names())
        Guarded.config = {'guest': dependencies['config']['guest_section']['secret']}
        api.add_resource(Open, '/guests', resource_class_args=['open'])
        api.add_resource(Guarded, '/guests/tasks')
        dependencies['status_aggregator'].add_provider(provide_status)
        dependencies['bus_consumer'].subscribe('guests_sentinel', lambda body: note('sentinel', body=body))
        dependencies['next_token_change_subscribe'](lambda token: note('token', known=bool(token)))


def provide_status(status):
    status['guest_room']['status'] = 'ok'


class Broken:
    def load(self, dependencies):
        raise RuntimeError('cannot load')
