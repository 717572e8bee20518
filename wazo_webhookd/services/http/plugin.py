"""The service ``http``: send the request, say how it went."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final, Protocol, cast

import requests

from wazo_webhookd import __version__
from wazo_webhookd.domain.endpoint import BadURL
from wazo_webhookd.egress.client import EgressClient
from wazo_webhookd.egress.guard import EgressRefused, Role
from wazo_webhookd.egress.tls import BadBundle
from wazo_webhookd.services.helpers import (
    HookExpectedError,
    HookRetry,
    requests_automatic_detail,
    requests_automatic_hook_retry,
    status_failure,
)
from wazo_webhookd.services.http.request import BadHook, Hook, build
from wazo_webhookd.services.http.template import TemplateFailed

LAST_STATUS: Final = 599
USER_AGENT = f'wazo-webhookd/{__version__}'


class Runtime(Protocol):
    """What this service uses of the worker's runtime."""

    @property
    def http(self) -> EgressClient: ...


class Service:
    def load(self, dependencies: Mapping[str, Any]) -> None:
        """Nothing to prepare."""

    @classmethod
    def run(
        cls, task: Any, config: Mapping[str, Any], subscription: Mapping[str, Any], event: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Deliver one event; the detail to remember. Raises HookRetry, HookExpectedError, KeyError."""
        runtime = cast(Runtime, task.app.runtime)
        role: Role = 'admin' if subscription.get('owner_user_uuid') is None else 'user'
        try:
            hook = build(
                subscription['config'],
                event,
                role=role,
                delivery_uuid=task.request.id or str(uuid.uuid4()),
                timestamp=int(time.time()),
                user_agent=USER_AGENT,
            )
        except BadURL as error:
            raise HookExpectedError({'error': f'refused ({error.rule}): {error.detail}', 'rule': error.rule}) from None
        except (BadHook, TemplateFailed) as error:
            raise HookExpectedError({'error': str(error)}) from None
        return send(runtime.http, task, hook, role)


def send(http: EgressClient, task: Any, hook: Hook, role: Role) -> dict[str, Any]:
    """Make the request. A status below 300, or 304, is success; 410 is final; all else may be tried again."""
    with requests_automatic_hook_retry(task):
        try:
            response = http.send(
                hook.method,
                hook.target,
                hook.headers,
                hook.body,
                role=role,
                verify=hook.verify,
                deadline=hook.deadline,
            )
        except EgressRefused as error:
            detail = {'request_method': hook.method, 'request_url': hook.target.masked_url, **error.detail}
            raise HookExpectedError(detail) from None
        except BadBundle as error:
            sentence = str(error) if role == 'admin' else 'the certificates named by verify_certificate cannot be used'
            raise HookExpectedError({'error': sentence}) from None
        except requests.RequestException as error:
            if error.request is not None and hasattr(error.request, 'body'):
                error.request.body = hook.text
            raise
        response.request.body = hook.text
        response.raise_for_status()
    if response.status_code > LAST_STATUS:  # requests sees no failure in it
        raise status_failure(response, f'{response.status_code} {response.reason}: not a status of HTTP')
    if 300 <= response.status_code < 400 and response.status_code != HTTPStatus.NOT_MODIFIED:
        raise _redirected(response)
    return dict(requests_automatic_detail(response))


def _redirected(response: requests.Response) -> HookRetry:
    place = response.headers.get('Location')
    error = f'{response.status_code} {response.reason}: redirects are not followed'
    if place is not None:
        error = f'{error} (to {place[:1000]})'
    return HookRetry({**requests_automatic_detail(response), 'error': error}, blame='subscription')
