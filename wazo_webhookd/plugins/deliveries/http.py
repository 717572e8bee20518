"""``/subscriptions/{u}/deliveries``, ``…/health``, ``…/resume`` and ``/deliveries/{d}``."""

from __future__ import annotations

from typing import Any, Final

from flask import request
from marshmallow import ValidationError

from ...auth import required_acl
from ...deliveries import health
from ...domain.delivery import STATES
from ...rest_api import AuthResource
from ...subscriptions.fields import Integer, Moment, RequestSchema, String, error, one_of, storable
from ..house import House
from ..scopes import admin_scope
from .service import HistoryService

DEFAULT_LIMIT: Final = 100
HIGHEST_LIMIT: Final = 1000

Answer = tuple[Any, int]


class Limit(Integer):
    """At most a thousand."""

    def _validate(self, value: Any) -> None:
        super()._validate(value)
        if value > HIGHEST_LIMIT:
            message = f'Must be less than or equal to {HIGHEST_LIMIT}.'
            problem: Any = [error(message, 'range', {'min': 0, 'max': HIGHEST_LIMIT})]
            raise ValidationError(problem)


class DeliveriesQuery(RequestSchema):
    limit = Limit(load_default=DEFAULT_LIMIT)
    offset = Integer(load_default=0)
    direction = String(load_default='desc', validate=one_of(('asc', 'desc')))
    order = String(load_default='created_at', validate=one_of(('created_at',)))
    state = String(validate=one_of(STATES))
    event_name = String(validate=storable)
    from_date = Moment()


deliveries_query = DeliveriesQuery()


class _Resource(AuthResource):
    def __init__(self, house: House, history: HistoryService) -> None:
        self._house = house
        self._history = history

    def _visible(self, subscription_uuid: str) -> str:
        """The uuid as stored. Raises NoSuchSubscription."""
        return self._house.service.get(subscription_uuid, scope=admin_scope()).uuid


class DeliveriesResource(_Resource):
    @required_acl('webhookd.subscriptions.{subscription_uuid}.deliveries.read')
    def get(self, subscription_uuid: str) -> Answer:
        uuid = self._visible(subscription_uuid)
        query = deliveries_query.load(request.args.to_dict())
        query.pop('order')
        items, total = self._history.page(uuid, **query)
        return {'items': items, 'total': total, 'filtered': total}, 200


class DeliveryResource(_Resource):
    @required_acl('webhookd.deliveries.{delivery_uuid}.read')
    def get(self, delivery_uuid: str) -> Answer:
        return self._history.get(delivery_uuid, admin_scope()), 200


class HealthResource(_Resource):
    @required_acl('webhookd.subscriptions.{subscription_uuid}.health.read')
    def get(self, subscription_uuid: str) -> Answer:
        return health.health(self._house.database, self._visible(subscription_uuid)), 200


class ResumeResource(_Resource):
    @required_acl('webhookd.subscriptions.{subscription_uuid}.resume.create')
    def post(self, subscription_uuid: str) -> Answer:
        self._house.admitter.resume(self._visible(subscription_uuid))
        return '', 204
