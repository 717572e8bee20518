"""Makes events of messages, and counts those that are none."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import Any

from ..domain.event import Event
from ..domain.uuids import new_uuid
from .message import Limits, Malformed, Properties, decode
from .rarely import Rarely

logger = logging.getLogger(__name__)


class Reception:
    """What is refused is logged with its reason, a line each (at most so many a minute)."""

    def __init__(self, max_event_bytes: int) -> None:
        self._limits = Limits(body_bytes=max_event_bytes)
        self._complaints = Rarely(logger)
        self.malformed = 0
        self.dropped = 0

    def event_of(self, message: Any) -> Event | None:
        """The event in a message of the AMQP library; None if there is none. Never raises."""
        try:
            return self._decoded(message)
        except Malformed as malformed:
            self.malformed += 1
            self._complaints.warning('malformed message acknowledged and ignored: %s', malformed.reason)
        except Exception:
            self.malformed += 1
            logger.exception('message that cannot be read acknowledged and ignored')
        return None

    def refused(self, event: Event, reason: object) -> None:
        """An event that can never be stored."""
        self.malformed += 1
        self._complaints.warning('event %s acknowledged and ignored: %s', event.name, reason)

    def dropped_by_limits(self, queue: str) -> None:
        """One fell out of the queue."""
        self.dropped += 1
        self._complaints.warning('an event was dropped by the limits of queue %s', queue)

    def _decoded(self, message: Any) -> Event | None:
        body = message.body if isinstance(message.body, bytes) else b''  # the library's word for no body is ''
        if len(body) > self._limits.body_bytes:
            self.dropped += 1
            self._complaints.warning(
                'event dropped: %d bytes, more than bus.max_event_bytes (%d)', len(body), self._limits.body_bytes
            )
            return None
        given = message.properties
        return decode(
            body,
            headers=given.get('application_headers'),
            properties=Properties(given.get('content_type'), given.get('content_encoding'), given.get('message_id')),
            redelivered=bool(message.delivery_info['redelivered']),
            limits=self._limits,
            uuid=new_uuid(),
            received_at=datetime.now(UTC),
        )
