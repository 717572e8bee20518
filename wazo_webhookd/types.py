"""Words for guests: the shapes of what services and plugins are given."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypedDict

ConfigValue = str | int | float | bool | None


class SubscriptionDict(TypedDict):
    """What a service receives as ``subscription``, and what REST shows."""

    uuid: str
    name: str
    service: str
    events: list[str]
    config: dict[str, ConfigValue]
    events_user_uuid: str | None
    events_wazo_uuid: str | None
    owner_user_uuid: str | None
    owner_tenant_uuid: str
    metadata: dict[str, str | None]


class _NeededOfSubscription(TypedDict):
    name: str
    service: str
    events: list[str]
    config: dict[str, ConfigValue]


class NewSubscriptionDict(_NeededOfSubscription, total=False):
    """What ``SubscriptionService.create`` takes. ``metadata_`` is another name of ``metadata``; without
    ``owner_tenant_uuid`` the master tenant owns it."""

    events_user_uuid: str | None
    events_wazo_uuid: str | None
    owner_user_uuid: str | None
    owner_tenant_uuid: str | None
    metadata: dict[str, str | None]
    metadata_: dict[str, str | None]


class EventDict(TypedDict, total=False):
    """The body of a bus event: its headers again, ``data``, and whatever its publisher added."""

    name: str
    data: Any
    origin_uuid: str
    tenant_uuid: str
    timestamp: str
    required_access: str
    required_acl: str


class ServiceDependencies(TypedDict):
    """What ``load`` of a service is given."""

    api: Any
    auth_client: Any
    bus_consumer: Any
    bus_publisher: Any
    celery: Any
    config: Mapping[str, Any]
    status_aggregator: Any
    token_change_subscribe: Callable[[Callable[[str], object]], object]


class PluginDependencies(ServiceDependencies):
    """What ``load`` of a REST plugin is given."""

    service_manager: Any
    next_token_change_subscribe: Callable[[Callable[[str], object]], object]


class Service(Protocol):
    """A way of delivering: an entry point of group ``wazo_webhookd.services``.

    Beside ``load`` it has either ``run(task, config, subscription, event)``, called in a worker, or
    ``callback()``, returning a Celery task that takes ``(subscription, event)``; or neither, when it
    only listens to the bus.
    """

    def load(self, dependencies: ServiceDependencies) -> None: ...


class Plugin(Protocol):
    """A set of REST resources: an entry point of group ``wazo_webhookd.plugins``."""

    def load(self, dependencies: PluginDependencies) -> None: ...
