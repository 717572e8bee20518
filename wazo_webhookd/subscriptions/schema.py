"""What a subscription may contain, and what may be asked of lists of them (reference, rest 1.4-1.11)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

from marshmallow import RAISE, Schema, ValidationError, fields, post_load, pre_load, validates

from wazo_webhookd.subscriptions.fields import (
    Boolean,
    Integer,
    List,
    Mapped,
    Moment,
    RequestSchema,
    String,
    error,
    exactly,
    longest,
    one_of,
    refusal,
    storable,
)

METHODS: Final = ('head', 'get', 'post', 'put', 'delete')
LONGEST_KEY: Final = 128
LONGEST_VALUE: Final = 2048
LONGEST_TIMEOUT: Final = 30

_NOT_A_MAPPING: Final = error('Not a valid mapping type.', 'type', 'dict')
_KEY_VALUE_TYPE: Final[Any] = error('Not a mapping with string keys and string values', 'key-value-type', 'string')
_TOO_LONG: Final[Any] = error(
    'Key or value too long', 'key-value-length', {'key-max': LONGEST_KEY, 'value-max': LONGEST_VALUE}
)


class HttpConfig(Schema):
    """``config`` of a subscription to the service http."""

    class Meta:
        unknown = RAISE

    url = String(required=True, validate=longest(8192))
    method = String(required=True, validate=longest(64))
    body = String(validate=longest(16384))
    verify_certificate = String(validate=longest(1024))
    content_type = String(validate=longest(256))
    timeout = String(validate=longest(64))

    @pre_load
    def drop_nulls(self, data: Mapping[str, Any], **_: Any) -> dict[str, Any]:
        optional = ('body', 'verify_certificate', 'content_type', 'timeout')
        return {key: value for key, value in data.items() if value is not None or key not in optional}

    @validates('method')
    def known_method(self, value: str, data_key: str) -> None:
        if value.lower() not in METHODS:
            raise refusal(f'Must be one of: {", ".join(METHODS)}.', 'enum', {'choices': list(METHODS)})

    @validates('verify_certificate')
    def yes_no_or_path(self, value: str, data_key: str) -> None:
        if value not in ('true', 'false') and not value.startswith('/'):
            raise refusal('Wrong value for verify_certificate', 'verify-certificate-invalid', ['true', 'false', '/*'])

    @validates('timeout')
    def whole_seconds(self, value: str, data_key: str) -> None:
        if value not in map(str, range(1, LONGEST_TIMEOUT + 1)):
            limits = {'min': 1, 'max': LONGEST_TIMEOUT}
            raise refusal(f'Must be whole seconds from 1 to {LONGEST_TIMEOUT}.', 'range', limits)

    @post_load
    def lower_method(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
        return {**data, 'method': data['method'].lower()}


class Config(fields.Field[dict[str, Any]]):
    """An object whose rules depend on ``service``, which may itself be wrong."""

    default_error_messages = {**String.default_error_messages, 'invalid': _NOT_A_MAPPING}

    def _deserialize(self, value: Any, attr: str | None, data: Any, **_: Any) -> dict[str, Any]:
        service = data.get('service')
        if isinstance(service, dict | list):
            raise refusal('Invalid destination', 'destination-type', {'type': 'string'})
        if not isinstance(value, dict):
            raise self.make_error('invalid')
        if service == 'http':
            loaded: dict[str, Any] = HttpConfig().load(value)
            return loaded
        _check_scalars(value)
        return value


class Metadata(Mapped):
    """An object of scalars, which are kept as text; null stays."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **_: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise self.make_error('invalid')
        if any(isinstance(item, dict | list) for item in value.values()):
            raise ValidationError([_KEY_VALUE_TYPE])
        return value


class UserSubscription(RequestSchema):
    """What a user gives; whose it is and whom it is about comes from the token."""

    name = String(required=True, validate=longest(128))
    service = String(required=True, validate=longest(128))
    events = List(String(validate=longest(128)), required=True)
    config = Config(required=True)
    metadata = Metadata(load_default=dict, validate=storable)


class Subscription(UserSubscription):
    """What an administrator gives. ``owner_user_uuid`` is absent from the result when it was not given."""

    events_user_uuid = String(load_default=None, allow_none=True, validate=exactly(36))
    events_wazo_uuid = String(load_default=None, allow_none=True, validate=exactly(36))
    owner_user_uuid = String(allow_none=True, validate=exactly(36))


class _MetadataSearch(fields.Field[dict[str, str]]):
    """Texts ``key:value`` as a dict; what has no colon says nothing, the last of a key counts."""

    def _deserialize(self, value: Iterable[str], attr: str | None, data: Any, **_: Any) -> dict[str, str]:
        return dict(text.split(':', 1) for text in value if ':' in text)


class ListQuery(RequestSchema):
    """Query of the lists of subscriptions; ``search_metadata`` is a list of texts."""

    recurse = Boolean(load_default=False)
    search_metadata = _MetadataSearch(load_default=dict, validate=storable)
    limit = Integer(load_default=None)
    offset = Integer(load_default=None)
    order = String(load_default=None, validate=one_of(['name', 'service', 'uuid']))
    direction = String(load_default='asc', validate=one_of(['asc', 'desc']))
    search = String(load_default=None)


class LogsQuery(RequestSchema):
    """Query of the logs of a subscription."""

    limit = Integer(load_default=None)
    offset = Integer(load_default=None)
    order = String(
        load_default='started_at',
        validate=one_of(['started_at', 'ended_at', 'status', 'attempts', 'max_attempts']),
    )
    direction = String(load_default='desc', validate=one_of(['asc', 'desc']))
    from_date = Moment(load_default=None)
    search = String(load_default=None)


def _check_scalars(config: Mapping[str, Any]) -> None:
    """The first pair that offends decides; type before length."""
    for key, value in config.items():
        if not isinstance(value, str | int | float):
            raise ValidationError([_KEY_VALUE_TYPE])
        text = value if isinstance(value, str) else json.dumps(value)
        if len(key) > LONGEST_KEY or len(text) > LONGEST_VALUE:
            raise ValidationError([_TOO_LONG])
    try:
        storable(config)
    except ValidationError as refused:
        raise ValidationError([refused.messages]) from None
