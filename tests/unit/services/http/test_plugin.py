from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from tests.unit.egress.fakes import OK, FakeNetwork, FakeResolver, answering, settings
from wazo_webhookd import __version__
from wazo_webhookd.egress.client import EgressClient
from wazo_webhookd.services.helpers import HookExpectedError, HookRetry
from wazo_webhookd.services.http.plugin import Service

EVENT = {'name': 'call_ended', 'data': {'a': 1}, 'origin_uuid': 'w-1'}


def run(network: FakeNetwork, owner: str | None = None, event: Any = EVENT, **config: Any) -> Any:
    http = EgressClient(settings(), resolver=FakeResolver(), connect=network)
    task = SimpleNamespace(
        app=SimpleNamespace(runtime=SimpleNamespace(http=http)), request=SimpleNamespace(id='d-1', retries=0)
    )
    subscription = {'owner_user_uuid': owner, 'config': {'url': 'http://e.com/x', 'method': 'post', **config}}
    return Service.run(task, {}, subscription, event)


def status(line: str, headers: str = '', body: bytes = b'') -> FakeNetwork:
    return FakeNetwork(f'HTTP/1.1 {line}\r\nContent-Length: {len(body)}\r\n{headers}\r\n'.encode() + body)


def test_the_detail_of_a_success() -> None:
    detail = run(
        status('200 OK', 'Content-Type: application/json\r\n', b'{"ok": true}'), body='n={{ event.a }}', method='get'
    )

    assert detail == {
        'request_method': 'GET',
        'request_url': 'http://e.com/x',
        'request_body': 'n=1',
        'request_headers': {
            'User-Agent': f'wazo-webhookd/{__version__}',
            'Accept-Encoding': 'identity',
            'Accept': '*/*',
            'Connection': 'keep-alive',
            'Content-Type': 'text/plain; charset=utf-8',
            'Content-Length': '3',
            'webhook-id': 'd-1',
            'webhook-timestamp': detail['request_headers']['webhook-timestamp'],
        },
        'response_status_code': 200,
        'response_headers': {'Content-Type': 'application/json', 'Content-Length': '12'},
        'response_body': {'ok': True},
    }


@pytest.mark.parametrize(
    'line', ['200 OK', '201 Created', '202 Accepted', '204 No Content', '206 Partial', '304 Not Modified']
)
def test_what_is_success(line: str) -> None:
    assert run(status(line))['response_status_code'] == int(line[:3])


@pytest.mark.parametrize(
    ('line', 'words'),
    [
        ('300 Multiple Choices', 'redirects are not followed'),
        ('301 Moved', 'redirects are not followed'),
        ('307 Temporary', 'redirects are not followed'),
        ('400 Bad Request', 'Bad Request'),
        ('401 Unauthorized', 'Unauthorized'),
        ('404 Not Found', 'Not Found'),
        ('422 Unprocessable', 'Unprocessable'),
        ('429 Too Many', 'Too Many'),
        ('500 Oops', 'Oops'),
        ('600 Odd', 'not a status of HTTP'),
        ('999 Odd', 'not a status of HTTP'),
        ('503 Service Unavailable', 'Service Unavailable'),
        ('503', 'Service Unavailable'),
    ],
)
def test_what_is_tried_again(line: str, words: str) -> None:
    with pytest.raises(HookRetry) as again:
        run(status(line, 'Location: http://127.0.0.1/\r\n' if line[0] == '3' else ''))

    assert words in again.value.detail['error']
    assert again.value.detail['response_status_code'] == int(line[:3])
    assert again.value.blame == 'subscription'
    assert again.value.rest is None


def test_gone_is_final() -> None:
    with pytest.raises(HookExpectedError) as final:
        run(status('410 Gone'))

    assert 'Gone' in final.value.detail['error']
    assert final.value.blame == 'subscription'


@pytest.mark.parametrize(('line', 'rest'), [('429 Too Many', 120), ('503 Busy', 120), ('500 Oops', None)])
def test_retry_after_is_honoured_where_it_means_something(line: str, rest: int | None) -> None:
    with pytest.raises(HookRetry) as again:
        run(status(line, 'Retry-After: 120\r\n'))

    assert again.value.rest == rest


def test_no_answer_counts_against_the_endpoint() -> None:
    with pytest.raises(HookRetry) as again:
        run(FakeNetwork(lambda sock: None), body='é', content_type='text/plain; charset=utf-16')

    assert again.value.blame == 'endpoint'
    assert again.value.detail['request_body'] == 'é'
    assert again.value.detail['response_status_code'] is None
    assert again.value.detail['response_headers'] == {}
    assert again.value.detail['response_body'] == ''


@pytest.mark.parametrize('charset', ['utf-16', 'latin-1', 'utf-8', 'cp1252', 'utf-32'])
def test_any_charset_is_remembered_readably(charset: str) -> None:
    answer = 'réponse'.encode(charset)
    network = status('200 OK', f'Content-Type: text/plain; charset={charset}\r\n', answer)

    detail = run(network, body='été', content_type=f'text/plain; charset={charset}')

    assert (detail['request_body'], detail['response_body']) == ('été', 'réponse')


def test_a_binary_answer_is_remembered_somehow() -> None:
    detail = run(status('200 OK', 'Content-Type: image/png\r\n', bytes(range(256))))

    assert isinstance(detail['response_body'], str)


def test_a_password_in_the_url_is_never_remembered() -> None:
    sent: list[bytes] = []
    success = run(FakeNetwork(answering(OK, requests=sent)), url='http://name:s3cret@e.com/')
    failures = []
    for network in (status('500 Oops'), status('410 Gone'), status('301 Moved'), FakeNetwork(lambda sock: None)):
        with pytest.raises((HookRetry, HookExpectedError)) as failed:
            run(network, url='http://name:s3cret@e.com/')
        failures.append(failed.value.detail)
    with pytest.raises(HookExpectedError) as refused:
        run(FakeNetwork(), 'u-1', url='http://name:s3cret@127.0.0.1/')

    assert b'Authorization: Basic bmFtZTpzM2NyZXQ=' in sent[0]
    for detail in (success, *failures, refused.value.detail):
        assert 's3cret' not in str(detail)
        assert 'bmFtZTpzM2NyZXQ' not in str(detail)
    assert success['request_url'] == 'http://name:********@e.com/'


@pytest.mark.parametrize(
    ('url', 'rule'),
    [
        ('http://127.0.0.1/', 'address: loopback'),
        ('http://localhost/', 'name'),
        ('http://e.com:25/', 'port'),
        ('http://127.1/', 'url-host'),
        ('http://{{ event.a }}/', 'url-template'),
        ('not-a-url', 'url-scheme'),
    ],
)
def test_a_refused_user_gets_an_error_that_names_the_rule_and_nothing_is_sent(url: str, rule: str) -> None:
    network = FakeNetwork()

    with pytest.raises(HookExpectedError) as refused:
        run(network, 'u-1', url=url)

    assert refused.value.detail['rule'] == rule
    assert f'refused ({rule})' in refused.value.detail['error']
    assert refused.value.blame is None
    assert network.connected == []


def test_administrators_reach_loopback() -> None:
    network = FakeNetwork()

    assert run(network, None, url='http://127.0.0.1:1080/')['response_status_code'] == 200
    assert network.connected == ['127.0.0.1']


def test_a_users_bundle_tells_nothing_about_files() -> None:
    errors = set()
    for path in ('/nonexistent', '/etc/passwd', '/dev/zero'):
        with pytest.raises(HookExpectedError) as failed:
            run(FakeNetwork(), 'u-1', url='https://e.com/', verify_certificate=path)
        errors.add(failed.value.detail['error'])
    with pytest.raises(HookExpectedError, match='/nonexistent'):
        run(FakeNetwork(), None, url='https://e.com/', verify_certificate='/nonexistent')

    assert len(errors) == 1
    assert '/' not in errors.pop()


@pytest.mark.parametrize(
    ('body', 'words'),
    [
        ('{{ lipsum.__globals__["os"].popen("id").read() }}', '__globals__'),
        ('{{ event.x.y }}', "has no attribute 'x'"),
        ('{{ event', 'unexpected end of template'),
        ('{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}', 'too'),
    ],
)
def test_a_template_that_fails_sends_nothing(body: str, words: str) -> None:
    network = FakeNetwork()

    with pytest.raises(HookExpectedError) as failed:
        run(network, body=body)

    assert words in failed.value.detail['error']
    assert network.connected == []


def test_an_event_without_data_is_a_missing_key() -> None:
    with pytest.raises(KeyError, match='data'):
        run(FakeNetwork(), event={'name': 'e', 'origin_uuid': 'w'})
