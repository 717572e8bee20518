from __future__ import annotations

import gzip
import logging
import ssl
import tracemalloc
from typing import Any

import pytest
import requests

from tests.unit.egress.fakes import OK, FakeNetwork, FakeResolver, answering, settings
from wazo_webhookd.domain.endpoint import BadURL
from wazo_webhookd.egress.client import EgressClient
from wazo_webhookd.egress.environment import ignored_environment, warn_of_environment
from wazo_webhookd.egress.shown import charset
from wazo_webhookd.egress.tls import BadBundle, TlsContexts


def client(network: FakeNetwork, **changes: Any) -> EgressClient:
    return EgressClient(settings(**changes), resolver=FakeResolver(), connect=network)


def answer(body: bytes, headers: str = '') -> bytes:
    return f'HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n{headers}\r\n'.encode() + body


def test_name_and_password_are_sent_and_masked() -> None:
    sent: list[bytes] = []
    network = FakeNetwork(answering(OK, requests=sent))

    response = client(network).send('POST', 'http://us%C3%A9r:p@e.com/x?y=1', {'A': 'b'}, b'{}', role='user')

    assert b'\r\nAuthorization: Basic dXPpcjpw\r\n' in sent[0]
    assert response.request.headers['Authorization'] == '********'
    assert response.url == response.request.url == 'http://us%C3%A9r:********@e.com/x?y=1'


@pytest.mark.parametrize(
    ('method', 'body', 'length'),
    [('POST', b'{}', '2'), ('GET', b'{}', '2'), ('POST', None, '0'), ('GET', None, None), ('DELETE', b'', None)],
)
def test_the_length_is_told_where_receivers_expect_it(method: str, body: bytes | None, length: str | None) -> None:
    response = client(FakeNetwork()).send(method, 'http://e.com/', {}, body, role='user')

    assert response.request.headers.get('Content-Length') == length


def test_the_answer_is_that_of_requests() -> None:
    network = FakeNetwork(answer(b'{"a": "\xc3\xa9"}', 'Content-Type: application/json\r\nX: 1\r\nx: 2\r\n'))

    response = client(network).send('POST', 'http://e.com/', {}, b'{}', role='user')

    assert response.json() == {'a': 'é'}
    assert response.headers['x'] == '1, 2'
    assert response.ok
    assert response.elapsed.total_seconds() < 5
    assert not response.truncated  # type: ignore[attr-defined]


@pytest.mark.parametrize(('status', 'reason'), [(503, 'Service Unavailable'), (799, 'unknown status')])
def test_a_missing_reason_is_filled_in(status: int, reason: str) -> None:
    network = FakeNetwork(f'HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n'.encode())

    assert client(network).send('POST', 'http://e.com/', {}, role='user').reason == reason


@pytest.mark.parametrize(
    ('body', 'content_type', 'text'),
    [
        ('é'.encode('latin-1'), 'text/plain; charset=latin-1', 'é'),
        ('é'.encode('utf-16'), 'text/plain; charset="utf-16"', 'é'),
        ('é'.encode(), 'text/plain', 'é'),
        ('é'.encode('latin-1'), 'text/plain', '\N{REPLACEMENT CHARACTER}'),
        (b'\xff\xfe\x00', 'image/png', '\N{REPLACEMENT CHARACTER}' * 2 + '\0'),
        ('é'.encode('cp737', 'replace'), 'text/plain; charset=CP737', '?'),
        ('é'.encode('latin-1'), 'text/plain; charset=ISO_8859-1:1987', 'é'),
        (b'\xef\xbb\xbfa', 'text/plain; charset=utf-8-sig', 'a'),
        ('é'.encode(), 'text/plain; charset=nonsense', 'é'),
        ('é'.encode(), 'text/plain; charset=aliases', 'é'),
        (b'xn--a', 'text/plain; charset=punycode', 'xn--a'),
        (b'xn--a', 'text/plain; charset=idna', 'xn--a'),
        (b'QUJD', 'text/plain; charset=base64', 'QUJD'),
    ],
)
def test_any_charset_is_decoded_or_replaced(body: bytes, content_type: str, text: str) -> None:
    network = FakeNetwork(answer(body, f'Content-Type: {content_type}\r\n'))

    assert client(network).send('GET', 'http://e.com/', {}, role='user').text == text


def test_charsets_that_receivers_make_up_are_not_remembered() -> None:
    charset('text/plain; charset=utf-8')
    tracemalloc.start()
    try:
        for number in range(2000):
            assert charset(f'text/plain; charset=made-up-{number:020}') == 'utf-8'
            assert charset(f'text/plain; charset=utf{"-" * (number % 30)}{"_" * (number // 30 % 5)}8') == 'utf-8'
        kept = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()

    assert kept < 20_000


@pytest.mark.parametrize(
    ('body', 'coding', 'content', 'truncated'),
    [
        (gzip.compress(b'plain', mtime=0), 'gzip', b'plain', False),
        (gzip.compress(b'\0' * 1_000_000, mtime=0), 'gzip', b'\0' * 16384, True),
        (gzip.compress(b'plain', mtime=0)[:-12], 'GZIP', b'plai', False),
        (b'not packed', 'gzip', b'not packed', False),
        (b'whatever', 'br', b'whatever', False),
    ],
)
def test_what_came_packed_is_unpacked_within_the_cap(body: bytes, coding: str, content: bytes, truncated: bool) -> None:
    network = FakeNetwork(answer(body, f'Content-Encoding: {coding}\r\n'))

    response = client(network).send('GET', 'http://e.com/', {}, role='user')

    assert response.content[:5] == content[:5][: len(response.content[:5])]
    assert len(response.content) <= 16384
    assert response.truncated is truncated  # type: ignore[attr-defined]


def test_the_cap_is_configured() -> None:
    network = FakeNetwork(answer(b'12345'))

    response = client(network, max_response_bytes=3).send('GET', 'http://e.com/', {}, role='user')

    assert response.content == b'123'
    assert response.truncated  # type: ignore[attr-defined]


def test_connections_are_kept_per_endpoint_and_way_of_checking() -> None:
    network = FakeNetwork()
    http = client(network)

    for url in (
        'http://a.example/1',
        'http://a.example/2',
        'http://b.example/',
        'http://a.example:81/',
        'http://a.example/3',
    ):
        http.send('GET', url, {}, role='user')

    assert len(network.connected) == 3


def test_many_endpoints_do_not_push_out_one_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr('wazo_webhookd.egress.keeper.MAX_KEPT', 4)
    network = FakeNetwork()
    http = client(network)

    for number in range(20):
        http.send('GET', f'http://once-{number}.example.com/', {}, role='user')
        http.send('GET', 'http://often.example.com/', {}, role='user')

    assert len(network.connected) == 21
    assert len(http._keeper) == 4


def test_a_kept_connection_is_given_up_when_its_address_is_shut_by_now() -> None:
    network = FakeNetwork()
    http = client(network)
    http.send('GET', 'http://a.example/', {}, role='user')

    http.guard._judged[('user', next(iter(http.guard._judged))[1])] = 'private'
    http._resolver._answers['a.example'] = iter([['93.184.216.35']])  # type: ignore[attr-defined]
    http.send('GET', 'http://a.example/', {}, role='user')

    assert network.connected == ['93.184.216.34', '93.184.216.35']


@pytest.mark.parametrize('headers', [{'A': 'x\r\ny'}, {'A b': 'x'}])
def test_a_header_that_cannot_be_written_is_an_error(headers: dict[str, str]) -> None:
    network = FakeNetwork()

    with pytest.raises(requests.exceptions.InvalidHeader):
        client(network).send('GET', 'http://e.com/', headers, role='user')
    assert network.connected == []


@pytest.mark.parametrize('proxy', ['https://proxy.example.com', 'socks5://proxy.example.com', 'proxy.example.com:3128'])
def test_a_proxy_that_cannot_be_used_is_named_at_start(proxy: str) -> None:
    with pytest.raises(BadURL):
        EgressClient(settings(proxy=proxy))


def test_a_bundle_that_is_none_is_refused_before_connecting() -> None:
    network = FakeNetwork()

    with pytest.raises(BadBundle):
        client(network).send('GET', 'https://e.com/', {}, role='user', verify='/nonexistent')
    assert network.connected == []


def test_tls_contexts_are_made_once() -> None:
    contexts = TlsContexts()

    assert contexts.context(True) is contexts.context(True)
    assert contexts.context(True) is not contexts.context(False)


def test_receivers_cannot_ask_for_another_handshake() -> None:
    assert TlsContexts().context(False).options & ssl.OP_NO_RENEGOTIATION


def test_one_warning_names_what_is_ignored(caplog: pytest.LogCaptureFixture) -> None:
    environ = {'https_proxy': 'http://x', 'NO_PROXY': '', 'REQUESTS_CA_BUNDLE': '/x', 'PATH': '/bin'}

    assert ignored_environment(environ, lambda name: name == '.netrc') == [
        'REQUESTS_CA_BUNDLE',
        'https_proxy',
        '~/.netrc',
    ]
    with caplog.at_level(logging.WARNING):
        warn_of_environment(environ)
        assert len(caplog.records) == 1
        assert 'https_proxy' in caplog.text
        assert 'http://x' not in caplog.text
