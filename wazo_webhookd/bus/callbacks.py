"""What a handler of bus events is called with, and whether it is called (kept for guests: reference, 1.3, 1.4, 7.6)."""

from __future__ import annotations

import functools
import inspect
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from ..domain.event import Event

Handler = Callable[..., Any]

GLOBAL_VOICEMAIL: Final = 'global_voicemail_message_created'
EVERYBODY: Final = 'user_uuid:*'


class GuestBody(dict[str, Any]):
    """The body of an event, in which ``body['uuid']`` finds ``body['data']['uuid']`` when it has no ``uuid`` itself.

    Equal to the plain dict and serialised like it; ``get`` and ``in`` look at the top level only.
    """

    def __missing__(self, key: str) -> Any:
        data = self.get('data')
        if isinstance(data, dict):
            return data[key]
        raise KeyError(key)


class GuestEvent(Mapping[str, Any]):
    """The same event as a read-only mapping that also passes for a kombu message; acknowledging it does nothing."""

    content_type = 'application/json'
    content_encoding = 'utf-8'
    acknowledged = True
    channel = None

    def __init__(self, body: GuestBody, text: str, headers: Mapping[str, Any]) -> None:
        self.payload = body
        self.body = text
        self.headers = dict(headers)
        self.properties: dict[str, Any] = {}
        self.delivery_info: dict[str, Any] = {'redelivered': False, 'exchange': '', 'routing_key': ''}

    def __getitem__(self, key: str) -> Any:
        return self.payload[key]

    def __contains__(self, key: object) -> bool:
        return key in self.payload

    def __iter__(self) -> Iterator[str]:
        return iter(self.payload)

    def __len__(self) -> int:
        return len(self.payload)

    def decode(self) -> GuestBody:
        return self.payload

    def ack(self, *args: Any, **kwargs: Any) -> None:
        """Nothing: events are acknowledged by the daemon, once they are stored."""

    reject = requeue = ack_log_error = reject_log_error = ack


@dataclass(frozen=True, slots=True)
class Registration:
    """One handler of one event name. ``key`` is the uuid given to ``subscribe_to_event_names``, else None."""

    event_name: str
    handler: Handler
    headers: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    match_all: bool = True
    key: str | None = None

    def wants(self, headers: Mapping[str, Any], *, check_headers: bool = True) -> bool:
        """Would the binding arguments of this handler match an event (of its name) with these headers?"""
        if not check_headers:
            return True
        wanted = [(key, value) for key, value in self.headers.items() if not key.startswith('x-') and key != 'name']
        if not wanted:
            return True
        found = (key in headers and _same(headers[key], value) for key, value in wanted)
        return all(found) if self.match_all else any(found)

    def call(self, event: Event) -> None:
        """Call the handler with a copy of its own. Raises whatever the handler raises."""
        body = json.loads(event.text)
        if self.key is not None:
            body = GuestBody(body)
            second: Any = GuestEvent(body, event.text, event.headers)
        else:
            second = dict(event.headers)
        if takes_two(self.handler):
            self.handler(body, second)
        else:
            self.handler(body)


def event_name_registration(
    uuid: str, event_name: str, user_uuid: str | None, wazo_uuid: str | None, callback: Handler
) -> Registration:
    """The registration behind ``subscribe_to_event_names`` for one of its names."""
    headers: dict[str, Any] = {}
    if user_uuid is not None:
        headers[EVERYBODY if event_name == GLOBAL_VOICEMAIL else f'user_uuid:{user_uuid}'] = True
    if wazo_uuid is not None:
        headers['origin_uuid'] = str(wazo_uuid)
    return Registration(event_name, callback, headers, True, uuid)


def _same(header: Any, wanted: Any) -> bool:
    """As RabbitMQ compares: a truth value is no number."""
    return bool(header == wanted) and isinstance(header, bool) is isinstance(wanted, bool)


def takes_two(handler: Handler) -> bool:
    """Exactly two parameters: called with body and headers; any other number: with the body alone.

    Two catch-alls (``*args, **kwargs``) and objects that show no signature count as two.
    """
    try:
        return len(inspect.signature(handler).parameters) == 2
    except (TypeError, ValueError):
        return True


def owner_of(handler: Handler) -> str:
    """The name of the guest that a handler belongs to: its top package."""
    while isinstance(handler, functools.partial):
        handler = handler.func
    module = getattr(handler, '__module__', None) or type(handler).__module__
    return str(module).partition('.')[0]
