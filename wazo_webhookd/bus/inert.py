"""Buses that are not there: in a worker nothing is heard, in standalone only what comes in over REST."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..domain.event import Event
from .callbacks import Handler
from .guests import BusForGuests, Flag


class LocalBus(BusForGuests):
    """Standalone's bus: handlers of guests hear of events posted over REST (``tell_guests``)."""

    def start(self) -> None:
        """Nothing to start: threads begin with the first event of a guest."""

    def stop(self, grace: float = 0) -> None:
        self._desk.stop()

    def pause(self) -> None:
        """Nothing arrives by itself."""

    def resume(self) -> None:
        """Nothing arrives by itself."""

    def subscribe_internal(self, event_name: str, handler: Handler) -> None:
        """Our own handlers never hear of events posted over REST, so here of none."""

    def consumer_connected(self) -> bool:
        return True

    def answers(self) -> bool:
        """Nobody is asked."""
        return True

    @property
    def is_running(self) -> Flag:
        return Flag(True)

    @property
    def counters(self) -> dict[str, int]:
        return {'malformed': 0, 'dropped': 0}


class InertBusConsumer(LocalBus):
    """A worker's bus: whatever a guest's ``load()`` subscribes is accepted and never called."""

    def tell_guests(self, event: Event) -> None:
        pass


class InertBusPublisher:
    """Standalone's publisher: accepts events and sends them nowhere."""

    @classmethod
    def from_config(cls, service_uuid: str, bus_config: Mapping[str, Any] | Any) -> InertBusPublisher:
        return cls()

    def publish(
        self,
        event: Any,
        headers: Mapping[str, Any] | None = None,
        routing_key: str | None = None,
        payload: Any = None,
    ) -> None:
        pass

    def close(self) -> None:
        pass

    def __enter__(self) -> InertBusPublisher:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
