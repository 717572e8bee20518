"""The conformance vectors of the reference against a running daemon: real HTTP, PostgreSQL, and wazo-auth's double."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import requests
import yaml

from integration_tests.support.auth_double import SERVICE, SERVICE_ACL
from integration_tests.support.site import Daemon, Site
from tests.contract.rest.conftest import MASTER, OTHER, TENANT, USER
from tests.contract.rest.vectors import LOGS, OTHERS, POSTS, Vector, check

BODY = {'name': 'n', 'service': 'http', 'config': {'url': 'http://x', 'method': 'get'}, 'events': ['a']}


def furnished(site: Site) -> Daemon:
    """A daemon for callers ``master``, ``tenant`` (both of a user), ``other`` (of none) and ``refused``."""
    auth = site.auth
    auth.tenants = {MASTER: None, TENANT: MASTER, OTHER: MASTER}
    auth.accounts[SERVICE[0]] = (SERVICE[1], MASTER, SERVICE_ACL)
    auth.add_token(MASTER, USER, token='master')
    auth.add_token(TENANT, USER, token='tenant')
    auth.add_token(OTHER, token='other')
    auth.add_token(MASTER, acl=('webhookd.nothing',), token='refused')
    daemon = site.daemon()
    daemon.rest.token = 'master'
    return daemon.ready()


class Answer:
    """As the tables read answers: those of the test client of Flask."""

    def __init__(self, response: requests.Response) -> None:
        self.status_code, self.text = response.status_code, response.text
        self.json = response.json() if response.text else None


def ask(daemon: Daemon, method: str, path: str, token: str = 'master', **options: Any) -> requests.Response:
    headers = {'X-Auth-Token': token}
    if 'data' in options:
        headers['Content-Type'] = options.pop('content_type', '')
    return daemon.rest.call(method, path, options.pop('json', None), headers=headers, **options)


def wrong(daemon: Daemon, vectors: list[Vector], start: str = '') -> list[str]:
    found = []
    for vector in vectors:
        options: Mapping[str, Any] = vector.options
        if options.get('json', ...) in (None, [], {}):  # requests sends no body for these
            options = {'data': f'{options["json"]}'.replace('None', 'null'), 'content_type': 'application/json'}
        try:
            check(Answer(ask(daemon, vector.method, f'{start}{vector.path}', vector.token, **options)), vector)
        except (AssertionError, ValueError) as error:
            found.append(f'{vector.name}: {error}')
    return found


def test_the_vectors_of_the_reference(site: Site) -> None:
    daemon = furnished(site)
    uuid = ask(daemon, 'POST', '/subscriptions', json=BODY).json()['uuid']

    assert wrong(daemon, [*POSTS, *OTHERS]) == []
    assert wrong(daemon, LOGS, f'/subscriptions/{uuid}/logs') == []
    assert 'Traceback' not in daemon.output


def test_every_operation_of_the_document_is_there_and_asks_for_its_access(site: Site) -> None:
    daemon = furnished(site)
    document = yaml.safe_load(daemon.rest.call('GET', '/api/api.yml').text)
    operations = [(path, method, told) for path, item in document['paths'].items() for method, told in item.items()]

    assert len(operations) >= 22
    for path, method, told in operations:
        pattern = re.search(r'Required ACL:\*\* `([^`]+)`', told['description'])
        assert pattern is not None, (method, path)
        for token, reason in (('bad', 'not_found_or_expired'), ('refused', 'missing_permission_or_invalid_tenant')):
            answer = ask(daemon, method.upper(), re.sub(r'{\w+}', 'a.b', path), token)
            assert answer.status_code == 401, (method, path)
            assert answer.json()['details']['reason'] == reason
            assert answer.json()['details']['required_access'] == re.sub(r'{\w+}', 'a_b', pattern[1])
