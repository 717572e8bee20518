"""What ``POST /mobile/notifications`` takes (reference: rest 1.15). Errors are lists of texts here."""

from __future__ import annotations

from typing import Final

from marshmallow import RAISE, Schema, ValidationError, fields
from marshmallow.validate import Length, Regexp

from ...services.mobile.notification import RESERVED_TYPES


def _not_reserved(notification_type: str) -> None:
    if notification_type in RESERVED_TYPES:
        raise ValidationError(f'The type "{notification_type}" is a reserved type.')


class NotificationSchema(Schema):
    class Meta:
        unknown = RAISE

    notification_type = fields.String(
        required=True, validate=[Length(min=1, max=100), Regexp(r'(?i)^[a-z0-9_]+\Z'), _not_reserved]
    )
    user_uuid = fields.String(required=True, validate=Length(equal=36))
    title = fields.String(required=True, validate=Length(max=128))
    body = fields.String(required=True, validate=Length(max=250))
    extra = fields.Dict(load_default=dict)


notification_schema: Final = NotificationSchema()
