"""Fields and checks whose errors have the three forms that clients know (reference, rest 1.4).

A field's own errors (type, required, null) are one object ``{"message", "constraint_id",
"constraint"}``; those of checks attached to it are a list of such objects; marshmallow's own, for
unknown keys, are lists of texts.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, Final

from marshmallow import EXCLUDE, Schema, ValidationError, fields

from wazo_webhookd.domain.subscription import is_storable

GREATEST: Final = 2**63 - 1
FORBIDDEN: Final = ['\\u0000', '\\ud800-\\udfff']


def error(message: str, constraint_id: str, constraint: Any) -> dict[str, Any]:
    return {'message': message, 'constraint_id': constraint_id, 'constraint': constraint}


def refusal(message: str, constraint_id: str, constraint: Any) -> ValidationError:
    """To be raised by a check."""
    return ValidationError(error(message, constraint_id, constraint))


def _messages(kind: str, invalid: str) -> dict[str, Any]:
    wrong = error(invalid, 'type', kind)
    return {
        'invalid': wrong,
        'invalid_utf8': wrong,
        'too_large': wrong,
        'required': error('Missing data for required field.', 'required', 'required'),
        'null': error('Field may not be null.', 'not_null', 'not_null'),
    }


class RequestSchema(Schema):
    """What a client sends; unknown keys are ignored."""

    class Meta:
        unknown = EXCLUDE


# -- fields


class String(fields.String):
    """A text that the database can store."""

    default_error_messages = _messages('string', 'Not a valid string.')

    def __init__(self, *, validate: Any = None, **options: Any) -> None:
        checks = [] if validate is None else validate if isinstance(validate, list) else [validate]
        super().__init__(validate=[storable, *(check for check in checks if check is not storable)], **options)


class Boolean(fields.Boolean):
    default_error_messages = _messages('boolean', 'Not a valid boolean.')


class Integer(fields.Integer):
    """From 0 to what 64 bits hold."""

    default_error_messages = _messages('integer', 'Not a valid integer.')

    def __init__(self, **options: Any) -> None:
        super().__init__(validate=[_not_negative, _within_64_bits], **options)


class List(fields.List[Any]):
    default_error_messages = _messages('list', 'Not a valid list.')


class Mapped(fields.Dict):
    default_error_messages = _messages('dict', 'Not a valid mapping type.')


class Moment(fields.Field[datetime]):
    """An ISO-8601 date and time (reference, rest 1.11); without a zone it is UTC."""

    default_error_messages = _messages('datetime', 'Not a valid datetime')
    grammar: Final = re.compile(
        r'(\d{4})-(\d{1,2})-(\d{1,2})[T ](\d{1,2}):(\d{1,2})(?::(\d{1,2})(?:\.(\d{1,6})\d{0,6})?)?'
        r'(Z|[+-]\d{2}(?::?\d{2})?)?',
        re.ASCII,
    )

    def _deserialize(self, value: Any, attr: str | None, data: Any, **_: Any) -> datetime:
        found = self.grammar.fullmatch(value) if isinstance(value, str) else None
        if found is None:
            raise self.make_error('invalid')
        year, month, day, hour, minute, second, fraction, zone = found.groups(default='')
        try:
            moment = datetime(
                int(year), int(month), int(day), int(hour), int(minute), int(second or 0), int(fraction.ljust(6, '0'))
            )
            return moment.replace(tzinfo=_zone(zone)).astimezone(UTC)
        except (ValueError, OverflowError):
            raise self.make_error('invalid') from None


def _zone(text: str) -> timezone:
    if text in ('', 'Z'):
        return UTC
    digits = text[1:].replace(':', '').ljust(4, '0')
    if int(digits[2:]) > 59:
        raise ValueError('an hour has sixty minutes')
    offset = timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
    return timezone(-offset if text[0] == '-' else offset)


# -- checks


def storable(value: Any) -> None:
    """No NUL and no half of a surrogate pair, in a text or anywhere in a mapping of texts."""
    texts: Sequence[Any] = [*value.keys(), *value.values()] if isinstance(value, Mapping) else [value]
    if not all(is_storable(text) for text in texts if isinstance(text, str)):
        raise refusal('Contains a character that cannot be stored.', 'characters', FORBIDDEN)


def longest(limit: int) -> Callable[[str], None]:
    def check(value: str) -> None:
        if len(value) > limit:
            raise refusal(f'Longer than maximum length {limit}.', 'length', {'min': None, 'max': limit})

    return check


def exactly(length: int) -> Callable[[str], None]:
    def check(value: str) -> None:
        if len(value) != length:
            raise refusal(f'Length must be {length}.', 'length', {'equal': length})

    return check


def one_of(choices: Sequence[str]) -> Callable[[str], None]:
    def check(value: str) -> None:
        if value not in choices:
            raise refusal(f'Must be one of: {", ".join(choices)}.', 'enum', {'choices': list(choices)})

    return check


def _not_negative(value: int) -> None:
    if value < 0:
        raise refusal('Must be greater than or equal to 0.', 'range', {'min': 0})


def _within_64_bits(value: int) -> None:
    if value > GREATEST:
        raise refusal(f'Must be less than or equal to {GREATEST}.', 'range', {'max': GREATEST})
