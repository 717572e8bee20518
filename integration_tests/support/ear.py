"""A durable queue that hears all that our Wazo publishes, whoever is down meanwhile."""

from __future__ import annotations

import json
import uuid
from typing import Any, NamedTuple

from integration_tests.support.bus import WAZO_UUID, Bus
from integration_tests.support.until import until


class Heard(NamedTuple):
    name: str
    routing_key: str
    headers: dict[str, Any]
    body: dict[str, Any]
    properties: dict[str, Any]


class Ear:
    """``heard`` keeps everything in the order of its arrival; close it."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._queue = f'ear-{uuid.uuid4().hex[:8]}'
        self.heard: list[Heard] = []
        arguments = {'x-match': 'all', 'origin_uuid': WAZO_UUID}
        bus._trying(lambda channel: channel.queue_declare(self._queue, durable=True, auto_delete=False))
        bus._trying(lambda channel: channel.queue_bind(self._queue, bus.exchange, '', arguments=arguments))

    def names(self) -> list[str]:
        """The names of all events so far."""
        while message := self._bus._trying(lambda channel: channel.basic_get(self._queue, no_ack=True)):
            headers = dict(message.headers)
            routing_key = message.delivery_info['routing_key']
            self.heard.append(
                Heard(headers['name'], routing_key, headers, json.loads(message.body), dict(message.properties))
            )
        return [event.name for event in self.heard]

    def wait(self, number: int, seconds: float = 10) -> list[Heard]:
        """All events once there are so many."""
        until(lambda: len(self.names()) >= number, seconds, what=f'{number} events')
        return self.heard

    def close(self) -> None:
        self._bus.delete_queue(self._queue)
