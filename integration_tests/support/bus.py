"""Publish Wazo events on the real bus as Wazo services do, and look at its queues."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import amqp
from amqp.exceptions import ConnectionForced, NotFound, RecoverableConnectionError

WAZO_UUID = '54e9c1b3-f9a6-43ba-8e6b-bd2d2c21c7bb'


def event(
    name: str, data: Any = None, *, tenant: str | None = None, users: tuple[str, ...] = (), **headers: Any
) -> dict[str, Any]:
    """The headers of an event as Wazo publishes it; without ``users`` it is for everybody in the tenant."""
    audience = {f'user_uuid:{user}': True for user in users} or ({'user_uuid:*': True} if tenant else {})
    return {
        'name': name,
        'origin_uuid': WAZO_UUID,
        'timestamp': datetime.now().isoformat(),
        'required_access': f'event.{name}',
        'required_acl': f'events.{name}',
        **({'tenant_uuid': tenant} if tenant else {}),
        **audience,
        **headers,
    }


class Bus:
    """One connection that publishes with confirmation; connects again when it was lost.

    What is not confirmed is published again, so an event may come twice when the broker goes away in between.
    """

    def __init__(
        self, host: str, port: int, vhost: str, exchange: str = 'wazo-headers', username: str = 'guest'
    ) -> None:
        self._where = {'host': f'{host}:{port}', 'virtual_host': vhost, 'userid': username, 'password': 'guest'}
        self.exchange = exchange
        self.patience = 20.0
        self.repetitions = 0
        """How often something was done again because the broker did not confirm it."""

        self._connection: amqp.Connection | None = None
        self._channel: Any = None

    def close(self) -> None:
        if self._connection is not None:
            self._connection.collect()
        self._connection = self._channel = None

    def publish(self, name: str, data: Any = None, **more: Any) -> dict[str, Any]:
        """Publish one event and return its body; ``more`` as in ``event``."""
        headers = event(name, **more)
        body = {**headers, 'data': {} if data is None else data}
        self.publish_raw(json.dumps(body), headers)
        return body

    def publish_raw(
        self,
        body: str | bytes,
        headers: Mapping[str, Any],
        *,
        content_type: str | None = 'application/json',
        content_encoding: str | None = 'utf-8',
        queue: str | None = None,
        **properties: Any,
    ) -> None:
        """Publish exactly this (``queue``: past the exchange, into it); returns when the broker confirmed it."""
        message = amqp.Message(
            body,
            application_headers=dict(headers),
            content_type=content_type,
            content_encoding=content_encoding,
            delivery_mode=2,
            **properties,
        )
        where = (self.exchange, str(headers.get('name', ''))) if queue is None else ('', queue)
        self._trying(lambda channel: channel.basic_publish_confirm(message, *where))

    def depth(self, queue: str) -> int | None:
        """Messages ready in the queue; None when there is no such queue."""
        try:
            return int(self._trying(lambda channel: channel.queue_declare(queue, passive=True)).message_count)
        except NotFound:
            self.close()
            return None

    def delete_queue(self, queue: str) -> None:
        self._trying(lambda channel: channel.queue_delete(queue))

    def declare_exchange(self) -> None:
        self._trying(
            lambda channel: channel.exchange_declare(self.exchange, 'headers', durable=True, auto_delete=False)
        )

    def _trying(self, action: Callable[[Any], Any]) -> Any:
        """Do it; when the broker is away, connect and do it again until ``patience`` seconds are over."""
        deadline = time.monotonic() + self.patience
        while True:
            try:
                return action(self._open())
            except (OSError, RecoverableConnectionError, ConnectionForced):
                self.close()
                if time.monotonic() >= deadline:
                    raise
                time.sleep(0.1)
                self.repetitions += 1

    def _open(self) -> Any:
        if self._channel is None or not self._channel.is_open:
            self.close()
            self._connection = amqp.Connection(**self._where, confirm_publish=True, connect_timeout=5, heartbeat=0)
            self._connection.connect()
            self._channel = self._connection.channel()
        return self._channel
