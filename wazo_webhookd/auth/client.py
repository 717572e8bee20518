"""Speaks HTTP with wazo-auth.

The methods are the few of wazo-auth's own Python client that plugins use, so that
``dependencies['auth_client']`` can be handed to guests: every answer of 400 and more raises
``requests.HTTPError``, everything else that goes wrong another ``requests.RequestException``.
Thread safe; connections are kept and shared.
"""

from __future__ import annotations

import http.cookiejar
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import ProtocolError

USER_AGENT: Final = 'wazo-webhookd'
TOKEN_USER_AGENT: Final = 'Wazo Python auth client'
CONNECTIONS_KEPT: Final = 32

Json = dict[str, Any]


class InvalidTokenException(Exception):
    """No such token, or it is over."""


class MissingPermissionsTokenException(Exception):
    """The token does not have the access asked for, or not in that tenant."""


class AuthClient:
    """One wazo-auth server; ``token`` is the one sent when a call names none (the service's)."""

    def __init__(
        self,
        host: str,
        port: int | None = 9497,
        prefix: str | None = None,
        https: bool = False,
        verify_certificate: bool | str = True,
        timeout: float = 10,
        version: str = '0.1',
        username: str | None = None,
        password: str | None = None,
        token: str | None = None,
        tenant_uuid: str | None = None,
        **_ignored: Any,
    ) -> None:
        self.host = host
        self.port = port
        self.timeout = timeout
        self.username = username
        self.password = password
        self.tenant_uuid = tenant_uuid
        self._token = token
        scheme = 'https' if https else 'http'
        shown_host = f'[{host}]' if ':' in host else host
        place = f'{shown_host}:{port}' if port else shown_host
        path = f'/{prefix.strip("/")}' if prefix and prefix.strip('/') else ''
        self.base_url = f'{scheme}://{place}{path}/{version}'
        self._session = _session(verify_certificate)
        self.token = TokenCommand(self)
        self.tenants = TenantsCommand(self)
        self.users = UsersCommand(self)
        self.external = ExternalCommand(self)

    def set_token(self, token: str | None) -> None:
        self._token = token

    def set_tenant(self, tenant_uuid: str | None) -> None:
        self.tenant_uuid = tenant_uuid

    def close(self) -> None:
        self._session.close()

    def call(
        self,
        method: str,
        *path: str,
        token: str | None = None,
        tenant_uuid: str | None = None,
        params: Mapping[str, Any] | None = None,
        json: Any = None,
        auth: tuple[str, str] | None = None,
        user_agent: str = USER_AGENT,
    ) -> requests.Response:
        """Send one request, ``path`` being segments that are percent-encoded here; return whatever comes back.

        Raises requests.RequestException when nothing does. No redirect is followed.
        """
        headers = {'Accept': 'application/json', 'User-Agent': user_agent}
        token = self._token if token is None else token
        if token:
            headers['X-Auth-Token'] = token
        tenant_uuid = tenant_uuid or self.tenant_uuid
        if tenant_uuid:
            headers['Wazo-Tenant'] = tenant_uuid
        url = '/'.join((self.base_url, *(quote(segment, safe='') for segment in path)))

        def send() -> requests.Response:
            return self._session.request(
                method, url, headers=headers, params=params, json=json, auth=auth,
                timeout=self.timeout, allow_redirects=False,
            )  # fmt: skip

        try:
            return send()
        except requests.ConnectionError as error:
            # A kept connection may have been closed by the other side in the very moment of its use:
            # such a request was not answered, and asking again is harmless for methods that only read.
            if method in ('GET', 'HEAD') and error.args and isinstance(error.args[0], ProtocolError):
                return send()
            raise

    def read(self, *path: str, **options: Any) -> Json:
        """GET, check and decode one JSON object; ``options`` as for ``call``."""
        return decoded(checked(self.call('GET', *path, **options)))


def checked(response: requests.Response) -> requests.Response:
    response.raise_for_status()
    return response


def decoded(response: requests.Response) -> Json:
    """The JSON object in an answer; raises a RequestException when it is none."""
    try:
        body = response.json()
    except requests.RequestException:
        raise
    except (ValueError, RecursionError) as error:  # numbers too long or nested too deep for Python
        raise requests.exceptions.InvalidJSONError(f'unreadable JSON for url: {response.url}') from error
    if not isinstance(body, dict):
        raise requests.exceptions.InvalidJSONError(f'not a JSON object for url: {response.url}', response=response)
    return body


class TokenCommand:
    def __init__(self, client: AuthClient) -> None:
        self._client = client

    def new(
        self,
        backend: str | None = None,
        expiration: int | None = None,
        username: str | None = None,
        password: str | None = None,
        **more: Any,
    ) -> Json:
        """Log in with the given or the client's own credentials; return the token's data (key ``token`` …)."""
        client = self._client
        body = {'backend': backend, 'expiration': expiration, **more}
        name, secret = username or client.username, password or client.password
        response = client.call(
            'POST',
            'token',
            json={key: value for key, value in body.items() if value is not None},
            auth=(name, secret) if name and secret else None,
            user_agent=TOKEN_USER_AGENT,
        )
        return _data(response)

    def get(self, token: str, required_acl: str | None = None, tenant: str | None = None) -> Json:
        params = {'scope': required_acl, 'tenant': tenant}
        return _data(self._client.call('GET', 'token', token, params=params))

    def check(self, token: str, required_acl: str | None = None, tenant: str | None = None) -> bool:
        """True, or InvalidTokenException, MissingPermissionsTokenException, requests.HTTPError."""
        params = {'scope': required_acl, 'tenant': tenant}
        response = self._client.call('HEAD', 'token', token, params=params)
        if response.status_code == 404:
            raise InvalidTokenException
        if response.status_code == 403:
            raise MissingPermissionsTokenException
        checked(response)
        return True

    def is_valid(self, token: str, required_acl: str | None = None, tenant: str | None = None) -> bool:
        try:
            return self.check(token, required_acl, tenant)
        except (InvalidTokenException, MissingPermissionsTokenException):
            return False

    def revoke(self, token: str) -> None:
        checked(self._client.call('DELETE', 'token', token))


class TenantsCommand:
    def __init__(self, client: AuthClient) -> None:
        self._client = client

    def list(self, tenant_uuid: str | None = None, **params: Any) -> Json:
        """``{"items": [{"uuid", "name", …}], "total", "filtered"}``: the tenant and all below it."""
        return self._client.read('tenants', tenant_uuid=tenant_uuid, params=params)

    def get(self, uuid: str, tenant_uuid: str | None = None) -> Json:
        return self._client.read('tenants', uuid, tenant_uuid=tenant_uuid)


class UsersCommand:
    def __init__(self, client: AuthClient) -> None:
        self._client = client

    def get(self, uuid: str, tenant_uuid: str | None = None) -> Json:
        return self._client.read('users', uuid, tenant_uuid=tenant_uuid)

    def list(self, tenant_uuid: str | None = None, **params: Any) -> Json:
        return self._client.read('users', tenant_uuid=tenant_uuid, params=params)


class ExternalCommand:
    def __init__(self, client: AuthClient) -> None:
        self._client = client

    def get(self, auth_type: str, user_uuid: str, tenant_uuid: str | None = None) -> Json:
        """What an external service (``mobile``) keeps for a user."""
        return self._client.read('users', user_uuid, 'external', auth_type, tenant_uuid=tenant_uuid)

    def get_config(self, auth_type: str, tenant_uuid: str | None = None) -> Json:
        return self._client.read('external', auth_type, 'config', tenant_uuid=tenant_uuid)


def _data(response: requests.Response) -> Json:
    data = decoded(checked(response)).get('data')
    if not isinstance(data, dict):
        raise requests.exceptions.InvalidJSONError(f'no "data" object for url: {response.url}', response=response)
    return data


def _session(verify_certificate: bool | str) -> requests.Session:
    session = requests.Session()
    session.trust_env = False
    session.verify = verify_certificate
    session.cookies.set_policy(http.cookiejar.DefaultCookiePolicy(allowed_domains=[]))
    adapter = HTTPAdapter(pool_connections=1, pool_maxsize=CONNECTIONS_KEPT, max_retries=0)
    session.mount('http://', adapter)
    session.mount('https://', adapter)
    return session
