"""Which notification an event becomes (reference: delivery 6.2)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

INCOMING_CALL: Final = 'incomingCall'
CANCEL_INCOMING_CALL: Final = 'cancelIncomingCall'
VOICEMAIL_RECEIVED: Final = 'voicemailReceived'
MESSAGE_RECEIVED: Final = 'messageReceived'
MISSED_CALL: Final = 'missedCall'

RESERVED_TYPES: Final = (MESSAGE_RECEIVED, VOICEMAIL_RECEIVED, INCOMING_CALL, CANCEL_INCOMING_CALL, MISSED_CALL)
"""Types that only events may have."""

EVENTS: Final = (
    'chatd_user_room_message_created',
    'call_push_notification',
    'call_cancel_push_notification',
    'user_voicemail_message_created',
    'global_voicemail_message_created',
    'user_missed_call',
)
"""The events that become a notification."""

CONTENT_CHARACTERS: Final = 100


@dataclass(frozen=True, slots=True)
class Notification:
    """``data_only``: the application decides whether and how to show it."""

    type: str
    title: str | None = None
    body: str | None = None
    items: Mapping[str, Any] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)
    data_only: bool = False

    def data(self) -> dict[str, Any]:
        """What applications read. Nothing in ``extra`` can pass for another type."""
        extra = {key: value for key, value in self.extra.items() if key not in ('notification_type', 'items')}
        return {'notification_type': self.type, 'items': dict(self.items), **extra}


class Skipped(Exception):
    """There is nothing to tell the user; the message says why."""


class Incomplete(Exception):
    """The event lacks something; the message says what."""


def of_event(event: Mapping[str, Any], user_uuid: str, now: datetime) -> Notification:
    """The notification that the body of an event becomes for a user. ``now``: aware, when it is sent.

    Raises Skipped or Incomplete.
    """
    name = event.get('name')
    build = _BUILDERS.get(name) if isinstance(name, str) else None
    if build is None:
        raise Skipped(f'event {name} has no push notification')
    data = event.get('data')
    if not isinstance(data, Mapping):
        raise Incomplete('the event has no data')
    if build is _message and data.get('user_uuid') == user_uuid:
        raise Skipped('it is a message of the user')
    notification_type, title, body, items, data_only = build(data)
    items = {**items, 'notification_timestamp': now.isoformat()}
    if data_only:
        items['data_only'] = True
    return Notification(notification_type, title, body, items, {}, data_only)


def of_request(request: Mapping[str, Any]) -> Notification:
    """The notification of ``POST /mobile/notifications``."""
    extra = dict(request.get('extra') or {})
    items = extra.pop('items', None)
    return Notification(
        request['notification_type'],
        request['title'],
        request['body'],
        items if isinstance(items, Mapping) else {},
        extra,
    )


Parts = tuple[str, str | None, str | None, Mapping[str, Any], bool]


def _call(data: Mapping[str, Any]) -> Parts:
    if 'peer_caller_id_number' not in data:
        raise Incomplete('the event has no data.peer_caller_id_number')
    return INCOMING_CALL, 'Incoming Call', f'From: {data["peer_caller_id_number"]}', data, False


def _cancelled_call(data: Mapping[str, Any]) -> Parts:
    return CANCEL_INCOMING_CALL, None, None, data, True


def _voicemail(data: Mapping[str, Any]) -> Parts:
    message = data.get('message')
    if not isinstance(message, Mapping):
        raise Incomplete('the event has no data.message')
    name, number = message.get('caller_id_name') or 'Unknown', message.get('caller_id_num') or ''
    return VOICEMAIL_RECEIVED, 'New Voicemail', f'From: {name} ({number})', data, True


def _message(data: Mapping[str, Any]) -> Parts:
    content = str(data.get('content') or '')
    if len(content) > CONTENT_CHARACTERS:
        content = f'{content[: CONTENT_CHARACTERS - 3]}...'
    return MESSAGE_RECEIVED, f'New Message from {data.get("alias") or "[Unknown]"}', content, data, True


def _missed_call(data: Mapping[str, Any]) -> Parts:
    name, number = data.get('caller_id_name'), data.get('caller_id_number')
    items = {'caller_id_name': name, 'caller_id_number': number}
    body = f'From: {name or "<name unknown>"} ({number or "<number unknown>"})'
    return MISSED_CALL, 'Missed Call', body, items, True


_BUILDERS: Final[Mapping[str, Callable[[Mapping[str, Any]], Parts]]] = {
    'call_push_notification': _call,
    'call_cancel_push_notification': _cancelled_call,
    'user_voicemail_message_created': _voicemail,
    'global_voicemail_message_created': _voicemail,
    'chatd_user_room_message_created': _message,
    'user_missed_call': _missed_call,
}
