"""Lets a request in, or not.

``auth_verifier`` is one object for the life of the process, because guests import it; the controller
gives it its authority (wazo-auth, or the one token of standalone) and the master tenant.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

from flask import g, request

from .access import expanded
from .master_tenant import MasterTenant
from .token import Authority, Token

Method = TypeVar('Method', bound=Callable[..., Any])


class AuthVerifier:
    def __init__(self) -> None:
        self._authority: Authority | None = None
        self.master_tenant = MasterTenant()

    def configure(self, authority: Authority, master_tenant: MasterTenant) -> None:
        self._authority = authority
        self.master_tenant = master_tenant

    @property
    def authority(self) -> Authority:
        if self._authority is None:
            raise RuntimeError('the verifier has not been given an authority')
        return self._authority

    def verify_token(self, method: Method) -> Method:
        """Decorate a REST method: token, access and Wazo-Tenant are checked before anything else."""

        @wraps(method)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            token = request.headers.get('X-Auth-Token', '')
            tenant_uuid = request.headers.get('Wazo-Tenant') or None
            self.authority.check(token, expanded(method, kwargs), tenant_uuid)
            g.token = Token(token, self.authority)
            g.tenant_uuid = tenant_uuid
            return method(*args, **kwargs)

        return cast(Method, wrapper)

    def forget_session(self, session_uuid: str) -> None:
        if self._authority is not None:
            self._authority.forget_session(session_uuid)


auth_verifier = AuthVerifier()
