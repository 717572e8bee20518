"""Asks wazo-auth about callers' tokens and translates its answers into ours (rest.md 2.2 and 2.3)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote, quote_plus

import requests

from .cache import TokenCache
from .client import AuthClient, decoded
from .errors import AuthServerUnreachable, MissingPermission, UnauthorizedTenant, UnknownToken

HIDDEN: Final = '<hidden>'
UNSENDABLE: Final = ('.', '..')  # a path segment of dots is not a name: it moves up in the tree


class WazoAuthority:
    """The authority of a Wazo server; every answer that is good news is kept by ``cache``."""

    def __init__(self, client: AuthClient, cache: TokenCache) -> None:
        self._client = client
        self._cache = cache

    def check(self, token: str, access: str, tenant_uuid: str | None) -> None:
        question = ('check', access, tenant_uuid)
        if self._cache.get(token, question):
            return
        if token in UNSENDABLE:
            raise UnknownToken(token, access)
        mark = self._cache.mark()
        params = {'scope': access, 'tenant': tenant_uuid}
        response = self._ask('HEAD', 'token', token, token=token, params=params)
        if response.status_code == 404:
            raise UnknownToken(token, access)
        if response.status_code == 403:
            raise MissingPermission(token, access, tenant_uuid)
        if response.status_code != 204:
            raise self._unusable(response, token)
        self._cache.put(token, question, True, mark)

    def details(self, token: str) -> Mapping[str, Any]:
        known: Mapping[str, Any] | None = self._cache.get(token, 'details')
        if known is not None:
            return known
        mark = self._cache.mark()
        response = self._ask('GET', 'token', token, token=token)
        if response.status_code >= 400:
            raise UnknownToken(token)
        data = self._decoded(response, token).get('data')
        if response.status_code != 200 or not isinstance(data, dict):
            raise self._unusable(response, token)
        self._cache.put(token, 'details', data, mark, session_uuid=data.get('session_uuid'))
        return data

    def visible_tenants(self, token: str, tenant_uuid: str) -> frozenset[str]:
        question = ('tenants', tenant_uuid)
        known: frozenset[str] | None = self._cache.get(token, question)
        if known is not None:
            return known
        mark = self._cache.mark()
        response = self._ask('GET', 'tenants', token=token, tenant_uuid=tenant_uuid)
        if response.status_code in (401, 403):
            # The caller may not list tenants. That it may act in this one has been checked with its access.
            visible = frozenset((tenant_uuid,))
        elif response.status_code == 404:
            raise UnauthorizedTenant(tenant_uuid)
        elif response.status_code != 200:
            raise self._unusable(response, token)
        else:
            visible = self._tenants(response, token)
        self._cache.put(token, question, visible, mark)
        return visible

    def unreachable(self, reason: str) -> AuthServerUnreachable:
        return AuthServerUnreachable(self._client.host, self._client.port, reason)

    def forget_session(self, session_uuid: str) -> None:
        self._cache.forget_session(session_uuid)

    def _tenants(self, response: requests.Response, token: str) -> frozenset[str]:
        items = self._decoded(response, token).get('items')
        if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
            raise self._unusable(response, token)
        return frozenset(item['uuid'] for item in items if isinstance(item.get('uuid'), str))

    def _ask(self, method: str, *path: str, token: str, **options: Any) -> requests.Response:
        try:
            return self._client.call(method, *path, token=token, **options)
        except requests.exceptions.InvalidHeader:
            raise UnknownToken(token) from None
        except requests.RequestException as error:
            raise self.unreachable(hide(str(error), token)) from None

    def _decoded(self, response: requests.Response, token: str) -> dict[str, Any]:
        try:
            return decoded(response)
        except requests.RequestException as error:
            raise self.unreachable(hide(str(error), token)) from None

    def _unusable(self, response: requests.Response, token: str) -> AuthServerUnreachable:
        kind = 'Server Error' if response.status_code >= 500 else 'Client Error'
        if response.status_code < 400:
            kind = 'Unexpected Answer'
        text = f'{response.status_code} {kind}: {response.reason} for url: {response.url}'
        return self.unreachable(hide(text, token))


def hide(text: str, token: str) -> str:
    """The text without the token, in whatever spelling a URL gives it."""
    if not token:
        return text
    for spelling in sorted({token, quote(token, safe=''), quote(token), quote_plus(token)}, key=len, reverse=True):
        text = text.replace(spelling, HIDDEN)
    return text
