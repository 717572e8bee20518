"""What ``POST /events`` takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from marshmallow import ValidationError, fields, validates

from ...subscriptions.fields import Mapped, RequestSchema, String, error, longest, refusal, storable


def _not_empty(value: str) -> None:
    if not value:
        raise refusal('Shorter than minimum length 1.', 'length', {'min': 1, 'max': 128})


class EventSchema(RequestSchema):
    name = String(required=True, validate=[_not_empty, longest(128), storable])
    data = fields.Raw(
        required=True,
        allow_none=True,
        error_messages={'required': error('Missing data for required field.', 'required', 'required')},
    )
    origin_uuid = String(load_default=None, allow_none=True, validate=[longest(128), storable])
    headers = Mapped(load_default=dict)

    @validates('headers')
    def _plain(self, headers: Mapping[str, Any], data_key: str) -> None:
        for key, value in headers.items():
            tenant = key == 'tenant_uuid'
            if not isinstance(value, str if tenant else str | bool) and not (tenant and value is None):
                raise _wrong('Not a mapping with string keys and string or boolean values', 'key-value-type', 'string')
            if len(key) > 128 or (isinstance(value, str) and len(value) > 2048):
                raise _wrong('Key or value too long', 'key-value-length', {'key-max': 128, 'value-max': 2048})
            storable({key: value})


def _wrong(message: str, constraint_id: str, constraint: Any) -> ValidationError:
    problems: Any = [error(message, constraint_id, constraint)]
    return ValidationError(problems)


event_schema = EventSchema()
