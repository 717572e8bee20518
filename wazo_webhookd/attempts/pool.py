"""The pool that Celery sees: our hands, and what has to happen with the broker's connection."""

from __future__ import annotations

from typing import Any

from celery.concurrency.base import BasePool, apply_target

from .runtime import Front, Runtime


class Pool(BasePool):  # type: ignore[misc]  # Celery has no types
    """Given to ``WorkController(pool=…)``. Plain tasks run on the same hands as deliveries."""

    body_can_be_buffer = True
    signal_safe = False

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._consumer: Any = None

    @property
    def runtime(self) -> Runtime:
        runtime: Runtime = self.app.runtime
        return runtime

    @property
    def front(self) -> Front:
        front = self.runtime.front
        assert front is not None, 'this pool is for processes with hands'
        return front

    @property
    def num_processes(self) -> int:
        """What Celery sets the prefetch from after a reconnection."""
        hands = self.front.desk.hands
        return max(int(hands.count) - int(hands.lost), 1)

    def on_apply(
        self,
        target: Any,
        args: Any = None,
        kwargs: Any = None,
        callback: Any = None,
        accept_callback: Any = None,
        **options: Any,
    ) -> None:
        """A plain task of Celery's own kind."""
        self.front.desk.hands.submit(object(), lambda: apply_target(target, args, kwargs, callback, accept_callback))

    def register_with_event_loop(self, hub: Any) -> None:
        """Called at each (re)connection, just before messages are consumed."""
        self.front.loop.register(hub)
        consumer = self.runtime.controller.consumer
        self.front.switch.connected(consumer.task_consumer, consumer.qos)

    def flush(self) -> None:
        """The broker's connection was lost."""
        self.front.switch.disconnected()
        self.runtime.keeper.hold_all_soon()

    def on_stop(self) -> None:
        self.front.switch.disconnected()
        self.front.desk.hands.close()

    on_terminate = on_stop

    def _get_info(self) -> dict[str, Any]:
        hands = self.front.desk.hands
        return {**super()._get_info(), 'hands': hands.count, 'busy': hands.busy, 'written-off': hands.lost}
