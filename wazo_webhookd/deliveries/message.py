"""How a delivery looks as a message of Celery's protocol 2, made without decoding or encoding what is JSON already."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable
from typing import Any, Final, NamedTuple, Protocol

from ..domain.delivery import MESSAGE_SECONDS, TICKET_HEADER

_encode: Final = json.JSONEncoder(separators=(',', ':')).encode
_END: Final = b'],{},{"callbacks":null,"errbacks":null,"chain":null,"chord":null}]'


class Route(Protocol):
    """What the loaded service of a name needs (services.loader)."""

    @property
    def task_name(self) -> str: ...
    @property
    def ep_name(self) -> str: ...
    @property
    def contract(self) -> str: ...


class Card(Protocol):
    @property
    def service(self) -> str: ...
    @property
    def endpoint(self) -> str: ...
    @property
    def document(self) -> bytes: ...


class Parcel(NamedTuple):
    """A delivery that is out and has to be sent. ``text``: the event's body as JSON; ``sent_at``: Unix seconds."""

    uuid: str
    subscription: str
    event: str
    card: Card
    text: str
    attempt: int
    send: int
    max_attempts: int
    sent_at: float
    suspect: bool = False


class Message(NamedTuple):
    body: bytes
    headers: dict[str, Any]
    properties: dict[str, Any]


class Writer:
    """Makes messages. ``route(service name)`` says which task they are for."""

    def __init__(self, route: Callable[[str], Route]) -> None:
        self._route = route
        self._origin = f'wazo-webhookd:{os.getpid()}@{socket.gethostname()}'

    def write(self, parcel: Parcel, age: float) -> Message:
        """``age``: seconds since it was marked out; the broker drops it when the rest of MESSAGE_SECONDS has passed."""
        card = parcel.card
        route = self._route(card.service)
        front = b'[['
        if route.contract != 'task':
            front = f'[["{parcel.uuid}",{json.dumps(route.ep_name)},null,'.encode()
        headers = {
            'lang': 'py',
            'task': route.task_name,
            'id': parcel.uuid,
            'root_id': parcel.uuid,
            'retries': parcel.attempt - 1,
            'argsrepr': '(…)',
            'kwargsrepr': '{}',
            'origin': self._origin,
            'ignore_result': True,
            TICKET_HEADER: _ticket(parcel),
        }
        properties = {
            'correlation_id': parcel.uuid,
            'delivery_mode': 1,  # the database is the truth: the broker need not write it down
            'expiration': str(max(1, int((MESSAGE_SECONDS - age) * 1000))),
        }
        return Message(front + card.document + b',' + parcel.text.encode() + _END, headers, properties)


def _ticket(parcel: Parcel) -> str:
    """``Ticket(…).to_header()`` as JSON; a table in the message would cost both sides more."""
    card = parcel.card
    return _encode(
        {
            'delivery': parcel.uuid,
            'subscription': parcel.subscription,
            'event': parcel.event,
            'service': card.service,
            'endpoint': card.endpoint,
            'attempt': parcel.attempt,
            'send': parcel.send,
            'max_attempts': parcel.max_attempts,
            'sent_at': parcel.sent_at,
            'suspect': parcel.suspect,
        }
    )
