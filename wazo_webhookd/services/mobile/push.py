"""Sends a notification to the mobile application of a user, whichever push service that takes."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from ..helpers import HookExpectedError, HookRetry
from . import apns, fcm
from .account import Account, AccountsOfProcess, AuthAway, AuthRefused
from .http import PushClients
from .notification import Notification
from .payloads import ApnsTopics

if TYPE_CHECKING:
    from ...egress.client import EgressClient

DEFAULT_APNS_HOST: Final = apns.HOST
DEFAULT_ENDPOINT: Final = fcm.V1_URL


class NoApplication(HookExpectedError):
    """The user has no mobile application."""


class Push:
    """Keeps logins, tokens and connections for all pushes of a process. ``config``: the plain configuration."""

    def __init__(self, accounts: AccountsOfProcess | None = None, clients: PushClients | None = None) -> None:
        self._accounts = accounts or AccountsOfProcess()
        self._clients = clients or PushClients()
        self._access_tokens = fcm.AccessTokens()

    def send(
        self, config: Mapping[str, Any], user_uuid: str, notification: Notification, http: EgressClient
    ) -> dict[str, Any]:
        """``http``: for URLs that tenants choose. Returns the detail to remember. Raises HookRetry, HookExpectedError,
        NoApplication."""
        account = self._account(config, user_uuid)
        proxy = (config.get('egress') or {}).get('proxy')
        if apns.has_token(account.tokens):
            topics = ApnsTopics(
                str(config.get('mobile_apns_call_topic') or 'org.wazo-platform.voip'),
                str(config.get('mobile_apns_default_topic') or 'org.wazo-platform'),
            )
            try:
                client = self._clients.client(proxy, apns.certificate(account.push))
            except (ssl.SSLError, ValueError) as error:
                detail = {'error': f'ios_apn_certificate and ios_apn_private cannot be used: {type(error).__name__}'}
                raise HookExpectedError(detail) from error
            host = str(config.get('mobile_apns_host') or DEFAULT_APNS_HOST)
            return apns.send(notification, account, host, int(config.get('mobile_apns_port') or 443), topics, client)
        endpoint = str(config.get('mobile_fcm_notification_end_point') or DEFAULT_ENDPOINT)
        return fcm.send(notification, account, endpoint, self._clients.client(proxy), self._access_tokens, http)

    def _account(self, config: Mapping[str, Any], user_uuid: str) -> Account:
        try:
            return self._accounts.at(config['auth']).of(user_uuid)
        except AuthAway as error:
            raise HookRetry({'error': str(error)}) from error
        except AuthRefused as error:
            if error.status == 404:
                raise NoApplication({'error': str(error)}) from error
            raise HookExpectedError({'error': str(error)}) from error


push: Final = Push()
"""The pushes of this process; nothing connects before the first."""
