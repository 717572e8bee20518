"""Which subscriptions an event concerns, and why not the others.

The rules are those of a RabbitMQ headers binding with ``x-match: all`` (reference, delivery 1.4):
only headers are looked at, never the body, and values are equal only with their type.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from sys import intern
from typing import Any, Final

from wazo_webhookd.domain.subscription import MASTER, Subscription

EVERYBODY: Final = '*'
USER_HEADER: Final = 'user_uuid:'
ADDRESSED_TO_EVERYBODY: Final = frozenset({'global_voicemail_message_created'})
"""Events that carry ``user_uuid:*`` and no single user: a wish for them asks for that header instead."""


@dataclass(frozen=True, slots=True)
class Rule:
    """``tenant``, ``user`` and ``origin`` are what the headers must say; None does not ask."""

    names: tuple[str, ...]
    tenant: str | None = None
    user: str | None = None
    origin: str | None = None

    def audience(self, name: str) -> Audience:
        user = EVERYBODY if name in ADDRESSED_TO_EVERYBODY else self.user
        return (self.tenant, user, self.origin)


Audience = tuple[str | None, str | None, str | None]


def asked_tenant(owner: str, master_tenant: str | None) -> str | None:
    """Whose events the subscriptions of an owner tenant hear: its own, or of all (None) for the master tenant."""
    return None if owner in (MASTER, master_tenant) else owner


def rule_of(subscription: Subscription, master_tenant: str | None) -> Rule:
    """What a subscription asks of events. Texts that many rules share are one object."""
    return Rule(
        names=tuple(intern(name) for name in subscription.events),
        tenant=asked_tenant(intern(subscription.owner_tenant_uuid), master_tenant),
        user=subscription.events_user_uuid,
        origin=subscription.events_wazo_uuid,
    )


def explain(rule: Rule, name: str, headers: Mapping[str, Any]) -> str | None:
    """Why an event does not concern a subscription, as a sentence; None when it does."""
    if name not in rule.names:
        return f'the subscription does not want events named {name!r}'
    tenant, user, origin = rule.audience(name)
    if tenant is not None and not _same(headers.get('tenant_uuid'), tenant):
        return f'the event is not of tenant {tenant}'
    if user is not None and headers.get(USER_HEADER + user) is not True:
        return f'the event is not for user {user}' if user != EVERYBODY else 'the event is not for all users'
    if origin is not None and not _same(headers.get('origin_uuid'), origin):
        return f'the event is not from server {origin}'
    return None


def _same(header: Any, wanted: str) -> bool:
    return isinstance(header, str) and header == wanted


class Index:
    """Rules by what an event must say to meet them.

    A question costs a look-up per combination of what the event says (tenant or any, each user or
    none, origin or any) and then only what matches. Not thread-safe.
    """

    def __init__(self) -> None:
        self._rules: dict[str, Rule] = {}
        # audience -> name -> the only uuid, or several (a dict, for its order and cheap removal)
        self._rooms: dict[Audience, dict[str, str | dict[str, None]]] = {}
        self._wanted: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._rules)

    def add(self, uuid: str, rule: Rule) -> None:
        """Replaces what was known of the uuid."""
        self.remove(uuid)
        self._rules[uuid] = rule
        for name in rule.names:
            room = self._rooms.setdefault(rule.audience(name), {})
            found = room.get(name)
            if found is None:
                room[name] = uuid
            elif isinstance(found, dict):
                found[uuid] = None
            elif found != uuid:
                room[name] = {found: None, uuid: None}
        for name in set(rule.names):
            self._wanted[name] = self._wanted.get(name, 0) + 1

    def remove(self, uuid: str) -> None:
        """Forget the uuid; unknown ones are ignored."""
        rule = self._rules.pop(uuid, None)
        if rule is None:
            return
        for name in set(rule.names):
            audience = rule.audience(name)
            room = self._rooms[audience]
            found = room[name]
            if isinstance(found, dict):
                del found[uuid]
            if not isinstance(found, dict) or not found:
                del room[name]
            if not room:
                del self._rooms[audience]
            self._wanted[name] -= 1
            if not self._wanted[name]:
                del self._wanted[name]

    def rule(self, uuid: str) -> Rule | None:
        return self._rules.get(uuid)

    def wants(self, name: str) -> bool:
        return name in self._wanted

    def names(self) -> set[str]:
        return set(self._wanted)

    def match(self, name: str, headers: Mapping[str, Any]) -> list[str]:
        """The uuids whose rule the event meets, each once, in no promised order."""
        if name not in self._wanted:
            return []
        tenants = _any_or(headers.get('tenant_uuid'))
        origins = _any_or(headers.get('origin_uuid'))
        users = [None, *_users(headers)]
        result: list[str] = []
        for tenant in tenants:
            for user in users:
                for origin in origins:
                    room = self._rooms.get((tenant, user, origin))
                    found = None if room is None else room.get(name)
                    if isinstance(found, str):
                        result.append(found)
                    elif found is not None:
                        result.extend(found)
        return result


def _any_or(header: Any) -> tuple[str | None, ...]:
    return (None, header) if isinstance(header, str) else (None,)


def _users(headers: Mapping[str, Any]) -> Iterable[str]:
    start = len(USER_HEADER)
    return [key[start:] for key, value in headers.items() if value is True and key.startswith(USER_HEADER)]
