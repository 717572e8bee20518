"""Publishes many messages on one channel, and collects RabbitMQ's confirmations of them afterwards."""

from __future__ import annotations

import time
from typing import Any, Final

CONFIRM_SECONDS: Final = 15.0


class Unconfirmed(OSError):
    """RabbitMQ did not confirm what was published."""


class Confirmations:
    """A channel in confirm mode. After any exception use a new one."""

    def __init__(self, channel: Any) -> None:
        self._channel = channel
        self._last = 0
        self._outstanding: set[int] = set()
        self._refused = False
        channel.events['basic_ack'].add(self._on_ack)
        channel.events['basic_nack'].add(self._on_nack)
        channel.confirm_select()

    def publish(self, message: Any, exchange: str, routing_key: str) -> None:
        self._last += 1
        self._outstanding.add(self._last)
        self._channel.basic_publish(message, exchange, routing_key)

    def wait(self) -> None:
        """Return when everything published is confirmed. Raises Unconfirmed, or what a broken connection raises."""
        deadline = time.monotonic() + CONFIRM_SECONDS
        while self._outstanding:
            if self._refused or time.monotonic() > deadline:
                raise Unconfirmed('RabbitMQ did not confirm what was published')
            try:
                self._channel.connection.drain_events(timeout=1)
            except TimeoutError:
                continue

    def close(self) -> None:
        self._channel.close()

    def _on_ack(self, tag: int, multiple: bool) -> None:
        if multiple:
            self._outstanding = {outstanding for outstanding in self._outstanding if outstanding > tag}
        else:
            self._outstanding.discard(tag)

    def _on_nack(self, tag: int, multiple: bool) -> None:
        self._refused = True
