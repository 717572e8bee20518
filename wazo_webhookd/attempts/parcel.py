"""What is in the message of a delivery: its ticket, the task and the arguments; the event also as the text received."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from wazo_webhookd.domain import numbers
from wazo_webhookd.domain.delivery import TICKET_HEADER, Ticket
from wazo_webhookd.exceptions import WebhookdError

_raw_decode = json.JSONDecoder(parse_float=numbers.read).raw_decode
_white = re.compile(r'[ \t\n\r]*').match


class BadParcel(WebhookdError):
    """The message of a delivery cannot be read."""


@dataclass(frozen=True, slots=True)
class Parcel:
    """``subscription`` and ``event`` as the service gets them; ``event_text`` is the event's JSON as received."""

    args: list[Any]
    subscription: Any
    event: Any
    event_text: str


def ticket_of(headers: Mapping[str, Any]) -> Ticket | None:
    """The ticket in the headers of a message; None if it is no delivery. Raises BadParcel on rubbish.

    A table in the header is Celery's way; the same as JSON text costs both sides less.
    """
    header = headers.get(TICKET_HEADER)
    if header is None:
        return None
    try:
        return Ticket.from_header(json.loads(header) if isinstance(header, (str, bytes)) else header)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadParcel(f'The ticket of a delivery cannot be read: {error}') from error


def open_parcel(body: str | bytes | memoryview) -> Parcel:
    """Read a body ``[[…arguments…], {…}, {…}]`` whose last two arguments are subscription and event."""
    try:
        text = body if isinstance(body, str) else str(body, 'utf-8')
        args, last = _arguments(text)
        subscription, event = args[-2], args[-1]
    except (ValueError, IndexError, RecursionError, AttributeError) as error:
        raise BadParcel(f'The message of a delivery cannot be read: {error}') from error
    return Parcel(args, subscription, event, last)


def parcel_of(args: Any) -> Parcel:
    """The same from arguments that Celery has decoded already."""
    if len(args) < 2:
        raise BadParcel
    return Parcel(list(args), args[-2], args[-1], json.dumps(args[-1]))


def _arguments(text: str) -> tuple[list[Any], str]:
    """The arguments, and the text of the last one."""
    position = _after(text, '[', _after(text, '[', 0))
    args: list[Any] = []
    start = position
    while True:
        start = position
        value, position = _raw_decode(text, position)
        args.append(value)
        end = position
        position = _past(text, position)
        if text[position : position + 1] != ',':
            break
        position = _past(text, position + 1)
    _after(text, ']', position)
    return args, text[start:end]


def _after(text: str, sign: str, position: int) -> int:
    position = _past(text, position)
    if text[position : position + 1] != sign:
        raise ValueError(f'{sign} expected at {position}')
    return _past(text, position + 1)


def _past(text: str, position: int) -> int:
    match = _white(text, position)
    return match.end() if match else position
