"""What the caller of the current request is and may see; for use behind the verifier."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, NamedTuple, TypeVar, cast

from flask import g, request

from .errors import TokenWithUserUUIDRequired, Unauthorized
from .token import Token
from .verifier import auth_verifier

Method = TypeVar('Method', bound=Callable[..., Any])


class User(NamedTuple):
    uuid: str
    tenant_uuid: str
    wazo_uuid: str | None


def current_token() -> Token:
    """The caller's verified token."""
    token: Token = g.token
    return token


def scope_tenant() -> str:
    """The ``Wazo-Tenant`` header (checked together with the access), else the token's own tenant."""
    tenant_uuid: str | None = g.tenant_uuid
    return tenant_uuid or current_token().tenant_uuid


def visible_tenants(recurse: bool) -> frozenset[str]:
    """The scope tenant, with its descendants when ``recurse``. Empty means that nothing is visible."""
    return current_token().visible_tenants(scope_tenant()) if recurse else frozenset((scope_tenant(),))


def current_user() -> User:
    """Who the token belongs to; header and body have no say. Raises TokenWithUserUUIDRequired."""
    token = current_token()
    if token.user_uuid is None:
        raise TokenWithUserUUIDRequired
    return User(token.user_uuid, token.tenant_uuid, token.wazo_uuid)


def in_master_tenant() -> bool:
    """Whether the scope tenant is the master tenant."""
    return scope_tenant() == auth_verifier.master_tenant.best_known


def get_master_tenant_uuid() -> str:
    """Raises MasterTenantNotInitialized (503)."""
    return auth_verifier.master_tenant.require()


def required_master_tenant(method: Method | None = None) -> Any:
    """Decorate a REST method (with or without parentheses): the token's own tenant must be the master tenant."""

    def decorate(method: Method) -> Method:
        @wraps(method)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            master = get_master_tenant_uuid()
            token = current_token()
            try:
                own = token.own_tenant_uuid
            except Unauthorized:
                own = None
            if own != master:
                raise Unauthorized(token.uuid)
            return method(*args, **kwargs)

        return cast(Method, wrapper)

    return decorate if method is None else decorate(method)


def get_token_user_uuid_from_request(auth_client: Any = None) -> str:
    """Kept for guests: the user of the caller's token, also where no verifier ran. ``auth_client`` is not used.

    Raises TokenWithUserUUIDRequired, UnknownToken, AuthServerUnreachable.
    """
    token = g.get('token')
    if token is None:
        text = request.headers.get('X-Auth-Token') or request.args.get('token') or ''
        token = Token(text, auth_verifier.authority)
    if token.user_uuid is None:
        raise TokenWithUserUUIDRequired
    user_uuid: str = token.user_uuid
    return user_uuid
