"""The 150 attacks and legitimate URLs of tests/vectors/egress.json, each with its expected verdict."""

from __future__ import annotations

import itertools
import json
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.unit.egress.fakes import OK, PUBLIC, FakeNetwork, FakeResolver, allowing, flooding, settings
from wazo_webhookd.domain.endpoint import BadURL, parse
from wazo_webhookd.egress import addresses, guard
from wazo_webhookd.egress.check import explain
from wazo_webhookd.egress.client import DeadlineExceeded, EgressClient
from wazo_webhookd.egress.environment import ignored_environment
from wazo_webhookd.egress.guard import EgressRefused, judge_header
from wazo_webhookd.egress.resolver import SystemResolver
from wazo_webhookd.egress.tls import TlsContexts
from wazo_webhookd.services.helpers import HookRetry
from wazo_webhookd.services.http.plugin import send
from wazo_webhookd.services.http.request import Hook, build_target

FILE = json.loads((Path(__file__).parents[2] / 'vectors' / 'egress.json').read_text('utf-8'))
VECTORS = FILE['vectors']


def vectors(kind: str, expect: str | None = None) -> Any:
    chosen = [vector for vector in VECTORS if vector['kind'] == kind and expect in (None, vector['expect'])]
    return pytest.mark.parametrize('vector', chosen, ids=[f'{v["id"]}-{v["technique"]}'[:60] for v in chosen])


def client(resolver: Any = None, network: Any = None, **changes: Any) -> EgressClient:
    return EgressClient(settings(**changes), resolver=resolver or FakeResolver(), connect=network or FakeNetwork())


def verdict_of(call: Any) -> str:
    try:
        call()
    except BadURL:
        return 'REJECT_URL'
    except EgressRefused as refused:
        return refused.verdict
    return 'ALLOW'


def test_there_are_150_vectors_and_all_of_them_are_tested() -> None:
    kinds = {vector['kind'] for vector in VECTORS}

    assert len(VECTORS) == FILE['count'] == 150
    assert kinds == {'url', 'policy', 'dns', 'redirect', 'template', 'protocol'}


def test_the_tables_are_those_of_the_vectors() -> None:
    assert set(addresses.SHUT_V4) == set(FILE['deny_v4'])
    assert set(addresses.SHUT_V6) == set(FILE['deny_v6'])
    assert FILE['allow_v6'] == addresses.OPEN_V6
    never = set(addresses.NEVER) - {'::/128', '::1/128'} | {'::/127'}  # ours tells loopback from unspecified
    assert never == set(FILE['never_openable'])
    assert set(FILE['bad_ports']) == guard.SHUT_PORTS
    assert set(FILE['deny_names']) == guard.SHUT_NAMES
    assert set(FILE['deny_suffixes']) == set(guard.SHUT_SUFFIXES)


@vectors('url')
def test_url(vector: Any) -> None:
    resolver, network = FakeResolver(), FakeNetwork()
    http = client(resolver, network)

    if vector['input'].startswith('https:'):  # the fake network speaks no TLS
        made = verdict_of(lambda: http.guard.judge_authority(parse(vector['input']).authority, 'user'))
    else:
        made = verdict_of(lambda: http.send('POST', vector['input'], {}, b'{}', role='user'))
    explained = explain(vector['input'], 'user', settings(), FakeResolver())

    assert made == vector['expect']
    assert explained['verdict'] == vector['expect']
    assert explained['allowed'] is (vector['expect'] == 'ALLOW')
    if vector['expect'] != 'ALLOW':
        assert (resolver.asked, network.connected) == ([], [])


@vectors('url')
def test_url_is_normalised(vector: Any) -> None:
    if vector.get('normalised') is not None:
        assert build_target(vector['input'], {}, 'user').origin == vector['normalised']


@vectors('policy')
def test_policy(vector: Any) -> None:
    network = FakeNetwork()
    user = allowing(*vector['allow_cidrs'])

    made = verdict_of(lambda: client(network=network, user=user).send('GET', vector['input'], {}, role='user'))

    assert made == vector['expect']
    assert explain(vector['input'], 'user', settings(user=user))['verdict'] == vector['expect']
    assert len(network.connected) == (vector['expect'] == 'ALLOW')


@vectors('dns')
def test_dns(vector: Any) -> None:
    network = FakeNetwork()
    url = f'http://{vector["input"]}/'
    if vector['answers'] == 'timeout':
        hanging = threading.Event()
        resolver = SystemResolver(lambda _: [] * hanging.wait(30))
        http = client(resolver, network, deadline=0.2)
        with pytest.raises(HookRetry) as again:
            send(
                http, SimpleNamespace(), Hook('POST', build_target(url, {}, 'user'), {}, None, None, True, None), 'user'
            )
        hanging.set()
        assert vector['expect'] == 'RETRYABLE'
        assert again.value.blame == 'endpoint'
        return
    fake = FakeResolver({vector['input']: vector['answers']})

    made = verdict_of(lambda: client(fake, network).send('GET', url, {}, role='user'))

    assert made == vector['expect']
    assert fake.asked == [vector['input']]
    if vector['expect'] == 'ALLOW':
        assert network.connected == [vector.get('connect_to') or network.connected[0]]
    else:
        assert network.connected == []


@vectors('redirect')
def test_redirect(vector: Any) -> None:
    status, location = vector['input']['status'], vector['input']['location']
    network = FakeNetwork(f'HTTP/1.1 {status} Moved\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n'.encode())
    hook = Hook('POST', build_target('http://hooks.example.com/', {}, 'user'), {}, b'{}', '{}', True, None)

    with pytest.raises(HookRetry) as again:
        send(client(network=network), SimpleNamespace(), hook, 'user')

    assert vector['expect'] == 'NO_FOLLOW'
    assert network.connected == [PUBLIC]
    assert again.value.detail['response_status_code'] == status
    assert again.value.detail['response_headers']['Location'] == location
    assert again.value.blame == 'subscription'


@vectors('template')
def test_template(vector: Any) -> None:
    names = {'event': vector['input']['data'], 'event_name': 'e', 'wazo_uuid': 'w'}
    literal = vector['input']['url'].partition('{')[0]

    if vector['expect'] == 'REJECT_URL':
        with pytest.raises(BadURL):
            build_target(vector['input']['url'], names, 'user')
    else:
        assert vector['expect'] == 'ALLOW_ESCAPED'
        target = build_target(vector['input']['url'], names, 'user')
        rest = f'{target.scheme}://{target.host}{target.path_query}'.removeprefix(literal)
        assert not set(rest) & set('/?#&=\r\n .:@') - set('.') | ({'..'} & set(rest.split('/')))
    assert explain(vector['input']['url'], 'user', settings(), FakeResolver())['verdict'] == vector['expect']


@vectors('protocol', expect='IGNORED')
def test_environment_is_ignored(vector: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    before = TlsContexts().context(True).cert_store_stats()
    for name, value in vector['input']['env'].items():
        monkeypatch.setenv(name, value)
        assert ignored_environment({name: value}, lambda _: False) == [name]
    direct, proxied = FakeNetwork(), FakeNetwork(OK)
    proxied.script = _proxy_then_receiver

    client(network=direct).send('GET', 'http://hooks.example.com/', {}, role='user')
    client(network=proxied, proxy='http://192.0.2.1:3128').send('GET', 'http://hooks.example.com/', {}, role='user')

    assert direct.connected == [PUBLIC]
    assert proxied.connected == ['192.0.2.1']
    assert TlsContexts().context(True).cert_store_stats() == before


def _proxy_then_receiver(sock: Any) -> None:
    flooding(b'HTTP/1.1 200 Connection established\r\n\r\n', [])(sock)
    flooding(OK, [])(sock)


@vectors('protocol', expect='BLOCK_CONNECT')
def test_peer_is_checked(vector: Any) -> None:
    network = FakeNetwork(peer=vector['input']['peer'])
    resolver = FakeResolver({'hooks.example.com': [vector['input']['vetted']]})

    made = verdict_of(lambda: client(resolver, network).send('GET', 'http://hooks.example.com/', {}, role='user'))

    assert made == vector['expect']


@vectors('protocol', expect='REJECT_URL')
def test_header_cannot_be_chosen(vector: Any) -> None:
    for name in vector['input']['headers']:
        assert verdict_of(lambda name=name: judge_header(name)) == vector['expect']


@vectors('protocol', expect='TRUNCATED')
def test_endless_body_is_cut(vector: Any) -> None:
    sent = itertools.count()
    endless = ((next(sent) and b'') or b'x' * 65536 for _ in itertools.count())
    network = FakeNetwork(flooding(b'HTTP/1.1 200 OK\r\nContent-Length: 10737418240\r\n\r\n', endless))

    response = client(network=network).send('GET', 'http://hooks.example.com/', {}, role='user')

    assert vector['expect'] == 'TRUNCATED'
    assert response.status_code == 200
    assert len(response.content) == 16384
    assert response.truncated
    assert next(sent) < 200


@vectors('protocol', expect='FAILED')
def test_endless_headers_fail(vector: Any) -> None:
    header = b'X-Filler: ' + b'x' * 1000 + b'\r\n'
    network = FakeNetwork(flooding(b'HTTP/1.1 200 OK\r\n', itertools.repeat(header, 1000)))
    hook = Hook('GET', build_target('http://hooks.example.com/', {}, 'user'), {}, None, None, True, None)

    with pytest.raises(HookRetry) as again:
        send(client(network=network), SimpleNamespace(), hook, 'user')

    assert vector['expect'] == 'FAILED'
    assert 'the head of the answer is longer than' in again.value.detail['error']


@vectors('protocol', expect='DEADLINE')
def test_endless_interim_answers_meet_the_deadline(vector: Any) -> None:
    network = FakeNetwork(flooding(b'', itertools.repeat(b'HTTP/1.1 100 Continue\r\n\r\n')))

    with pytest.raises(DeadlineExceeded):
        client(network=network, deadline=0.3).send('GET', 'http://hooks.example.com/', {}, role='user')

    assert vector['expect'] == 'DEADLINE'
