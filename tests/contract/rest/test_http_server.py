"""The REST application as a client sees it over a real connection."""

from __future__ import annotations

import contextlib
import datetime
import errno
import http.client
import ipaddress
import json
import re
import socket
import ssl
import threading
import time

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from wazo_webhookd import http_server
from wazo_webhookd.config import from_tree
from wazo_webhookd.exceptions import ConfigError
from wazo_webhookd.http_server import AcceptFailed, HttpServer


class Served:
    def __init__(self, app, **settings):
        config = from_tree({'rest_api': {'port': 0, **settings}})
        self.server = HttpServer(config.rest_api, app)
        self.server.prepare()
        self.failed = None
        self.thread = threading.Thread(target=self.serve)
        self.thread.start()

    def serve(self):
        try:
            self.server.serve()
        except AcceptFailed as error:
            self.failed = error

    @property
    def port(self):
        return self.server.address[1]

    def stop(self):
        self.server.stop()
        self.thread.join(10)
        assert not self.thread.is_alive()

    def connect(self):
        return socket.create_connection(('127.0.0.1', self.port), timeout=10)

    def ask(self, method, path, body=None, token='master', **headers):
        connection = http.client.HTTPConnection('127.0.0.1', self.port, timeout=10)
        headers = {name.replace('_', '-'): value for name, value in headers.items()}
        if token is not None:
            headers['X-Auth-Token'] = token
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        content = response.read()
        connection.close()
        return response, content


@pytest.fixture
def served(rest):
    server = Served(rest.app, max_threads=4)
    yield server
    server.stop()


def test_head_has_the_headers_of_get_and_no_body(served):
    got, content = served.ask('GET', '/1.0/subscriptions')
    head, nothing = served.ask('HEAD', '/1.0/subscriptions')

    assert got.status == head.status == 200
    assert nothing == b''
    assert head.headers['Content-Length'] == str(len(content))
    assert head.headers['Content-Type'] == got.headers['Content-Type'] == 'application/json'


def test_options_needs_no_token(served):
    response, content = served.ask('OPTIONS', '/1.0/subscriptions', token=None)

    assert response.status == 200
    assert content == b''
    assert response.headers['Content-Type'] == 'text/html; charset=utf-8'
    assert set(response.headers['Allow'].split(', ')) == {'GET', 'HEAD', 'OPTIONS', 'POST'}


def test_cors(served):
    response, _ = served.ask('GET', '/1.0/subscriptions', Origin='https://a.example')
    assert response.headers['Access-Control-Allow-Origin'] == 'https://a.example'

    response, _ = served.ask('GET', '/unknown')
    assert response.headers['Access-Control-Allow-Origin'] == '*'


def test_the_server_says_who_it_is_and_not_what_it_runs_on(served):
    response, _ = served.ask('GET', '/1.0/subscriptions')

    assert response.headers['Server'] == 'wazo-webhookd'


def test_an_encoded_slash_stays_in_its_segment(served):
    response, content = served.ask('GET', '/1.0/subscriptions/a%2Fb')

    assert response.status == 404
    assert json.loads(content)['message'] == 'No such subscription: a%2Fb'


def test_204_comes_without_body_on_a_connection_that_stays(served, rest):
    uuid = rest.create()['uuid']
    connection = http.client.HTTPConnection('127.0.0.1', served.port, timeout=10)
    connection.request('DELETE', f'/1.0/subscriptions/{uuid}', headers={'X-Auth-Token': 'master'})
    response = connection.getresponse()

    assert response.status == 204
    assert response.headers['Content-Type'] == 'application/json'
    assert response.read() == b''
    connection.request('GET', '/1.0/subscriptions', headers={'X-Auth-Token': 'master'})
    assert json.loads(connection.getresponse().read()) == {'items': [], 'total': 0, 'filtered': 0}
    connection.close()


def test_a_body_in_chunks_is_read(served):
    body = json.dumps({'name': 'n', 'service': 'x', 'config': {}, 'events': []}).encode()
    connection = http.client.HTTPConnection('127.0.0.1', served.port, timeout=10)
    headers = {'X-Auth-Token': 'master', 'Content-Type': 'application/json', 'Transfer-Encoding': 'chunked'}
    connection.request('POST', '/1.0/subscriptions', iter([body[:10], body[10:]]), headers, encode_chunked=True)

    assert connection.getresponse().status == 201
    connection.close()


@pytest.mark.parametrize('size', [17 * 1024 * 1024, 10**12])
def test_a_huge_body_is_refused_unread(served, size):
    with served.connect() as client:
        head = (
            'POST /1.0/subscriptions HTTP/1.1\r\nHost: x\r\nX-Auth-Token: master\r\nContent-Type: application/json\r\n'
        )
        client.sendall(f'{head}Content-Length: {size}\r\nConnection: close\r\n\r\n{{'.encode())
        answer = client.recv(4096)

    assert answer.startswith(b'HTTP/1.1 413 ')


REQUEST = 'POST /1.0/subscriptions HTTP/1.1\r\nHost: x\r\nX-Auth-Token: {token}\r\n{more}\r\n\r\n'
SMUGGLED = 'GET /1.0/status HTTP/1.1\r\nHost: x\r\nX-Auth-Token: master\r\n\r\n'


def everything_from(client):
    answer = b''
    while data := client.recv(65536):
        answer += data
    return answer.decode()


@pytest.mark.parametrize(
    ('more', 'body', 'status'),
    [
        ('Transfer-Encoding: chunked', f'{len(SMUGGLED):x}\r\n{SMUGGLED}\r\n0\r\n\r\n', 401),
        ('Transfer-Encoding: chunked', f'0\r\n\r\n{SMUGGLED}', 401),
        ('Transfer-Encoding: chunked\r\nContent-Length: 4', f'0\r\n\r\n{SMUGGLED}', 401),
        ('Transfer-Encoding: chunked', f'zz\r\n{SMUGGLED}', 401),
        ('Content-Length: -5', SMUGGLED, 400),
        ('Content-Length: +0', SMUGGLED, 400),
        ('Content-Length: 0_0', SMUGGLED, 400),
        ('Transfer-Encoding: gzip', SMUGGLED, 501),
    ],
)
def test_a_body_is_never_taken_for_a_request(served, more, body, status):
    with served.connect() as client:
        client.sendall((REQUEST.format(token='bad', more=more) + body).encode())
        answer = everything_from(client)

    assert answer.startswith(f'HTTP/1.1 {status} ')
    assert answer.count('HTTP/1.1 ') == 1


def test_a_body_that_was_not_read_is_skipped(served):
    with served.connect() as client:
        more = f'Content-Length: {len(SMUGGLED)}'
        client.sendall((REQUEST.format(token='bad', more=more) + SMUGGLED).encode())
        client.sendall(SMUGGLED.replace('Host: x', 'Host: x\r\nConnection: close').encode())
        answer = everything_from(client)

    assert [line for line in answer.splitlines() if line.startswith('HTTP/')] == [
        'HTTP/1.1 401 UNAUTHORIZED', 'HTTP/1.1 200 OK',
    ]  # fmt: skip


def test_a_chunked_body_is_read(served):
    body = json.dumps({'name': 'n', 'service': 'http', 'config': {'url': 'x', 'method': 'get'}, 'events': []}).encode()
    response, _ = served.ask(
        'POST', '/1.0/subscriptions', iter([body[:20], body[20:]]), Content_Type='application/json'
    )

    assert response.status == 201


def test_endless_headers_are_refused(served):
    with served.connect() as client:
        client.sendall(b'GET /1.0/subscriptions HTTP/1.1\r\nHost: x\r\n')
        try:
            for _ in range(200):
                client.sendall(b'X-More: ' + b'x' * 1000 + b'\r\n')
            client.sendall(b'\r\n')
            answer = client.recv(100)
        except ConnectionError:
            answer = b'HTTP/1.1 413 '

    assert answer[:12] in (b'HTTP/1.1 413', b'HTTP/1.1 400', b'')


def test_connections_that_say_nothing_keep_no_thread(served):
    idle = [served.connect() for _ in range(50)]
    try:
        started = time.monotonic()
        response, _ = served.ask('GET', '/1.0/subscriptions')

        assert response.status == 200
        assert time.monotonic() - started < 2
    finally:
        for client in idle:
            client.close()


def test_a_client_that_drips_is_cut_off(rest, monkeypatch):
    monkeypatch.setattr(http_server, 'REQUEST_SECONDS', 1)
    served = Served(rest.app, max_threads=1)
    try:
        with served.connect() as client:
            client.sendall(b'POST /1.0/subscriptions HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n')
            assert is_cut_off(client, seconds=15)
        response, _ = served.ask('GET', '/1.0/subscriptions')
        assert response.status == 200
    finally:
        served.stop()


def is_cut_off(client, seconds):
    """Drip bytes until the other side has enough."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            client.sendall(b'x')
        except ConnectionError:
            return True
        time.sleep(0.1)
    return False


def test_an_accept_loop_that_fails_is_the_end(served, monkeypatch):
    class Broken:
        def __init__(self, real):
            self.real = real

        def accept(self):
            raise OSError(errno.EMFILE, 'Too many open files')

        def __getattr__(self, name):
            return getattr(self.real, name)

    served.server._server.socket = Broken(served.server._server.socket)
    with contextlib.suppress(ConnectionError):
        served.connect().close()
    served.thread.join(10)

    assert 'Too many open files' in str(served.failed)
    assert http_server.ACCEPT_FAILED_EXIT_CODE == 71


def test_a_port_that_is_taken_is_an_error_at_once(served, rest):
    config = from_tree({'rest_api': {'port': served.port}})
    with pytest.raises(OSError, match='Address already in use'):
        HttpServer(config.rest_api, rest.app).prepare()


# -- TLS


@pytest.fixture(scope='module')
def certificate(tmp_path_factory):
    folder = tmp_path_factory.mktemp('tls')
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, 'localhost')])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address('127.0.0.1'))]), False)
        .sign(key, hashes.SHA256())
    )
    (folder / 'cert.pem').write_bytes(made.public_bytes(serialization.Encoding.PEM))
    plain = serialization.NoEncryption()
    (folder / 'key.pem').write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    )
    return folder


@pytest.fixture
def secured(rest, certificate, caplog):
    served = Served(
        rest.app, max_threads=2, certificate=str(certificate / 'cert.pem'), private_key=str(certificate / 'key.pem')
    )
    assert 'deprecated' in caplog.text
    yield served
    served.stop()


def ask_securely(served, certificate):
    context = ssl.create_default_context(cafile=certificate / 'cert.pem')
    connection = http.client.HTTPSConnection('127.0.0.1', served.port, context=context, timeout=10)
    connection.request('GET', '/1.0/subscriptions', headers={'X-Auth-Token': 'master'})
    status = connection.getresponse().status
    connection.close()
    return status


def test_tls_is_spoken_when_configured(secured, certificate):
    assert ask_securely(secured, certificate) == 200


def test_plain_http_is_refused_where_tls_is_spoken(secured):
    with secured.connect() as client:
        client.sendall(b'GET /1.0/subscriptions HTTP/1.1\r\nHost: x\r\nX-Auth-Token: master\r\n\r\n')

        assert b'200 OK' not in client.recv(4096)


def test_a_handshake_that_stalls_stops_nobody(secured, certificate):
    stalled = [secured.connect() for _ in range(5)]
    stalled[0].sendall(b'\x16\x03\x01')
    try:
        started = time.monotonic()
        assert ask_securely(secured, certificate) == 200
        assert time.monotonic() - started < 2
    finally:
        for client in stalled:
            client.close()


@pytest.mark.parametrize(
    ('certificate_file', 'key_file', 'fault'),
    [
        ('/none', 'key.pem', 'rest_api.certificate: cannot read /none: No such file or directory'),
        ('cert.pem', '/none', 'rest_api.private_key: cannot read /none: No such file or directory'),
        ('key.pem', 'cert.pem', 'rest_api.certificate, rest_api.private_key: no pair of PEM files: '),
    ],
)
def test_a_certificate_that_cannot_be_used_is_named_at_start(rest, certificate, certificate_file, key_file, fault):
    tls = {'certificate': str(certificate / certificate_file), 'private_key': str(certificate / key_file)}
    config = from_tree({'rest_api': {'port': 0, **tls}})
    with pytest.raises(ConfigError, match=re.escape(fault)):
        HttpServer(config.rest_api, rest.app)


@pytest.mark.parametrize('given', ['certificate', 'private_key'])
def test_half_a_pair_of_certificate_and_key_is_said_to_be_no_tls(rest, caplog, given):
    HttpServer(from_tree({'rest_api': {'port': 0, given: '/some/file.pem'}}).rest_api, rest.app)

    assert 'this is plain HTTP' in caplog.text
