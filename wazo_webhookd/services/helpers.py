"""What a service needs to say how an attempt went (names and shapes are kept for guests: reference, delivery 4.3)."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, TypedDict

import requests

from wazo_webhookd.domain.outcome import Blame, HookExpectedError, HookRetry
from wazo_webhookd.domain.retry import retry_after

__all__ = [
    'ErrorRequestDetailsDict',
    'HookExpectedError',
    'HookRetry',
    'RequestDetailsDict',
    'requests_automatic_detail',
    'requests_automatic_hook_retry',
    'retry_after_of',
    'status_failure',
]

GONE = 410
RESTING = (429, 503)


class RequestDetailsDict(TypedDict):
    """What is remembered of an HTTP exchange. Bodies are decoded when they are JSON, else text; null when absent."""

    request_method: str | None
    request_url: str | None
    request_body: Any
    request_headers: dict[str, str]
    response_status_code: int | None
    response_headers: dict[str, str]
    response_body: Any


class ErrorRequestDetailsDict(RequestDetailsDict):
    """The same, and what went wrong."""

    error: str


@contextmanager
def requests_automatic_hook_retry(task: Any) -> Iterator[None]:
    """Turn what HTTP clients (requests, httpx) raise into HookRetry, or HookExpectedError for 410.

    An error without an answer (refused, timed out, TLS) counts against the endpoint, a failing status or endless
    redirects against the subscription. Anything else (bad URL, bad header …) passes and ends the delivery.
    ``task`` is not used; guests pass it.
    """
    try:
        yield
    except requests.exceptions.HTTPError as error:
        if error.response is None:
            raise HookRetry(_no_response_detail(error), blame='endpoint') from error
        raise status_failure(error.response, str(error)) from error
    except requests.exceptions.TooManyRedirects as error:
        raise HookRetry(_no_response_detail(error), blame='subscription') from error
    except (requests.exceptions.ConnectionError, requests.exceptions.Timeout) as error:
        raise HookRetry(_no_response_detail(error), blame='endpoint') from error
    except Exception as error:
        httpx: Any = sys.modules.get('httpx')  # what nobody imported, nobody raised
        if httpx is not None and isinstance(error, httpx.HTTPStatusError):
            raise status_failure(error.response, str(error)) from error
        if httpx is not None and isinstance(error, httpx.TooManyRedirects):
            raise HookRetry(_no_response_detail(error), blame='subscription') from error
        if httpx is not None and isinstance(error, httpx.TransportError):
            raise HookRetry(_no_response_detail(error), blame='endpoint') from error
        raise


def requests_automatic_detail(response: Any) -> RequestDetailsDict:
    """What to remember of a response of requests or httpx, and of the request that it answers."""
    detail = _request_detail(response.request)
    detail['response_status_code'] = response.status_code
    detail['response_headers'] = _headers(response.headers)
    detail['response_body'] = _body(_text(response))
    return detail


def status_failure(response: Any, error: str) -> HookRetry | HookExpectedError:
    """The exception to raise for an answer whose status says that the delivery failed."""
    detail: dict[str, Any] = {**requests_automatic_detail(response), 'error': error}
    blame: Blame = 'subscription'
    if response.status_code == GONE:
        return HookExpectedError(detail, blame=blame)
    return HookRetry(detail, blame=blame, rest=retry_after_of(response))


def retry_after_of(response: Any) -> float | None:
    """Seconds for which a 429 or 503 asks to be left alone, at most a day; None when it does not ask."""
    if response.status_code not in RESTING:
        return None
    return retry_after(response.headers.get('Retry-After'), datetime.now(UTC))


def _no_response_detail(error: Any) -> dict[str, Any]:
    try:
        request = error.request
    except RuntimeError:  # httpx raises it when there is none
        request = None
    return {**_request_detail(request), 'error': str(error) or type(error).__name__}


def _request_detail(request: Any) -> RequestDetailsDict:
    detail: RequestDetailsDict = {
        'request_method': None,
        'request_url': None,
        'request_body': None,
        'request_headers': {},
        'response_status_code': None,
        'response_headers': {},
        'response_body': '',
    }
    if request is not None:
        detail['request_method'] = request.method.upper() if request.method else None
        detail['request_url'] = None if request.url is None else str(request.url)
        detail['request_body'] = _body(_request_body(request))
        detail['request_headers'] = _headers(request.headers)
    return detail


def _request_body(request: Any) -> Any:
    if hasattr(request, 'body'):  # requests
        return request.body
    try:
        return request.content or None  # httpx
    except Exception:  # a streamed request that was not read
        return None


def _text(response: Any) -> str | None:
    try:
        text: str | None = response.text
    except Exception:  # unknown charset, or a stream that was not read or broke
        try:
            content = response.content
        except Exception:
            return None
        return bytes(content).decode('utf-8', 'replace')
    return text


def _headers(headers: Any) -> dict[str, str]:
    return {_as_text(name): _as_text(value) for name, value in (headers or {}).items()}


def _as_text(value: Any) -> str:
    return value.decode('utf-8', 'replace') if isinstance(value, bytes) else str(value)


def _body(body: Any) -> Any:
    if body is None:
        return None
    if isinstance(body, (bytes, bytearray)):
        body = bytes(body).decode('utf-8', 'replace')
    if not isinstance(body, str):
        return f'<{type(body).__name__}>'  # a stream or a generator: gone by now
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return body
