"""The one Celery application: guests, the daemon's sender and the workers share it.

Importing this module neither connects nor reads configuration; ``configure`` is called once per process by the hall.
"""

from __future__ import annotations

from typing import Any, Final, Protocol

from celery import Celery
from kombu.entity import Exchange, Queue
from kombu.transport import TRANSPORT_ALIASES, pyamqp

from wazo_webhookd.bus.ahead import ReadsAhead

HOOK_RUNNER: Final = 'wazo_webhookd.plugins.subscription.celery_tasks.hook_runner_task'
"""Name of the task that runs services of the run contract, and deliveries which no service takes."""

MEMORY_POLLING_SECONDS: Final = 0.005
HEARTBEAT_SECONDS: Final = 30

app = Celery(task_cls='wazo_webhookd.attempts.task:HookTask')


class BrokerConnection(ReadsAhead):
    """Kombu's own, but reading ahead."""

    Channel = pyamqp.Channel


class BrokerTransport(pyamqp.Transport):
    """Celery's way to RabbitMQ."""

    Connection = BrokerConnection


READS_AHEAD: Final = 'amqp-ahead'
TRANSPORT_ALIASES[READS_AHEAD] = f'{__name__}:BrokerTransport'


class CelerySettings(Protocol):
    """What of ``config.celery`` is used here."""

    @property
    def broker(self) -> str: ...
    @property
    def exchange_name(self) -> str: ...
    @property
    def queue_name(self) -> str: ...
    @property
    def hands(self) -> int: ...


class Config(Protocol):
    @property
    def celery(self) -> Any: ...  # CelerySettings
    @property
    def log_level(self) -> int: ...


def suspects_queue(queue_name: str) -> str:
    """The queue of deliveries that were twice in a worker when it died; one-hand processes consume it."""
    return f'{queue_name}.suspects'


def configure(application: Celery, config: Config, *, standalone: bool = False) -> None:
    """Apply the settings; ``standalone`` replaces the broker by Celery's in-memory transport.

    Names, exchange, queue and serializer are those that today's clients know (reference, delivery 3.1). What
    nobody reads is off: results, events, gossip, remote control, a redirected stdout.
    """
    application.set_default()  # in other threads than this one, too
    settings: CelerySettings = config.celery
    exchange: Any = Exchange(settings.exchange_name, type='direct', durable=True)  # type: ignore[no-untyped-call]
    queue: Any = Queue
    names = (settings.queue_name, suspects_queue(settings.queue_name))
    application.conf.update(
        broker_url='memory://localhost//' if standalone else settings.broker,
        broker_transport=READS_AHEAD if settings.broker.startswith('amqp://') and not standalone else None,
        broker_transport_options={'polling_interval': MEMORY_POLLING_SECONDS} if standalone else {},
        broker_heartbeat=None if standalone else HEARTBEAT_SECONDS,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        # A channel that the broker closed (a message unacknowledged for half an hour while the database was away) is
        # opened again; the worker must not end with results that are not recorded yet.
        broker_channel_error_retry=True,
        task_queues=[queue(name, exchange, routing_key=name, durable=True) for name in names],
        task_default_queue=settings.queue_name,
        task_default_exchange=settings.exchange_name,
        task_default_exchange_type='direct',
        task_default_routing_key=settings.queue_name,
        task_serializer='json',
        accept_content=['json'],
        task_ignore_result=True,
        task_store_errors_even_if_ignored=False,
        result_backend=None,
        # A task is acknowledged when its result is in the database; a process that dies leaves its row to the
        # admitter, which knows how often that happened, so the broker shall not hand the message round.
        task_acks_late=True,
        task_acks_on_failure_or_timeout=True,
        task_reject_on_worker_lost=False,
        worker_prefetch_multiplier=1,
        # On, a worker whose broker connection was lost while it was busy can stay deaf for ever.
        worker_enable_prefetch_count_reduction=False,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        worker_concurrency=settings.hands,
        worker_send_task_events=False,
        task_send_sent_event=False,
        worker_enable_remote_control=False,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        worker_max_tasks_per_child=1000,
        worker_max_memory_per_child=300_000,  # KiB; an idle process has 90,000
        enable_utc=True,
        timezone='UTC',
    )
