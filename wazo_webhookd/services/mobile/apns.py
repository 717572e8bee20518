"""Sends a notification through Apple's push service."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from ..helpers import (
    HookExpectedError,
    HookRetry,
    requests_automatic_detail,
    requests_automatic_hook_retry,
    status_failure,
)
from . import payloads
from .account import Account
from .notification import Notification
from .payloads import ApnsTopics, NoDeviceToken

if TYPE_CHECKING:
    import httpx

HOST: Final = 'api.push.apple.com'
SANDBOX_HOST: Final = 'api.sandbox.push.apple.com'
TOKENS: Final = ('apns_voip_token', 'apns_notification_token', 'apns_token')
GONE_REASONS: Final = ('BadDeviceToken', 'Unregistered')


def has_token(tokens: Mapping[str, Any]) -> bool:
    """Is the user's application one of Apple's?"""
    return any(tokens.get(name) for name in TOKENS)


def certificate(push: Mapping[str, Any]) -> str | None:
    """The client certificate of the tenant's account at Apple, if it has one."""
    public, private = push.get('ios_apn_certificate'), push.get('ios_apn_private')
    return f'{public}\r\n{private}' if public and private else None


def send(
    notification: Notification, account: Account, host: str, port: int, topics: ApnsTopics, client: httpx.Client
) -> dict[str, Any]:
    """Send it and return the detail to remember. Raises HookRetry or HookExpectedError."""
    try:
        request = payloads.apns(notification, account.tokens, topics, account.jwt)
    except NoDeviceToken as missing:
        detail = {'message': f'the user has no {missing}', 'error_id': 'notification-error'}
        raise HookExpectedError(detail) from missing
    headers = dict(request.headers)
    if account.push.get('use_sandbox'):
        headers['X-Use-Sandbox'] = '1'
        host = SANDBOX_HOST if host == HOST else host
    with requests_automatic_hook_retry(None):
        response = client.post(f'https://{host}:{port}{request.path}', content=request.body, headers=headers)
    if response.status_code >= 300:
        raise _failure(response)
    return {'success': True, 'protocol_used': 'apns', 'full_response': requests_automatic_detail(response)}


def _failure(response: httpx.Response) -> HookRetry | HookExpectedError:
    failure = status_failure(response, f'{response.status_code} from {response.request.url.host}')
    body = failure.detail.get('response_body')
    if response.status_code == 410 or (isinstance(body, Mapping) and body.get('reason') in GONE_REASONS):
        failure.detail['error_id'] = 'unregistered-device'
    return failure
