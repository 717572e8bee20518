"""What a caller is told when it may not do what it asks for.

APIException
├── Unauthorized                     401, the token does not open this door
├── UnauthorizedTenant               401, the tenant named is not (or no longer) there
├── TokenWithUserUUIDRequired        400, a token of a user is needed
├── AuthServerUnreachable            503, wazo-auth gives no usable answer
└── MasterTenantNotInitialized       503, too early
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..exceptions import APIException


class Unauthorized(APIException):
    def __init__(self, token: str, details: Mapping[str, Any] | None = None) -> None:
        super().__init__(401, 'Unauthorized', 'unauthorized', {'invalid_token': token, **(details or {})})


class UnknownToken(Unauthorized):
    """Unknown, expired, empty or missing token."""

    def __init__(self, token: str, required_access: str | None = None) -> None:
        details = {'reason': 'not_found_or_expired'}
        if required_access is not None:
            details['required_access'] = required_access
        super().__init__(token, details)


class MissingPermission(Unauthorized):
    """The token has not that access, or not in that tenant."""

    def __init__(self, token: str, required_access: str, tenant_uuid: str | None) -> None:
        details = {
            'reason': 'missing_permission_or_invalid_tenant',
            'required_access': required_access,
            'tenant_uuid': tenant_uuid,
        }
        super().__init__(token, details)


class UnauthorizedTenant(APIException):
    def __init__(self, tenant_uuid: str) -> None:
        super().__init__(401, 'Unauthorized tenant', 'unauthorized-tenant', {'tenant_uuid': tenant_uuid})


class TokenWithUserUUIDRequired(APIException):
    def __init__(self) -> None:
        super().__init__(400, 'A valid token with a user UUID is required', 'token-with-user-uuid-required')


class AuthServerUnreachable(APIException):
    def __init__(self, host: str, port: int | None, original_error: str) -> None:
        details = {'auth_server_host': host, 'auth_server_port': port, 'original_error': original_error}
        message = 'Authentication server unreachable'
        super().__init__(503, message, 'authentication-server-unreachable', details)


class MasterTenantNotInitialized(APIException):
    def __init__(self) -> None:
        message = 'wazo-webhookd master tenant is not initialized'
        super().__init__(503, message, 'master-tenant-not-initialized')
