"""A REST plugin of somebody else in the running daemon (reference: rest 1.13, 1.16, 6.3)."""

from __future__ import annotations

from pathlib import Path

import yaml

from integration_tests.support.site import Site
from integration_tests.support.until import until

PLUGIN = """
from flask import request
from flask_restful import Resource

from wazo_webhookd.auth import get_token_user_uuid_from_request, required_acl, required_master_tenant
from wazo_webhookd.plugins.subscription.service import build_subscription_service
from wazo_webhookd.rest_api import AuthResource, ErrorCatchingResource, api

HEARD = {'tokens': 0}


class Sentinel(Resource):
    def __init__(self, keys):
        self.keys = keys

    def get(self):
        return {'keys': sorted(self.keys), 'tokens': HEARD['tokens']}


class Mine(AuthResource):
    @required_acl('guest.{thing}.read')
    def get(self, thing):
        return {'thing': thing, 'user': get_token_user_uuid_from_request()}


class Master(AuthResource):
    @required_master_tenant()
    @required_acl('guest.master')
    def get(self):
        return {'master': True}


class Plugin:
    def load(self, dependencies):
        assert dependencies['api'] is api
        assert dependencies['config']['rest_api']['port']
        assert 'http' in dependencies['service_manager'].names()
        self.service = build_subscription_service(dependencies)
        dependencies['next_token_change_subscribe'](lambda token: HEARD.update(tokens=HEARD['tokens'] + 1))
        dependencies['status_aggregator'].add_provider(self.provide_status)
        api.add_resource(Sentinel, '/sentinel', resource_class_args=[dependencies.keys()])
        api.add_resource(Mine, '/guest/<thing>')
        api.add_resource(Master, '/guest')

    def provide_status(self, status):
        status['test_component']['status'] = 'ok'


class Broken:
    def load(self, dependencies):
        raise RuntimeError('a bug of a guest')
"""
API = """
paths:
  /sentinel: {get: {summary: A guest, responses: {'200': {description: Here}}}}
  /status: {get: {summary: Ours stays}}
info: {title: Not ours}
"""


def install(folder: Path) -> Path:
    package = folder / 'sentinel_plugin'
    package.mkdir(parents=True)
    (package / '__init__.py').touch()
    (package / 'plugin.py').write_text(PLUGIN)
    (package / 'api.yml').write_text(API)
    information = folder / 'sentinel_plugin-1.0.dist-info'
    information.mkdir()
    (information / 'METADATA').write_text('Metadata-Version: 2.1\nName: sentinel-plugin\nVersion: 1.0\n')
    (information / 'entry_points.txt').write_text(
        '[wazo_webhookd.plugins]\nsentinel = sentinel_plugin.plugin:Plugin\nbroken = sentinel_plugin.plugin:Broken\n'
    )
    return folder


def test_a_guest_adds_routes_a_component_and_its_document(site: Site, tmp_path: Path) -> None:
    site.python_path.append(install(tmp_path / 'guest'))
    enabled = {'sentinel': True, 'broken': True, 'not_installed': True}
    daemon = site.daemon(enabled_plugins=enabled).ready()
    user = site.auth.add_user()
    token, poor = site.auth.add_token(user_uuid=user), site.auth.add_token(acl=('guest.b.read', 'webhookd.#'))
    tenants = site.auth.add_token(site.auth.add_tenant())

    def ask(path: str, token: str) -> tuple[int, object]:
        answer = daemon.rest.call('GET', path, headers={'X-Auth-Token': token})
        return answer.status_code, answer.json()

    status, seen = ask('/sentinel', '')
    assert status == 200
    assert isinstance(seen, dict)
    assert set(seen['keys']) >= {
        'api', 'auth_client', 'bus_consumer', 'bus_publisher', 'config', 'status_aggregator', 'service_manager',
        'next_token_change_subscribe',
    }  # fmt: skip
    until(lambda: ask('/sentinel', '') == (200, {**seen, 'tokens': 1}), what='the first token is heard of')
    assert ask('/guest/a', token) == (200, {'thing': 'a', 'user': user})
    assert ask('/guest/a', poor)[0] == 401
    assert ask('/guest/b', poor)[0] == 400
    assert ask('/guest', token) == (200, {'master': True})
    assert ask('/guest', tenants)[0] == 401
    assert daemon.rest.status()['test_component'] == {'status': 'ok'}
    document = yaml.safe_load(daemon.rest.call('GET', '/api/api.yml').text)
    assert document['paths']['/sentinel']['get']['summary'] == 'A guest'
    assert document['info']['title'] == 'wazo-webhookd'
    assert document['paths']['/status']['get']['summary'] != 'Ours stays'
    assert 'not_installed is enabled but not installed' in daemon.output
    assert 'broken' in daemon.output
    assert 'a bug of a guest' in daemon.output


def test_rooms_and_services_that_are_switched_off_are_not_there(site: Site, tmp_path: Path) -> None:
    site.python_path.append(install(tmp_path / 'guest'))
    off = {'services': False, 'status': False, 'config': False}
    daemon = site.daemon(enabled_plugins=off, enabled_services={'http': False, 'mobile': False}).listens()

    answer = daemon.rest.call('GET', '/subscriptions/services')
    assert (answer.status_code, answer.json()['error_id']) == (404, 'no-such-subscription')
    for path in ('/status', '/config', '/sentinel'):
        assert daemon.rest.call('GET', path).status_code == 404
    assert '/sentinel' in daemon.rest.call('GET', '/api/api.yml').text
    daemon.stop()
    daemon = site.daemon('second', enabled_services={'http': False, 'mobile': False}).listens()
    assert daemon.rest.get('/subscriptions/services') == {'services': {}}
