"""Sends a notification through Google's push service, or a push proxy that speaks its older protocol."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import requests

from ...domain.endpoint import BadURL
from ...egress.guard import EgressRefused
from ..helpers import (
    HookExpectedError,
    HookRetry,
    requests_automatic_detail,
    requests_automatic_hook_retry,
    retry_after_of,
)
from . import payloads
from .account import Account
from .notification import Notification

if TYPE_CHECKING:
    import httpx

    from ...egress.client import EgressClient

LEGACY_URL: Final = 'https://fcm.googleapis.com/fcm/send'
V1_URL: Final = 'https://fcm.googleapis.com/v1/projects/{project_id}/messages:send'
SCOPE: Final = 'https://www.googleapis.com/auth/firebase.messaging'
PLACEHOLDER: Final = '{project_id}'
ANSWER_SECONDS: Final = 30
TOKEN_SECONDS: Final = 15
ACCOUNTS_KEPT: Final = 50


class AccessTokens:
    """Google's access tokens of service accounts, each kept until it ends. Thread-safe. The account, and with it the
    URL that gives the token, is a tenant's own: a slow one keeps nobody else waiting."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: dict[str, _Kept] = {}

    def token(self, account_info: str, http: EgressClient) -> tuple[str, str]:
        """(access token, project id). Raises HookExpectedError for an account that cannot be used, HookRetry
        when Google does not give a token now."""
        kept = self._of(account_info)
        if not kept.lock.acquire(timeout=TOKEN_SECONDS):
            raise HookRetry({'error': 'no access token from Google in time'}, blame='endpoint')
        try:
            if not kept.credentials.valid:
                _refresh(kept.credentials, http)
            return kept.credentials.token, kept.credentials.project_id
        finally:
            kept.lock.release()

    def forget(self, account_info: str) -> None:
        """Its token was refused."""
        with self._lock:
            self._kept.pop(account_info, None)

    def _of(self, account_info: str) -> _Kept:
        with self._lock:
            kept = self._kept.get(account_info)
            if kept is None:
                kept = _Kept(_credentials(account_info))
                self._kept = {account_info: kept, **dict(list(self._kept.items())[: ACCOUNTS_KEPT - 1])}
            return kept


class _Kept:
    def __init__(self, credentials: Any) -> None:
        self.credentials = credentials
        self.lock = threading.Lock()


def _refresh(credentials: Any, http: EgressClient) -> None:
    from google.auth.exceptions import RefreshError, TransportError

    try:
        credentials.refresh(_Transport(http))
    except TransportError as error:
        raise HookRetry({'error': f'no access token from Google: {error}'}, blame='endpoint') from error
    except RefreshError as error:
        detail = {'error': f'Google refuses the service account: {_first(error)}'}
        if getattr(error, 'retryable', False):
            raise HookRetry(detail, blame='endpoint') from error
        raise HookExpectedError(detail, blame='subscription') from error


def send(
    notification: Notification,
    account: Account,
    endpoint: str,
    client: httpx.Client,
    access_tokens: AccessTokens,
    http: EgressClient,
) -> dict[str, Any]:
    """Send it and return the detail to remember. Raises HookRetry or HookExpectedError.

    ``endpoint``: setting ``mobile_fcm_notification_end_point``. ``http``: for URLs that tenants choose.
    """
    token = account.tokens.get('token')
    if not token:
        raise HookExpectedError({'message': 'the user has no token', 'error_id': 'notification-error'})
    service_account = account.push.get('fcm_service_account_info')
    if service_account:
        access, project = access_tokens.token(str(service_account), http)
        url = (endpoint if PLACEHOLDER in endpoint else V1_URL).replace(PLACEHOLDER, project)
        authorization, body = f'Bearer {access}', payloads.fcm_v1(notification, str(token))
    else:
        key = account.push.get('fcm_api_key')
        url, key = (LEGACY_URL, str(key)) if key else (_proxy(endpoint, account.jwt), account.jwt)
        authorization, body = f'key={key}', payloads.fcm_legacy(notification, str(token))
    with requests_automatic_hook_retry(None):
        response = client.post(
            url,
            content=body,
            headers={'Content-Type': 'application/json', 'Authorization': authorization},
            timeout=ANSWER_SECONDS,
        )
    if response.status_code == 401 and service_account:
        access_tokens.forget(str(service_account))
    return _detail(_checked(response, bool(service_account)), is_v1=bool(service_account))


def _proxy(endpoint: str, jwt: str) -> str:
    """Where the token of this server is accepted. Raises HookExpectedError when nothing is configured."""
    if not jwt:
        raise HookExpectedError(
            {'error': 'no account at Google is configured, and wazo-auth gave no token for a proxy'}
        )
    if PLACEHOLDER in endpoint:
        raise HookExpectedError(
            {'error': 'no account at Google is configured, and mobile_fcm_notification_end_point names no push proxy'}
        )
    return endpoint


def _checked(response: httpx.Response, is_v1: bool) -> dict[str, Any]:
    """The JSON object of a good answer."""
    status = response.status_code
    error = f'{status} from {response.request.url.host}'
    if status >= 300:
        detail: dict[str, Any] = {**requests_automatic_detail(response), 'error': error}
        if is_v1 and status == 404:
            detail['error_id'] = 'unregistered-device'
        if status == 429 or status >= 500 or (is_v1 and status == 401):
            raise HookRetry(detail, blame='subscription', rest=retry_after_of(response))
        raise HookExpectedError(detail, blame='subscription')
    try:
        answer = response.json()
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        detail = {**requests_automatic_detail(response), 'error': f'{error}, but no JSON object'}
        raise HookRetry(detail, blame='subscription')
    return answer


def _detail(answer: Mapping[str, Any], *, is_v1: bool) -> dict[str, Any]:
    counts: dict[str, Any] = {
        'multicast_ids': [],
        'success': 0,
        'failure': 0,
        'canonical_ids': 0,
        'results': [],
        'topic_message_id': None,
    }
    message_id = answer.get('name' if is_v1 else 'message_id')
    if not is_v1:
        counts.update({key: answer[key] for key in ('success', 'failure', 'canonical_ids', 'results') if key in answer})
        if 'multicast_id' in answer:
            counts['multicast_ids'] = [answer['multicast_id']]
    if message_id:
        counts.update(success=1, topic_message_id=message_id)
        if is_v1:
            counts['results'] = [dict(answer)]
    elif is_v1:
        counts['failure'] = 1
    success = bool(counts['success']) and not counts['failure']
    return {'success': success, 'protocol_used': 'fcm', 'full_response': counts}


def _credentials(account_info: str) -> Any:
    from google.oauth2 import service_account

    try:
        info = json.loads(account_info)
        library: Any = service_account.Credentials
        credentials = library.from_service_account_info(info, scopes=[SCOPE])
    except Exception as error:
        detail = {'error': f'fcm_service_account_info cannot be used: {type(error).__name__}'}
        raise HookExpectedError(detail) from error
    if not credentials.project_id:
        raise HookExpectedError({'error': 'fcm_service_account_info has no project_id'})
    return credentials


class _Transport:
    """The guarded client as Google's library asks for HTTP: a tenant says where its tokens come from."""

    def __init__(self, http: EgressClient) -> None:
        self._http = http

    def __call__(
        self, url: str, method: str = 'GET', body: Any = None, headers: Any = None, timeout: Any = None, **_: Any
    ) -> Any:
        from google.auth import exceptions

        library: Any = exceptions
        sent = {**(headers or {}), 'Accept-Encoding': 'identity'}
        try:
            response = self._http.send(method, url, sent, body, role='admin')
        except (EgressRefused, BadURL) as error:
            reason = error.public if isinstance(error, EgressRefused) else error.detail
            detail = {'error': f'the token_uri of the service account is refused ({error.rule}): {reason}'}
            raise HookExpectedError({**detail, 'rule': error.rule}) from error
        except requests.RequestException as error:
            raise library.TransportError(str(error) or type(error).__name__) from error
        return _Answer(response)


class _Answer:
    def __init__(self, response: requests.Response) -> None:
        self.status = response.status_code
        self.headers = response.headers
        self.data = response.content


def _first(error: Exception) -> str:
    return str(error.args[0] if error.args else type(error).__name__)[:300]
