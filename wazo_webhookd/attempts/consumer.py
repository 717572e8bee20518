"""Celery's consumer of task messages, with a short way for deliveries and a switch for taking them."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable
from typing import Any, Final

from celery.exceptions import WorkerShutdown
from celery.worker import state
from celery.worker.consumer import Consumer as CeleryConsumer

from wazo_webhookd.celery import HOOK_RUNNER
from wazo_webhookd.domain.delivery import TICKET_HEADER

from .messages import BrokerMessage
from .parcel import BadParcel, ticket_of

logger = logging.getLogger(__name__)

DRAIN_SECONDS: Final = 0.05
REFUSED_SECONDS: Final = 2


class Consumer(CeleryConsumer):  # type: ignore[misc]  # Celery has no types
    """Deliveries go to the desk of this process, past Celery's request objects and tracing; all else stays Celery's."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.hub is None:
            self.loop = memory_loop

    @property
    def runtime(self) -> Any:
        return self.app.runtime

    def create_task_handler(self, *args: Any, **kwargs: Any) -> Callable[[Any], None]:
        """What is called with each message, on the broker's thread."""
        of_celery: Callable[[Any], None] = super().create_task_handler(*args, **kwargs)
        front = self.runtime.front
        if front is None:
            return self._for_prefork(of_celery)
        receive = front.desk.receive
        loop = None if self.hub is None else front.loop

        def on_message(message: Any) -> None:
            headers = message.headers
            if not headers or TICKET_HEADER not in headers:
                of_celery(message)
                return
            try:
                ticket = ticket_of(headers)
            except BadParcel as error:
                logger.error('dropped a message: %s', error)
                BrokerMessage(message, loop).acknowledge()
                return
            redelivered = bool((message.delivery_info or {}).get('redelivered'))
            receive(ticket, headers, message.body, BrokerMessage(message, loop), redelivered)

        return on_message

    def _for_prefork(self, of_celery: Callable[[Any], None]) -> Callable[[Any], None]:
        """A delivery for a task that is not here still has to end in a row: the hook runner writes it."""

        def on_message(message: Any) -> None:
            headers = message.headers
            if headers and TICKET_HEADER in headers and headers.get('task') not in self.strategies:
                headers['task'] = HOOK_RUNNER
            of_celery(message)

        return on_message

    def ensure_connected(self, conn: Any) -> Any:
        """Wait for the broker, asking every few seconds, for ever."""
        told = False

        def on_error(error: Exception, interval: float) -> None:
            nonlocal told
            log = logger.debug if told else logger.warning
            log('the task broker at %s cannot be reached (%s): trying again', conn.host, error)
            told = True

        while True:
            try:
                connected = conn.ensure_connection(
                    on_error, None, interval_start=0.2, interval_step=0.3, interval_max=2, callback=self._while_waiting
                )
            except conn.connection_errors + conn.channel_errors as error:
                # It answers, but does not let us in: a wrong password, no such virtual host.
                on_error(error, REFUSED_SECONDS)
                for _ in range(REFUSED_SECONDS):
                    self._while_waiting()
                    time.sleep(1)
            else:
                self.first_connection_attempt = False
                return connected

    def _while_waiting(self) -> None:
        """Called about every second while there is no broker."""
        self.runtime.beat()
        state.maybe_shutdown()


def memory_loop(
    consumer: Any, connection: Any, task_consumer: Any, blueprint: Any, hub: Any, qos: Any, *rest: Any, **options: Any
) -> None:
    """The loop for the in-memory transport: like Celery's, but ends soon after it was told to.

    Raises WorkerShutdown, as Celery's loops do.
    """
    front = consumer.runtime.front
    task_consumer.on_message = consumer.create_task_handler()
    task_consumer.consume()
    front.switch.connected(task_consumer, qos)
    consumer.on_ready()
    while consumer.connection:
        if front.switch.ended:
            raise WorkerShutdown(0)
        if qos.prev != qos.value:
            qos.update()
        consumer.perform_pending_operations()
        front.loop.run()
        with contextlib.suppress(TimeoutError):
            connection.drain_events(timeout=DRAIN_SECONDS)
