"""Publishes single events on the bus, for guests and for our own announcements."""

from __future__ import annotations

import json
import logging
import select
import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from . import broker, events
from .broker import BrokerAddress

logger = logging.getLogger(__name__)

RETRIES: Final = 2
RETRY_SECONDS: Final = 1.0
CONFIRM_SECONDS: Final = 10
PERSISTENT: Final = 2


class BusPublisher:
    """Thread-safe; connects at the first event. Usable as a context manager."""

    def __init__(self, service_uuid: str, bus: Any) -> None:
        """``service_uuid``: uuid of this Wazo server; ``bus``: the configuration section, or a mapping like it."""
        self._origin_uuid = service_uuid
        self._exchange = str(broker.setting(bus, 'exchange_name', 'wazo-headers'))
        self._exchange_type = str(broker.setting(bus, 'exchange_type', 'headers'))
        self._address = BrokerAddress.from_config(bus)
        self._lock = threading.Lock()
        self._connection: Any = None
        self._channel: Any = None

    @classmethod
    def from_config(cls, service_uuid: str, bus_config: Any) -> BusPublisher:
        return cls(service_uuid, bus_config)

    def publish(
        self,
        event: Any,
        headers: Mapping[str, Any] | None = None,
        routing_key: str | None = None,
        payload: Any = None,
    ) -> None:
        """Publish an event object (``name``; ``marshal()`` or ``content``; perhaps ``headers``, ``routing_key``,
        ``required_acl``, ``tenant_uuid``) and return when RabbitMQ has it.

        ``payload`` replaces the event's data, ``headers`` are added. Raises kombu.exceptions.OperationalError
        after two more tries, a second apart.
        """
        self.send(self._built(event, headers, routing_key, payload))

    def send(self, event: events.PlatformEvent) -> None:
        """Publish an event that is built already; like ``publish`` otherwise."""
        message = message_of(event.headers, event.body)
        for tries_left in range(RETRIES, -1, -1):
            try:
                self._send(message, event.routing_key)
                return
            except broker.TROUBLE as error:
                if not tries_left:
                    from kombu.exceptions import OperationalError

                    raise OperationalError(f'event {event.name} could not be published: {error}') from error
                logger.info('event %s is published again in a second: %s', event.name, error)
                time.sleep(RETRY_SECONDS)

    def close(self) -> None:
        with self._lock:
            self._forget()

    def __enter__(self) -> BusPublisher:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _built(
        self, event: Any, headers: Mapping[str, Any] | None, routing_key: str | None, payload: Any
    ) -> events.PlatformEvent:
        if isinstance(event, Mapping):
            raise TypeError('an event is an object with a name and its content (or marshal()), not a mapping')
        key = routing_key if routing_key is not None else getattr(event, 'routing_key', None) or ''
        own = _headers_of(event)
        return events.build(
            event.name,
            _data_of(event) if payload is None else payload,
            origin_uuid=self._origin_uuid,
            routing_key=key,
            now=datetime.now(UTC),
            tenant_uuid=own.get('tenant_uuid'),
            required_acl=getattr(event, 'required_acl', None),
            extra={**own, **(headers or {})},
        )

    def _send(self, message: Any, routing_key: str) -> None:
        with self._lock:
            try:
                channel = self._ready()
                channel.basic_publish_confirm(
                    message, self._exchange, routing_key, confirm_timeout=CONFIRM_SECONDS, timeout=CONFIRM_SECONDS
                )
            except BaseException:
                self._forget()
                raise

    def _ready(self) -> Any:
        """The channel, on a connection that was heard of since the last event."""
        if self._connection is not None:
            try:
                while select.select([self._connection.sock], [], [], 0)[0]:
                    self._connection.blocking_read()
                self._connection.heartbeat_tick()
            except (*broker.TROUBLE, AttributeError):
                self._forget()
        if self._connection is None:
            connection = broker.connect(self._address, 'wazo-webhookd publisher')
            self._connection = connection
            broker.declare_exchange(connection, self._exchange, self._exchange_type)
            self._channel = broker.open_channel(connection)
        return self._channel

    def _forget(self) -> None:
        connection, self._connection, self._channel = self._connection, None, None
        broker.close(connection)


def message_of(headers: Mapping[str, Any], body: Mapping[str, Any]) -> Any:
    """The persistent AMQP message of an event."""
    return broker.message(
        json.dumps(body),
        content_type='application/json',
        content_encoding='utf-8',
        delivery_mode=PERSISTENT,
        application_headers=dict(headers),
    )


def _headers_of(event: Any) -> dict[str, Any]:
    """What an event object adds to the headers: its ``headers``, else its public attributes but its content."""
    own = getattr(event, 'headers', None)
    if callable(own):
        own = own()
    if not isinstance(own, Mapping):
        own = {
            key: value
            for key, value in vars(event).items()
            if not key.startswith('_') and key not in ('content', 'routing_key', 'required_acl')
        }
    return {key: value for key, value in own.items() if value is not None}


def _data_of(event: Any) -> Any:
    marshal = getattr(event, 'marshal', None)
    return marshal() if callable(marshal) else getattr(event, 'content', {})
