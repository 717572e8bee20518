"""``/subscriptions``, their logs, and ``/users/me/subscriptions``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from flask import request

from ...auth import current_user, required_acl, scope_tenant
from ...domain.scope import Scope
from ...domain.subscription import InvalidSubscription
from ...rest_api import AuthResource, InvalidData, json_body
from ...subscriptions import schema
from ...subscriptions.service import SubscriptionService
from ..scopes import admin_scope, user_scope

Answer = tuple[Any, int]

_list_query: Final = schema.ListQuery()
_logs_query: Final = schema.LogsQuery()
_subscription: Final = schema.Subscription()
_user_subscription: Final = schema.UserSubscription()


class _Resource(AuthResource):
    def __init__(self, service: SubscriptionService) -> None:
        self._service = service

    def _page(self, scope: Scope, query: Mapping[str, Any]) -> Answer:
        wanted = {key: value for key, value in query.items() if key != 'recurse'}
        return _listed(*self._service.page(scope, **wanted))

    def _add(self, given: Mapping[str, Any]) -> Answer:
        try:
            return self._service.add(given).to_dict(), 201
        except InvalidSubscription as error:
            raise InvalidData({'_schema': [str(error)]}) from error

    def _update(self, subscription_uuid: str, given: Mapping[str, Any], scope: Scope) -> Answer:
        try:
            return self._service.update(subscription_uuid, given, scope=scope).to_dict(), 200
        except InvalidSubscription as error:
            raise InvalidData({'_schema': [str(error)]}) from error


class SubscriptionsResource(_Resource):
    @required_acl('webhookd.subscriptions.read')
    def get(self) -> Answer:
        query = _asked_of_list()
        return self._page(admin_scope(recurse=query['recurse']), query)

    @required_acl('webhookd.subscriptions.create')
    def post(self) -> Answer:
        given = _subscription.load(json_body())
        return self._add({**given, 'owner_tenant_uuid': scope_tenant()})


class SubscriptionResource(_Resource):
    """Single subscriptions are visible from every tenant above theirs."""

    @required_acl('webhookd.subscriptions.{subscription_uuid}.read')
    def get(self, subscription_uuid: str) -> Answer:
        return self._service.shown(subscription_uuid, admin_scope()), 200

    @required_acl('webhookd.subscriptions.{subscription_uuid}.update')
    def put(self, subscription_uuid: str) -> Answer:
        """Replaces all but the owner tenant, and but the owner user where that is not named."""
        given = _subscription.load(json_body())
        return self._update(subscription_uuid, given, admin_scope())

    @required_acl('webhookd.subscriptions.{subscription_uuid}.delete')
    def delete(self, subscription_uuid: str) -> Answer:
        self._service.delete(subscription_uuid, scope=admin_scope())
        return '', 204


class SubscriptionLogsResource(_Resource):
    @required_acl('webhookd.subscriptions.{subscription_uuid}.logs.read')
    def get(self, subscription_uuid: str) -> Answer:
        subscription = self._service.get(subscription_uuid, scope=admin_scope())
        query = _logs_query.load(request.args.to_dict())
        logs, filtered = self._service.page_of_logs(subscription.uuid, **query)
        return {'items': [log.to_dict() for log in logs], 'total': len(logs), 'filtered': filtered}, 200


class UserSubscriptionsResource(_Resource):
    @required_acl('webhookd.users.me.subscriptions.read')
    def get(self) -> Answer:
        scope = user_scope()
        return self._page(scope, _asked_of_list())

    @required_acl('webhookd.users.me.subscriptions.create')
    def post(self) -> Answer:
        user = current_user()
        given = _user_subscription.load(json_body())
        return self._add(
            {
                **given,
                'owner_user_uuid': user.uuid,
                'events_user_uuid': user.uuid,
                'events_wazo_uuid': user.wazo_uuid,
                'owner_tenant_uuid': user.tenant_uuid,
            }
        )


class UserSubscriptionResource(_Resource):
    @required_acl('webhookd.users.me.subscriptions.{subscription_uuid}.read')
    def get(self, subscription_uuid: str) -> Answer:
        return self._service.shown(subscription_uuid, user_scope()), 200

    @required_acl('webhookd.users.me.subscriptions.{subscription_uuid}.update')
    def put(self, subscription_uuid: str) -> Answer:
        """Leaves whose it is and whom it is about."""
        scope = user_scope()
        given = _user_subscription.load(json_body())
        return self._update(subscription_uuid, given, scope)

    @required_acl('webhookd.users.me.subscriptions.{subscription_uuid}.delete')
    def delete(self, subscription_uuid: str) -> Answer:
        self._service.delete(subscription_uuid, scope=user_scope())
        return '', 204


def _asked_of_list() -> dict[str, Any]:
    asked: dict[str, Any] = {**request.args.to_dict(), 'search_metadata': request.args.getlist('search_metadata')}
    query: dict[str, Any] = _list_query.load(asked)
    return query


def _listed(found: Sequence[Any], total: int) -> Answer:
    return {'items': [subscription.to_dict() for subscription in found], 'total': total, 'filtered': total}, 200
