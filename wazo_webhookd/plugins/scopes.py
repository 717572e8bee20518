"""Decides whose subscriptions the caller of the current request may see."""

from __future__ import annotations

from ..auth import current_user, visible_tenants
from ..domain.scope import Scope


def admin_scope(*, recurse: bool = True) -> Scope:
    """The scope tenant, with its descendants when ``recurse`` (single subscriptions always do)."""
    return Scope.of(visible_tenants(recurse))


def user_scope() -> Scope:
    """What the token's user owns in the token's tenant. Raises TokenWithUserUUIDRequired."""
    user = current_user()
    return Scope.of((user.tenant_uuid,), owner=user.uuid)
