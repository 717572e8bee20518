"""What hostile receivers can do to one HTTP call: nothing but end it, and that on time."""

from __future__ import annotations

import contextlib
import ipaddress
import itertools
import os
import re
import socket
import ssl
import threading
import time
import tracemalloc
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import requests

from integration_tests.attackers import behaviours as do
from integration_tests.attackers.certificates import Authority
from integration_tests.attackers.server import Attacker, Behaviour
from integration_tests.support.figures import Note
from wazo_webhookd.egress.addresses import Address
from wazo_webhookd.egress.client import DeadlineExceeded, EgressClient, NameLookupFailed
from wazo_webhookd.egress.connection import connect_directly
from wazo_webhookd.egress.guard import EgressRefused
from wazo_webhookd.egress.resolver import SystemResolver
from wazo_webhookd.egress.tls import MAX_CONTEXTS, BadBundle, TlsContexts
from wazo_webhookd.services.helpers import HookRetry
from wazo_webhookd.services.http.plugin import send as deliver
from wazo_webhookd.services.http.request import Hook, build_target

DEADLINE = 1.0
LATE = 0.5
"""Seconds that a busy machine may need beyond the deadline."""


def settings(**changes: Any) -> Any:
    role = SimpleNamespace(allow=(), deny=())
    values = {'user': role, 'admin': role, 'proxy': None, 'connect_timeout': 1.0, 'max_response_bytes': 16384}
    return SimpleNamespace(**{**values, 'deadline': DEADLINE, **changes})


@pytest.fixture
def client() -> Iterator[EgressClient]:
    made = EgressClient(settings())
    yield made
    made.close()


@pytest.fixture(scope='module')
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp('authority'))


def post(client: EgressClient, url: str, body: bytes = b'{}', **options: Any) -> requests.Response:
    return client.send('POST', url, {}, body, **{'role': 'admin', **options})


TOO_SLOW: dict[str, Behaviour] = {
    'silence': do.silent,
    'status line dripping': do.drips(b'', b'HTTP/1.1 200 OK'),
    'headers dripping': do.drips(b'HTTP/1.1 200 OK\r\n', b'X-Slow: y\r\n'),
    'body dripping': do.drips(b'HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n', b'x'),
    'body without length dripping': do.drips(b'HTTP/1.1 200 OK\r\n\r\n', b'x'),
    'chunks dripping': do.drips(b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n', b'1\r\nx\r\n'),
    'chunk size dripping': do.drips(b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n', b'0'),
    'trailers dripping': do.drips(b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n', b'X: y\r\n'),
    'interim answers dripping': do.drips(b'', b'HTTP/1.1 100 Continue\r\n\r\n', 0.001),
    'interim answers for ever': do.floods(b'', itertools.repeat(b'HTTP/1.1 100 Continue\r\n\r\n' * 100)),
    'early hints for ever': do.floods(b'', itertools.repeat(b'HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n' * 100)),
}


@pytest.mark.parametrize('tls', [False, True], ids=['plain', 'tls'])
@pytest.mark.parametrize('behaviour', TOO_SLOW.values(), ids=TOO_SLOW)
def test_the_total_deadline_ends_whatever_is_too_slow(
    behaviour: Behaviour, tls: bool, client: EgressClient, authority: Authority
) -> None:
    started, processor = time.monotonic(), time.thread_time()

    with Attacker(behaviour, authority.server('127.0.0.1') if tls else None) as attacker:
        with pytest.raises(DeadlineExceeded):
            post(client, attacker.url, verify=False)
        taken = time.monotonic() - started

    assert DEADLINE - 0.1 < taken < DEADLINE + LATE
    assert time.thread_time() - processor < 0.3
    assert len(client._keeper) == 0


@pytest.mark.parametrize('behaviour', [do.silent, do.drips_within_handshake], ids=['stall', 'drip'])
def test_the_total_deadline_ends_a_tls_handshake(behaviour: Behaviour, client: EgressClient) -> None:
    started = time.monotonic()

    with Attacker(behaviour) as attacker, pytest.raises(requests.Timeout):
        post(client, attacker.url.replace('http:', 'https:'), verify=False)

    assert time.monotonic() - started < DEADLINE + LATE


def test_the_total_deadline_ends_the_sending_of_a_request(client: EgressClient) -> None:
    started = time.monotonic()

    with Attacker(do.deaf) as attacker, pytest.raises(DeadlineExceeded):
        post(client, attacker.url, b'x' * 32 * do.MEBIBYTE)

    assert time.monotonic() - started < DEADLINE + LATE


FAILING: dict[str, tuple[Behaviour, str]] = {
    'closes without answer': (do.sends_and_closes(b''), 'without an answer'),
    'resets': (do.resets, 'https?://[0-9.:]+ ?.*(reset|without an answer)'),
    'closes within the status line': (do.sends_and_closes(b'HTTP/1.1 20'), 'within the head'),
    'closes within the headers': (do.sends_and_closes(b'HTTP/1.1 200 OK\r\nX: y\r\n'), 'within the head'),
    'closes within the body': (
        do.sends_and_closes(b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf'),
        'within the body',
    ),
    'closes within a chunk': (
        do.sends_and_closes(b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10\r\nhalf'),
        'within the body',
    ),
    'speaks another protocol': (do.sends_and_closes(b'220 mail.example.com ESMTP\r\n\r\n'), 'does not speak HTTP/1'),
    'sends rubbish': (do.sends_and_closes(os.urandom(100) + b'\r\n\r\n'), 'does not speak HTTP/1'),
    'sends a length that is none': (
        do.sends_and_closes(b'HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n'),
        'a length that is none',
    ),
    'sends two lengths': (
        do.sends_and_closes(b'HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nxxxxxx'),
        'a length that is none',
    ),
    'sends chunks without size': (
        do.sends_and_closes(b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n'),
        'chunk without a size',
    ),
    'sends more than the chunk says': (
        do.sends_and_closes(b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nxyz\r\n'),
        'a line of the answer is too long',
    ),
    'changes the protocol': (
        do.sends_and_closes(b'HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n'),
        'changed the protocol',
    ),
    'endless header': (do.floods(b'HTTP/1.1 200 OK\r\nX: ', itertools.repeat(b'x' * 65536)), 'head of the answer'),
    'endless headers': (do.floods(b'HTTP/1.1 200 OK\r\n', itertools.repeat(b'X: y\r\n' * 5000)), 'head of the answer'),
    'many headers': (do.sends_and_closes(b'HTTP/1.1 200 OK\r\n' + b'X: y\r\n' * 500 + b'\r\n'), 'more than 100'),
    'endless status line': (do.floods(b'HTTP/1.1 200 ', itertools.repeat(b'x' * 65536)), 'head of the answer'),
    'endless chunk extension': (
        do.floods(b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;', itertools.repeat(b'x' * 65536)),
        'too long',
    ),
    'endless trailers': (
        do.floods(b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n', itertools.repeat(b'X: y\r\n' * 1000)),
        'too long',
    ),
    'chunks of nothing but framing': (
        do.floods(
            b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n',
            itertools.repeat((b'1;' + b'x' * 900 + b'\r\ny\r\n') * 100),
        ),
        'more framing than content',
    ),
}


@pytest.mark.parametrize('tls', [False, True], ids=['plain', 'tls'])
@pytest.mark.parametrize(('behaviour', 'words'), FAILING.values(), ids=FAILING)
def test_answers_that_are_none_fail_and_may_be_tried_again(
    behaviour: Behaviour, words: str, tls: bool, client: EgressClient, authority: Authority
) -> None:
    with Attacker(behaviour, authority.server('127.0.0.1') if tls else None) as attacker:
        hook = Hook('POST', build_target(attacker.url, {}, 'admin'), {}, b'{}', '{}', False, None)
        with pytest.raises(HookRetry) as again:
            deliver(client, SimpleNamespace(), hook, 'admin')
        repeated = len(attacker.requests)

    assert re.search(words, again.value.detail['error'])
    assert again.value.blame == 'endpoint'
    assert again.value.detail['response_status_code'] is None
    assert repeated == 1
    assert len(client._keeper) == 0


HUGE = {
    'endless body': do.floods(
        b'HTTP/1.1 200 OK\r\nContent-Length: 10737418240\r\n\r\n', itertools.repeat(b'x' * 65536)
    ),
    'endless body without length': do.floods(b'HTTP/1.1 200 OK\r\n\r\n', itertools.repeat(b'x' * 65536)),
    'endless chunks': do.floods(
        b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n', itertools.repeat(b'1000\r\n' + b'x' * 4096 + b'\r\n')
    ),
    'one endless chunk': do.floods(
        b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffff\r\n', itertools.repeat(b'x' * 65536)
    ),
    'gzip bomb': do.sends_and_closes(do.gzip_bomb()),
}


@pytest.mark.parametrize('behaviour', HUGE.values(), ids=HUGE)
def test_no_more_than_the_cap_is_read(behaviour: Behaviour, client: EgressClient) -> None:
    tracemalloc.start()
    try:
        with Attacker(behaviour) as attacker:
            response = post(client, attacker.url)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert response.status_code == 200
    assert len(response.content) == 16384
    assert response.truncated  # type: ignore[attr-defined]
    assert most < 4 * do.MEBIBYTE


@pytest.mark.parametrize('status', [301, 302, 303, 307, 308])
def test_a_redirect_to_loopback_is_recorded_and_not_followed(status: int, client: EgressClient) -> None:
    with Attacker(do.honest) as inside:
        moved = f'HTTP/1.1 {status} Moved\r\nLocation: {inside.url}\r\nContent-Length: 0\r\n\r\n'.encode()
        with Attacker(do.answers(moved)) as attacker:
            hook = Hook('POST', build_target(attacker.url, {}, 'admin'), {}, b'{}', '{}', True, None)
            with pytest.raises(HookRetry) as again:
                deliver(client, SimpleNamespace(), hook, 'admin')

    assert inside.connections == 0
    assert again.value.detail['response_headers']['Location'] == inside.url
    assert inside.url in again.value.detail['error']


@pytest.mark.parametrize('seconds', [0, 0.02], ids=['at once', 'a little later'])
def test_a_second_answer_is_never_taken_for_the_next_one(seconds: float, client: EgressClient) -> None:
    statuses = []

    with Attacker(do.adds_an_answer(seconds)) as attacker:
        for _ in range(5):
            statuses.append(post(client, attacker.url).status_code)
            time.sleep(0.06)

    assert statuses == [200] * 5
    assert attacker.connections == 5
    assert len(attacker.requests) == 5


def test_connections_are_kept(client: EgressClient, authority: Authority) -> None:
    for tls in (None, authority.server('127.0.0.1')):
        with Attacker(do.honest, tls) as receiver:
            for _ in range(20):
                assert post(client, receiver.url, verify=False).content == b'ok'

        assert receiver.connections == 1
        assert len(receiver.requests) == 20


def test_a_kept_connection_that_ended_meanwhile_is_replaced_without_a_double(client: EgressClient) -> None:
    with Attacker(do.sends_and_closes(do.OK)) as receiver:
        for _ in range(5):
            assert post(client, receiver.url).status_code == 200
            time.sleep(0.02)

    assert receiver.connections == 5
    assert len(receiver.requests) == 5


def test_a_request_that_was_sent_is_not_repeated_when_no_answer_comes(client: EgressClient) -> None:
    def reads_and_closes(sock: socket.socket, attacker: Attacker) -> None:
        attacker.read(sock)

    with Attacker(do.answers_once_then(reads_and_closes)) as receiver:
        assert post(client, receiver.url).status_code == 200
        with pytest.raises(requests.ConnectionError, match='without an answer'):
            post(client, receiver.url)

    assert receiver.connections == 1
    assert len(receiver.requests) == 2


def test_a_refused_connection_fails_at_once(client: EgressClient) -> None:
    with socket.create_server(('127.0.0.1', 0)) as closed:
        port = closed.getsockname()[1]

    with pytest.raises(requests.ConnectionError, match='connection refused') as failed:
        post(client, f'http://127.0.0.1:{port}/')

    assert failed.value.request is not None


class Rebinding:
    """Names that answer something else each time."""

    def __init__(self, *answers: list[str]) -> None:
        self._answers = itertools.cycle(answers)
        self.asked = 0

    def lookup(self, name: str, timeout: float) -> list[Address]:
        self.asked += 1
        return [ipaddress.ip_address(address) for address in next(self._answers)]


def test_a_name_that_answers_two_addresses_in_turn_cannot_pass_the_guard() -> None:
    connected: list[str] = []

    def connect(address: Address, port: int, timeout: float) -> socket.socket:
        connected.append(str(address))
        return connect_directly(ipaddress.ip_address('127.0.0.1'), port, timeout)

    names = Rebinding(['93.184.216.34'], ['127.0.0.1'])
    with Attacker(do.honest) as inside:
        client = EgressClient(settings(), resolver=names, connect=connect)
        url = f'http://rebind.example.com:{inside.port}/'
        for rule in ('peer', 'address: loopback', 'peer', 'address: loopback'):
            with pytest.raises(EgressRefused) as refused:
                post(client, url, role='user')
            assert refused.value.rule == rule

    assert connected == ['93.184.216.34'] * 2
    assert inside.requests == []
    assert names.asked == 4


def test_one_shut_address_among_open_ones_refuses_all() -> None:
    with Attacker(do.honest) as inside:
        client = EgressClient(settings(), resolver=Rebinding(['93.184.216.34', '127.0.0.1']))
        with pytest.raises(EgressRefused) as refused:
            post(client, f'http://mixed.example.com:{inside.port}/', role='user')

    assert inside.connections == 0
    assert '127.0.0.1' not in str(refused.value.detail)


def test_a_connection_of_an_administrator_does_not_serve_a_user(client: EgressClient) -> None:
    with Attacker(do.honest) as inside:
        assert post(client, inside.url).status_code == 200
        with pytest.raises(EgressRefused):
            post(client, inside.url, role='user')

    assert len(inside.requests) == 1


def test_a_hanging_look_up_ends_with_the_deadline_and_holds_nobody_else_up() -> None:
    over = threading.Event()

    def look_up(name: str) -> list[Address]:
        if name.startswith('hang'):
            over.wait(20)
        return [ipaddress.ip_address('127.0.0.1')]

    with Attacker(do.honest) as receiver:
        client = EgressClient(settings(), resolver=SystemResolver(look_up))
        hanging = [
            threading.Thread(target=_ignore, args=(client, f'http://hang{number % 40}.example.com:{receiver.port}/'))
            for number in range(80)
        ]
        for thread in hanging:
            thread.start()
        started = time.monotonic()
        response = post(client, f'http://quick.example.com:{receiver.port}/')
        taken = time.monotonic() - started
        with pytest.raises(NameLookupFailed):
            post(client, f'http://hang.example.com:{receiver.port}/')
        for thread in hanging:
            thread.join(5)
        over.set()

    assert response.status_code == 200
    assert taken < 0.5
    assert not any(thread.is_alive() for thread in hanging)


def _ignore(client: EgressClient, url: str) -> None:
    with pytest.raises(requests.RequestException):
        post(client, url)


def test_a_healthy_receiver_is_not_slowed_by_hanging_ones(client: EgressClient, note: Note) -> None:
    times: list[float] = []

    with Attacker(do.silent) as hanging, Attacker(do.honest) as healthy:
        threads = [threading.Thread(target=_ignore, args=(client, hanging.url)) for _ in range(100)]
        for thread in threads:
            thread.start()
        for _ in range(100):
            started = time.monotonic()
            post(client, healthy.url)
            times.append(time.monotonic() - started)
        for thread in threads:
            thread.join(5)

    note(f'one client, healthy beside 100 hanging: worst {1000 * max(times):.1f} ms')
    assert sorted(times)[95] < 0.1


def test_certificates_are_checked_on_the_name(client: EgressClient, authority: Authority, tmp_path: Any) -> None:
    (tmp_path / 'secret').write_text('password: s3cr3t')
    with Attacker(do.honest, authority.server('127.0.0.1')) as receiver:
        with pytest.raises(requests.exceptions.SSLError, match='certificate not trusted'):
            post(client, receiver.url)
        assert post(client, receiver.url, verify=str(authority.bundle)).status_code == 200
        assert post(client, receiver.url, verify=False).status_code == 200
        for path in ('/nonexistent', '/dev/zero', str(tmp_path / 'secret'), '/proc/self/mem'):
            with pytest.raises(BadBundle) as bad:
                post(client, receiver.url, verify=path)
            assert 's3cr3t' not in str(bad.value)

    untrusted = pytest.raises(requests.exceptions.SSLError, match='certificate not trusted')
    with Attacker(do.honest, authority.server('other.example.com')) as receiver, untrusted:
        post(client, receiver.url, verify=str(authority.bundle))


def test_bundles_push_out_only_each_other_however_they_are_spelled(authority: Authority, tmp_path: Any) -> None:
    contexts = TlsContexts()
    usual = contexts.context(True)
    for number in range(MAX_CONTEXTS + 10):
        (tmp_path / f'{number}.pem').write_bytes(authority.bundle.read_bytes())
        contexts.context(str(tmp_path / f'{number}.pem'))
    spelled = {contexts.context(f'{tmp_path}/{"./" * number}0.pem') for number in range(MAX_CONTEXTS + 10)}

    assert contexts.context(True) is usual
    assert len(spelled) == 1
    assert len(contexts._bundles) <= MAX_CONTEXTS


def test_the_name_stays_in_sni_and_host_when_an_address_is_called(authority: Authority) -> None:
    asked: list[str | None] = []
    context = authority.server('hooks.example.com')
    context.set_servername_callback(lambda sock, name, _: asked.append(name))

    with Attacker(do.honest, context) as receiver:
        client = EgressClient(settings(), resolver=Rebinding(['127.0.0.1']))
        post(client, f'https://HOOKS.example.com:{receiver.port}/a?b=c', verify=str(authority.bundle))

    assert asked == ['hooks.example.com']
    assert receiver.requests[0].startswith(
        f'POST /a?b=c HTTP/1.1\r\nHost: hooks.example.com:{receiver.port}\r\n'.encode()
    )


@pytest.mark.parametrize('tls', [False, True], ids=['plain', 'tls'])
def test_the_egress_proxy_is_asked_for_the_judged_address(tls: bool, authority: Authority) -> None:
    context = authority.server('hooks.example.com') if tls else None
    with Attacker(do.honest, context) as receiver, Attacker(do.proxies) as proxy:
        names = Rebinding(['127.0.0.1'], ['10.0.0.1'])
        client = EgressClient(settings(proxy=f'http://u:p@127.0.0.1:{proxy.port}'), resolver=names)
        url = f'{"https" if tls else "http"}://hooks.example.com:{receiver.port}/'
        for _ in range(2):
            assert post(client, url, verify=str(authority.bundle)).content == b'ok'

    lines = proxy.requests[0].split(b'\r\n')
    assert lines[0] == f'CONNECT 127.0.0.1:{receiver.port} HTTP/1.1'.encode()
    assert b'Proxy-Authorization: Basic dTpw' in lines
    assert len(proxy.requests) == 1
    assert b'Host: hooks.example.com' in receiver.requests[0]
    assert b'Proxy' not in receiver.requests[0]


@pytest.mark.parametrize(
    ('answer', 'error'),
    [
        (b'HTTP/1.1 407 Proxy Authentication Required\r\n\r\n', 'the egress proxy answered 407'),
        (b'rubbish\r\n\r\n', 'the egress proxy: the receiver does not speak HTTP/1'),
        (b'HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 200 OK\r\n\r\n', 'data before the tunnel was used'),
    ],
)
def test_a_proxy_that_refuses_is_a_failure(answer: bytes, error: str) -> None:
    with Attacker(do.sends_and_closes(answer)) as proxy:
        client = EgressClient(settings(proxy=f'http://127.0.0.1:{proxy.port}'))
        with pytest.raises(requests.ConnectionError, match=error):
            post(client, 'http://127.0.0.1:9/')


def test_a_proxy_that_stalls_meets_the_deadline() -> None:
    started = time.monotonic()
    with Attacker(do.drips(b'', b'HTTP/1.1 200')) as proxy:
        client = EgressClient(settings(proxy=f'http://127.0.0.1:{proxy.port}'))
        with pytest.raises(requests.Timeout):
            post(client, 'http://127.0.0.1:9/')

    assert time.monotonic() - started < DEADLINE + LATE


def test_nothing_is_left_open(client: EgressClient, authority: Authority) -> None:
    def rounds() -> None:
        for behaviour in (do.sends_and_closes(b''), do.resets, do.sends_and_closes(do.gzip_bomb()), do.silent):
            for tls in (None, authority.server('127.0.0.1')):
                with Attacker(behaviour, tls) as attacker, contextlib.suppress(requests.RequestException):
                    post(client, attacker.url, verify=False, deadline=0.2)
        client._keeper.close()

    rounds()
    time.sleep(0.2)
    before = len(os.listdir('/proc/self/fd'))
    rounds()
    time.sleep(0.2)

    assert len(os.listdir('/proc/self/fd')) <= before


def test_a_forked_process_does_not_use_the_connections_of_its_parent(client: EgressClient) -> None:
    with Attacker(do.honest) as receiver:
        assert post(client, receiver.url).status_code == 200
        client._process = -1  # as if this were the child
        assert post(client, receiver.url).status_code == 200

    assert receiver.connections == 2


def test_tls_settings_of_the_environment_do_not_matter(monkeypatch: pytest.MonkeyPatch, authority: Authority) -> None:
    for name in ('SSL_CERT_FILE', 'REQUESTS_CA_BUNDLE', 'CURL_CA_BUNDLE'):
        monkeypatch.setenv(name, str(authority.bundle))
    assert ssl.get_default_verify_paths().cafile == str(authority.bundle)

    untrusted = pytest.raises(requests.exceptions.SSLError)
    with Attacker(do.honest, authority.server('127.0.0.1')) as receiver, untrusted:
        post(EgressClient(settings()), receiver.url)
