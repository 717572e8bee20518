"""Stands in for wazo-auth in standalone: one generated token that may do everything."""

from __future__ import annotations

import hmac
import os
import secrets
from collections.abc import Callable, Mapping, MutableMapping
from pathlib import Path
from typing import Any, Final

import requests

from .errors import AuthServerUnreachable, MissingPermission, UnknownToken

TOKEN_FILE: Final = 'token'
SESSION_UUID: Final = '00000000-0000-4000-8000-000000000000'


def admin_token(data_dir: Path) -> str:
    """The token kept in the data directory (mode 0600), generated the first time."""
    path = data_dir / TOKEN_FILE
    try:
        kept = path.read_text(encoding='ascii').strip()
    except FileNotFoundError:
        kept = ''
    if kept:
        return kept
    token = secrets.token_urlsafe(24)
    fresh = path.with_suffix('.new')
    with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), 'w', encoding='ascii') as file:
        file.write(f'{token}\n')
    fresh.replace(path)
    return token


class StaticAuthority:
    """Knows one token, of one user in the one tenant there is."""

    def __init__(self, token: str, tenant_uuid: str, user_uuid: str, wazo_uuid: str) -> None:
        self._token = token
        self._tenant_uuid = tenant_uuid
        self._details = {
            'token': token,
            'auth_id': user_uuid,
            'session_uuid': SESSION_UUID,
            'xivo_uuid': wazo_uuid,
            'acl': ['#'],
            'metadata': {'uuid': user_uuid, 'tenant_uuid': tenant_uuid},
        }

    def check(self, token: str, access: str, tenant_uuid: str | None) -> None:
        if not self._knows(token):
            raise UnknownToken(token, access)
        if tenant_uuid not in (None, self._tenant_uuid):
            raise MissingPermission(token, access, tenant_uuid)

    def details(self, token: str) -> Mapping[str, Any]:
        if not self._knows(token):
            raise UnknownToken(token)
        return self._details

    def visible_tenants(self, token: str, tenant_uuid: str) -> frozenset[str]:
        return frozenset((self._tenant_uuid,))

    def unreachable(self, reason: str) -> AuthServerUnreachable:
        return AuthServerUnreachable('standalone', None, reason)

    def forget_session(self, session_uuid: str) -> None:
        """There is only one session, and it does not end."""

    def _knows(self, token: str) -> bool:
        return hmac.compare_digest(token.encode(), self._token.encode())


class FixedToken:
    """In the place of the renewer of service tokens: the one token never changes."""

    def __init__(self, token: str) -> None:
        self._token = token

    def subscribe_to_token_change(self, callback: Callable[[str], object]) -> None:
        callback(self._token)

    def subscribe_to_next_token_change(self, callback: Callable[[str], object]) -> None:
        """There will be no other."""

    def session_deleted(self, session_uuid: str) -> None:
        """Its session does not end."""

    def start(self) -> None:
        """Nothing to renew."""

    def stop(self) -> None:
        """Nothing runs."""

    def provide_status(self, status: MutableMapping[str, Any]) -> None:
        status['service_token']['status'] = 'ok'


class NoAuthClient:
    """What guests get as ``auth_client`` in standalone: every call fails like a wazo-auth that is down."""

    host, port, timeout = 'standalone', None, 10.0

    def set_token(self, token: str | None) -> None:
        """Accepted and ignored."""

    def set_tenant(self, tenant_uuid: str | None) -> None:
        """Accepted and ignored."""

    def close(self) -> None:
        """Nothing is open."""

    def __getattr__(self, name: str) -> _NoCommand:
        if name.startswith('_'):
            raise AttributeError(name)
        return _NoCommand()


class _NoCommand:
    def __getattr__(self, name: str) -> Any:
        if name.startswith('_'):
            raise AttributeError(name)

        def call(*_args: Any, **_kwargs: Any) -> Any:
            raise requests.ConnectionError('there is no wazo-auth in standalone mode')

        return call
