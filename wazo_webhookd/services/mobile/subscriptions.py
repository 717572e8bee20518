"""Keeps one mobile subscription for each user with a mobile application (reference: delivery 6.1)."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

from ...domain.subscription import Subscription
from ...subscriptions.service import NoSuchSubscription
from .notification import EVENTS

logger = logging.getLogger(__name__)

SERVICE: Final = 'mobile'
MARK: Final = {'mobile': 'true'}


class Subscriptions(Protocol):
    """What of the subscription service is used here."""

    def list(
        self,
        owner_tenant_uuids: Any = None,
        owner_user_uuid: str | None = None,
        events_user_uuid: str | None = None,
        search_metadata: Mapping[str, str] | None = None,
    ) -> Any: ...

    def create(self, subscription: Mapping[str, Any]) -> Any: ...

    def update(self, subscription_uuid: object, subscription: Mapping[str, Any]) -> Any: ...

    def delete(self, subscription_uuid: object) -> None: ...


class MobileSubscriptions:
    """Handlers of wazo-auth's events about external accounts, called with body and headers. All are idempotent."""

    def __init__(self, service: Subscriptions) -> None:
        self._service = service

    def on_mobile_account(self, body: Mapping[str, Any], headers: Mapping[str, Any]) -> None:
        """A mobile application was registered, perhaps once more."""
        owner = _owner(body, headers)
        if owner is not None:
            self.ensure(*owner)

    def on_mobile_account_gone(self, body: Mapping[str, Any], headers: Mapping[str, Any]) -> None:
        owner = _owner(body, headers)
        if owner is not None:
            for subscription in self._of(*owner):
                self._delete(subscription)

    def ensure(self, user_uuid: str, tenant_uuid: str) -> None:
        """Exactly one, wanting at least our events: the oldest stays as it is, others are deleted."""
        found = self._of(user_uuid, tenant_uuid)
        if not found:
            self._service.create(new_subscription(user_uuid, tenant_uuid))
            found = self._of(user_uuid, tenant_uuid)  # another daemon may have done the same in this moment
        for duplicate in found[1:]:
            self._delete(duplicate)
        if found:
            self._complete(found[0])

    def complete_all(self) -> None:
        """Older ones lack events that were added later."""
        for subscription in self._service.list(search_metadata=MARK):
            if subscription.service == SERVICE:
                self._complete(subscription)

    def _complete(self, subscription: Subscription) -> None:
        missing = [name for name in EVENTS if name not in subscription.events]
        if missing and subscription.events_user_uuid is not None:
            try:
                self._service.update(subscription.uuid, {'events': [*subscription.events, *missing]})
            except NoSuchSubscription:
                return
            logger.info('mobile subscription %s now wants %s too', subscription.uuid, ', '.join(missing))

    def _of(self, user_uuid: str, tenant_uuid: str) -> Sequence[Subscription]:
        found = self._service.list(owner_tenant_uuids=[tenant_uuid], owner_user_uuid=user_uuid, search_metadata=MARK)
        return [subscription for subscription in found if subscription.service == SERVICE]

    def _delete(self, subscription: Subscription) -> None:
        try:
            self._service.delete(subscription.uuid)
        except NoSuchSubscription:
            logger.debug('mobile subscription %s was deleted meanwhile', subscription.uuid)


def new_subscription(user_uuid: str, tenant_uuid: str) -> dict[str, Any]:
    return {
        'name': f'Push notification mobile for user {tenant_uuid}/{user_uuid}',
        'service': SERVICE,
        'events': list(EVENTS),
        'events_user_uuid': user_uuid,
        'owner_user_uuid': user_uuid,
        'owner_tenant_uuid': tenant_uuid,
        'config': {},
        'metadata': dict(MARK),
    }


def _owner(body: Mapping[str, Any], headers: Mapping[str, Any]) -> tuple[str, str] | None:
    """(user, tenant) when the event is about a mobile application."""
    data = body.get('data')
    if not isinstance(data, Mapping) or data.get('external_auth_name') != 'mobile':
        return None
    user, tenant = data.get('user_uuid'), headers.get('tenant_uuid')
    if not (isinstance(user, str) and user and isinstance(tenant, str) and tenant):
        logger.warning('an event about a mobile application names no user or no tenant and is ignored')
        return None
    return user, tenant
