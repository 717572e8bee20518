"""``/egress/check``: would a delivery to this URL be let out?"""

from __future__ import annotations

from typing import Any

from ...auth import required_acl
from ...egress import check
from ...rest_api import AuthResource, json_body
from ...subscriptions.fields import RequestSchema, String, longest, one_of, storable


class EgressCheckSchema(RequestSchema):
    url = String(required=True, validate=[longest(8192), storable])
    role = String(data_key='as', load_default='user', validate=one_of(('user', 'admin')))


egress_check = EgressCheckSchema()


class EgressCheckResource(AuthResource):
    def __init__(self, settings: Any) -> None:
        self._settings = settings

    @required_acl('webhookd.egress.check.create')
    def post(self) -> tuple[dict[str, Any], int]:
        asked = egress_check.load(json_body())
        return check.explain(asked['url'], asked['role'], self._settings), 200
