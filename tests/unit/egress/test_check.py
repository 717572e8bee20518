from __future__ import annotations

from typing import Any

import pytest

from tests.unit.egress.fakes import FakeResolver, settings
from wazo_webhookd.egress.check import explain
from wazo_webhookd.egress.guard import Role

REST = ['name', 'port', 'lookup', 'address']
ANSWERS = {'inside.example.com': ['93.184.216.34', '10.1.2.3'], 'gone.example.com': []}


@pytest.mark.parametrize(
    ('url', 'role', 'verdict', 'rules'),
    [
        ('https://hooks.example.com/', 'user', 'ALLOW', ['url', *REST]),
        (
            'https://hooks.example.com/{{ x }}',
            'user',
            'ALLOW_ESCAPED',
            ['url-template', *REST],
        ),
        ('https://hooks.example.com/{{ x }}', 'admin', 'ALLOW', ['url-template', *REST]),
        ('https://{{ x }}/', 'user', 'REJECT_URL', ['url-template']),
        ('https://{{ x }}/', 'admin', 'ALLOW', ['url-template']),
        ('not a url', 'user', 'REJECT_URL', ['url-characters']),
        ('http://127.1/', 'admin', 'REJECT_URL', ['url-host']),
        ('http://rabbitmq/', 'user', 'REJECT_URL', ['url', 'name']),
        ('http://rabbitmq/', 'admin', 'ALLOW', ['url', *REST]),
        ('http://hooks.example.com:25/', 'user', 'REJECT_URL', ['url', 'name', 'port']),
        ('http://127.0.0.1/', 'user', 'BLOCK_ADDR', ['url', 'port', 'address: loopback']),
        ('http://127.0.0.1/', 'admin', 'ALLOW', ['url', 'port', 'address']),
        ('http://inside.example.com/', 'user', 'BLOCK_ADDR', ['url', 'name', 'port', 'lookup', 'address: private']),
        ('http://gone.example.com/', 'user', 'RETRYABLE', ['url', 'name', 'port', 'lookup']),
        ('http://u:p@e.com/a b\n', 'admin', 'ALLOW', ['url', 'url-userinfo', *REST]),
    ],
)
def test_verdicts_step_by_step(url: str, role: Role, verdict: str, rules: list[str]) -> None:
    explained = explain(url, role, settings(), FakeResolver(ANSWERS))

    assert explained['verdict'] == verdict
    assert explained['allowed'] is verdict.startswith('ALLOW')
    assert [step['rule'] for step in explained['steps']] == rules
    assert [step['passed'] for step in explained['steps'][:-1]] == [True] * (len(rules) - 1)
    assert explained['steps'][-1]['passed'] is explained['allowed']


def test_users_see_no_addresses() -> None:
    def said(url: str, role: Role) -> Any:
        return str(explain(url, role, settings(), FakeResolver(ANSWERS)))

    assert '10.1.2.3' not in said('http://inside.example.com/', 'user')
    assert '93.184.216.34' not in said('http://hooks.example.com/', 'user')
    assert '93.184.216.34' in said('http://hooks.example.com/', 'admin')
