from __future__ import annotations

import json
from typing import Any

import pytest
import requests
from requests.exceptions import (
    ChunkedEncodingError,
    ConnectionError,
    ConnectTimeout,
    HTTPError,
    InvalidURL,
    ReadTimeout,
    SSLError,
    TooManyRedirects,
)

from wazo_webhookd.services.helpers import (
    HookExpectedError,
    HookRetry,
    requests_automatic_detail,
    requests_automatic_hook_retry,
)

KEYS = {
    'request_method', 'request_url', 'request_body', 'request_headers', 'response_status_code', 'response_headers',
    'response_body',
}  # fmt: skip


def request(**more: Any) -> requests.PreparedRequest:
    values = {'method': 'post', 'url': 'http://example.com/x?a=1', 'headers': {'X-One': '1'}, 'data': '{"a": 1}'}
    return requests.Request(**{**values, **more}).prepare()


def answer(status: int, body: bytes = b'', headers: dict[str, str] | None = None, **of_request: Any) -> Any:
    response = requests.Response()
    response.status_code = status
    response.reason = {410: 'Gone', 503: 'Service Unavailable', 404: 'Not Found'}.get(status, '')
    response._content = body
    response.headers.update(headers or {})
    response.request = request(**of_request)
    response.url = response.request.url or ''
    return response


def raised(error: Exception) -> Any:
    with pytest.raises((HookRetry, HookExpectedError)) as caught, requests_automatic_hook_retry(None):
        raise error
    return caught.value


def status_error(status: int, **more: Any) -> HTTPError:
    response = answer(status, **more)
    with pytest.raises(HTTPError) as caught:
        response.raise_for_status()
    return caught.value


def test_detail_has_the_seven_keys_of_the_reference() -> None:
    detail = requests_automatic_detail(answer(200, b'{"ok": true}', {'X-Two': '2'}))

    assert detail == {
        'request_method': 'POST',
        'request_url': 'http://example.com/x?a=1',
        'request_body': {'a': 1},
        'request_headers': {'X-One': '1', 'Content-Length': '8'},
        'response_status_code': 200,
        'response_headers': {'X-Two': '2'},
        'response_body': {'ok': True},
    }


@pytest.mark.parametrize(
    ('body', 'shown'),
    [(None, None), ('text', 'text'), (b'\xff\xfe', '��'), (b'', ''), ('[1]', [1]), (iter([b'a']), '<list_iterator>')],
)
def test_request_body_in_any_form_is_shown(body: Any, shown: Any) -> None:
    response = answer(200)
    response.request.body = body

    assert requests_automatic_detail(response)['request_body'] == shown


def test_answer_in_an_unknown_charset_is_still_shown() -> None:
    response = answer(200, 'né'.encode(), {'Content-Type': 'text/plain; charset=nope'})
    response.encoding = 'nope'

    assert requests_automatic_detail(response)['response_body'] == 'né'


def test_gone_is_final() -> None:
    error = raised(status_error(410))

    assert isinstance(error, HookExpectedError)
    assert 'Gone' in error.detail['error']
    assert set(error.detail) == KEYS | {'error'}


@pytest.mark.parametrize('status', [400, 401, 403, 404, 405, 422, 429, 500, 502, 503, 504])
def test_any_other_status_is_retried_and_blames_the_subscription(status: int) -> None:
    error = raised(status_error(status, body=b'why'))

    assert isinstance(error, HookRetry)
    assert error.blame == 'subscription'
    assert (error.detail['response_status_code'], error.detail['response_body']) == (status, 'why')


@pytest.mark.parametrize(('status', 'rest'), [(429, 30.0), (503, 30.0), (500, None), (404, None)])
def test_retry_after_of_429_and_503_is_honoured(status: int, rest: float | None) -> None:
    assert raised(status_error(status, headers={'Retry-After': '30'})).rest == rest


@pytest.mark.parametrize(
    ('error', 'blame'),
    [
        (ConnectionError('refused'), 'endpoint'),
        (ConnectTimeout('slow'), 'endpoint'),
        (ReadTimeout('slow'), 'endpoint'),
        (SSLError('bad certificate'), 'endpoint'),
        (TooManyRedirects('again'), 'subscription'),
    ],
)
def test_no_answer_is_retried(error: Exception, blame: str) -> None:
    error.request = request()  # type: ignore[attr-defined]  # requests sets it
    retry = raised(error)

    assert retry.blame == blame
    assert retry.detail == {
        'request_method': 'POST',
        'request_url': 'http://example.com/x?a=1',
        'request_body': {'a': 1},
        'request_headers': {'X-One': '1', 'Content-Length': '8'},
        'response_status_code': None,
        'response_headers': {},
        'response_body': '',
        'error': str(error),
    }


def test_error_without_its_request_has_an_empty_one() -> None:
    assert raised(ConnectionError()).detail['request_method'] is None


@pytest.mark.parametrize(
    'error', [InvalidURL('x'), ChunkedEncodingError('x'), OSError('bad CA path'), KeyError('data')]
)
def test_all_else_passes_untouched(error: Exception) -> None:
    with pytest.raises(type(error)) as caught, requests_automatic_hook_retry(None):
        raise error

    assert caught.value is error


def test_success_passes() -> None:
    with requests_automatic_hook_retry(None):
        value = 1

    assert value == 1


def test_httpx_errors_are_understood(httpx: Any) -> None:
    """The reference made final errors of them (D-09)."""
    sent = httpx.Request('PUT', 'https://example.com/3', json={'a': 1}, headers={'X-One': '1'})
    response = httpx.Response(400, json={'reason': 'BadDeviceToken'}, request=sent)
    with pytest.raises(httpx.HTTPStatusError) as caught:
        response.raise_for_status()
    status, refused = raised(caught.value), raised(httpx.ConnectError('refused', request=sent))
    gone = raised(httpx.HTTPStatusError('410 Gone', request=sent, response=httpx.Response(410, request=sent)))

    assert (status.blame, status.detail['response_body']) == ('subscription', {'reason': 'BadDeviceToken'})
    assert (refused.blame, refused.detail['request_body'], refused.detail['error']) == ('endpoint', {'a': 1}, 'refused')
    assert raised(httpx.ReadTimeout('slow')).detail['request_url'] is None
    assert raised(httpx.TooManyRedirects('again', request=sent)).blame == 'subscription'
    assert isinstance(gone, HookExpectedError)
    assert json.dumps(status.detail)


@pytest.fixture
def httpx(monkeypatch: pytest.MonkeyPatch) -> Any:
    """httpx is the guests' to install: what matters of it, in the shape that it has."""
    import sys
    import types

    module: Any = types.ModuleType('httpx')

    class Request:
        def __init__(self, method: str, url: str, *, json: Any = None, headers: Any = None) -> None:
            self.method, self.url, self.headers = method, url, headers or {}
            self.content = b'' if json is None else __import__('json').dumps(json).encode()

    class Response:
        def __init__(self, status: int, *, json: Any = None, request: Any = None) -> None:
            self.status_code, self.request, self.headers = status, request, {}
            self.text = '' if json is None else __import__('json').dumps(json)

        def raise_for_status(self) -> None:
            raise HTTPStatusError(str(self.status_code), request=self.request, response=self)

    class HTTPError(Exception):
        def __init__(self, message: str, *, request: Any = None) -> None:
            super().__init__(message)
            self._request = request

        @property
        def request(self) -> Any:
            if self._request is None:
                raise RuntimeError('The .request property has not been set.')
            return self._request

    class HTTPStatusError(HTTPError):
        def __init__(self, message: str, *, request: Any, response: Any) -> None:
            super().__init__(message, request=request)
            self.response = response

    class RequestError(HTTPError): ...

    class TransportError(RequestError): ...

    class ConnectError(TransportError): ...

    class ReadTimeout(TransportError): ...

    class TooManyRedirects(RequestError): ...

    for cls in (
        Request, Response, HTTPError, HTTPStatusError, RequestError, TransportError, ConnectError, ReadTimeout,
        TooManyRedirects,
    ):  # fmt: skip
        setattr(module, cls.__name__, cls)
    monkeypatch.setitem(sys.modules, 'httpx', module)
    return module
