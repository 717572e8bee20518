"""The token of a caller, read from wazo-auth only when somebody looks into it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol


class Authority(Protocol):
    """Who knows tokens: wazo-auth, or the one generated token of standalone."""

    def check(self, token: str, access: str, tenant_uuid: str | None) -> None:
        """Return if the token has that access (in that tenant). Raises Unauthorized or AuthServerUnreachable."""

    def details(self, token: str) -> Mapping[str, Any]:
        """The token's data (rest.md 2.2, call B). Raises UnknownToken or AuthServerUnreachable."""

    def visible_tenants(self, token: str, tenant_uuid: str) -> frozenset[str]:
        """The tenant and all below it that this token sees; empty means none."""

    def unreachable(self, reason: str) -> Exception:
        """The error to raise when an answer of the authority lacks what it must have."""

    def forget_session(self, session_uuid: str) -> None:
        """Never again trust what was said about tokens of this session."""


class Token:
    """Kept for guests too: ``uuid`` is the token itself, ``infos`` the data behind it."""

    def __init__(self, uuid: str, authority: Authority) -> None:
        self.uuid = uuid
        self._authority = authority
        self._infos: Mapping[str, Any] | None = None
        self._visible: dict[str, frozenset[str]] = {}

    def __repr__(self) -> str:
        return '<Token>'

    @property
    def infos(self) -> Mapping[str, Any]:
        if self._infos is None:
            self._infos = self._authority.details(self.uuid)
        return self._infos

    @property
    def metadata(self) -> Mapping[str, Any]:
        metadata = self.infos.get('metadata')
        return metadata if isinstance(metadata, Mapping) else {}

    @property
    def user_uuid(self) -> str | None:
        return _text(self.metadata.get('uuid'))

    @property
    def own_tenant_uuid(self) -> str | None:
        return _text(self.metadata.get('tenant_uuid'))

    @property
    def tenant_uuid(self) -> str:
        """The token's own tenant. Raises AuthServerUnreachable when wazo-auth names none."""
        tenant_uuid = self.own_tenant_uuid
        if tenant_uuid is None:
            raise self._authority.unreachable('the token has no tenant')
        return tenant_uuid

    @property
    def wazo_uuid(self) -> str | None:
        return _text(self.infos.get('xivo_uuid'))

    @property
    def session_uuid(self) -> str | None:
        return _text(self.infos.get('session_uuid'))

    def visible_tenants(self, tenant_uuid: str | None = None) -> frozenset[str]:
        """The tenant (default: the token's own) and those below it."""
        tenant_uuid = tenant_uuid or self.tenant_uuid
        if tenant_uuid not in self._visible:
            self._visible[tenant_uuid] = self._authority.visible_tenants(self.uuid, tenant_uuid)
        return self._visible[tenant_uuid]


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None
