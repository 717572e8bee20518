"""What ``PATCH /config`` takes: RFC 6902 operations that replace ``/debug``."""

from __future__ import annotations

from marshmallow import RAISE, Schema, fields, validate

from ...subscriptions.fields import Boolean


class ConfigPatchSchema(Schema):
    class Meta:
        unknown = RAISE

    op = fields.String(required=True, validate=validate.Equal('replace'))
    path = fields.String(required=True, validate=validate.Equal('/debug'))
    value = Boolean(required=True)


config_patch = ConfigPatchSchema(many=True)
