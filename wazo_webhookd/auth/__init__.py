"""Who asks, and as what."""

from .access import required_acl
from .caller import (
    User,
    current_token,
    current_user,
    get_master_tenant_uuid,
    get_token_user_uuid_from_request,
    in_master_tenant,
    required_master_tenant,
    scope_tenant,
    visible_tenants,
)
from .token import Token
from .verifier import AuthVerifier, auth_verifier

__all__ = [
    'AuthVerifier',
    'Token',
    'User',
    'auth_verifier',
    'current_token',
    'current_user',
    'get_master_tenant_uuid',
    'get_token_user_uuid_from_request',
    'in_master_tenant',
    'required_acl',
    'required_master_tenant',
    'scope_tenant',
    'visible_tenants',
]
