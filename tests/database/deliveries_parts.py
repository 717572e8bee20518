"""What the tests of deliveries need: rows made by hand, a small catalog, a sender that keeps what it is given."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

from sqlalchemy import insert, select, update

from wazo_webhookd.database import facts, processes
from wazo_webhookd.database.models import Delivery, JournalEvent, Process, Subscription, SubscriptionOption
from wazo_webhookd.database.types import seconds_ago
from wazo_webhookd.deliveries.admitter import Admitter
from wazo_webhookd.deliveries.desk import Desk
from wazo_webhookd.deliveries.intake import Arrival, Intake
from wazo_webhookd.domain.admission import Rules
from wazo_webhookd.domain.delivery import Word
from wazo_webhookd.domain.event import Event
from wazo_webhookd.domain.retry import Schedule

DELIVERY = Delivery.__table__
JOURNAL = JournalEvent.__table__
SUBSCRIPTION = Subscription.__table__
PROCESS = Process.__table__


def card(uuid: str, tenant: str = 'tenant', endpoint: str | None = None, service: str = 'http', **more: Any) -> Any:
    document = {'uuid': uuid, 'name': uuid, 'owner_tenant_uuid': tenant, 'owner_user_uuid': None, **more}
    return SimpleNamespace(
        uuid=uuid,
        tenant_uuid=tenant,
        service=service,
        endpoint=endpoint or f'{tenant}|https://{uuid}:443',
        document=json.dumps(document).encode(),
    )


class Catalog:
    """Every card wants the events that are named in ``wishes`` (subscription -> names)."""

    def __init__(self) -> None:
        self.version = 0
        self.cards: dict[str, Any] = {}
        self.wishes: dict[str, set[str]] = {}
        self.later: dict[int, Callable[[], None]] = {}

    def add(self, uuid: str, names: Iterable[str] = ('call',), **more: Any) -> None:
        self.cards[uuid] = card(uuid, **more)
        self.wishes[uuid] = set(names)

    def remove(self, uuid: str) -> None:
        self.cards.pop(uuid, None)
        self.wishes.pop(uuid, None)

    def match(self, event: Event) -> list[Any]:
        if event.name == 'unmatchable':
            raise RuntimeError('a bug')
        return [self.cards[uuid] for uuid, names in self.wishes.items() if event.name in names]

    def wants(self, name: str) -> bool:
        return any(name in names for names in self.wishes.values())

    def card(self, uuid: str) -> Any:
        return self.cards.get(uuid)

    def catch_up(self, connection: Any, version: int) -> None:
        for number in range(self.version + 1, version + 1):
            self.later.pop(number, lambda: None)()
        self.version = max(self.version, version)


class Sender:
    """Keeps parcels. ``ready`` False: hands them back at once, as the real one does."""

    def __init__(self) -> None:
        self.ready = True
        self.parcels: list[Any] = []
        self.on_unsent: Callable[[Any], None] = lambda parcels: None
        self.on_change: Callable[[], None] = lambda: None
        self.before: Callable[[], None] = lambda: None

    def send(self, parcels: Iterable[Any]) -> None:
        parcels = list(parcels)
        if not parcels:
            return
        self.before()
        if self.ready:
            self.parcels += parcels
        else:
            self.on_unsent(parcels)

    def set_ready(self, ready: bool) -> None:
        self.ready = ready
        self.on_change()

    @property
    def uuids(self) -> list[str]:
        return [parcel.uuid for parcel in self.parcels]

    @property
    def events(self) -> list[str]:
        return [parcel.event for parcel in self.parcels]


class Daemon:
    """Intake and admitter over a database, with a worker that is a row, and without a broker."""

    def __init__(self, database: Any, *, hands: int = 64, life: str | None = None, rules: Rules | None = None) -> None:
        self.database = database
        self.life = life or f'daemon-{uuid4()}'[:36]
        self.catalog = Catalog()
        self.sender = Sender()
        with database.transaction() as connection:
            processes.register(connection, self.life, 'daemon', 'host', 1, 0)
            if hands:
                processes.register(connection, f'worker-{uuid4()}'[:36], 'worker', 'host', 2, hands)
        self.desk = Desk(database, self.catalog, rules or Rules(), life=self.life)
        self.suspects: list[int] = []
        self.trouble: list[bool] = []
        self.intake = Intake(
            self.desk, self.sender, Schedule((0.0, 5.0, 30.0)), retention_days=30, on_trouble=self.trouble.append
        )
        self.admitter = Admitter(
            self.desk, self.sender, origin_uuid='origin', retention_days=30, on_suspects=self.suspects.append
        )

    def subscribe(self, uuid: str, names: Iterable[str] = ('call',), **more: Any) -> None:
        with self.database.transaction() as connection:
            add_subscription(connection, uuid)
        self.catalog.add(uuid, names, **more)

    def round(self, times: int = 1) -> None:
        """What the admitter's thread does, on this one."""
        for _ in range(times):
            self.admitter._round()

    def take_over(self) -> None:
        """Become the admitting one; the server may need a moment to see that another session is closed."""
        until(lambda: self.round() or self.desk.lease.held)

    def expect_orphans(self) -> None:
        """As if the database had been there for long."""
        self.desk.outage.ended(1e6)

    def again(self, *names: str) -> None:
        """Let periodic work be due."""
        for name in names or ('recount', 'scan', 'hands', 'expire', 'expire all', 'write', 'forget'):
            self.admitter._due.soon(name)

    def receive(self, *events: Event) -> list[Any]:
        """A batch comes in; returns what was answered for each event."""
        answers: dict[str, Any] = {}
        for event in events:
            self.intake.submit(Arrival(event, lambda answer, uuid=event.uuid: answers.setdefault(uuid, answer)))
        self.intake._take(self.intake._collect())
        return [answers.get(event.uuid) for event in events]

    def heard(self, *words: Word) -> None:
        self.admitter.hear(words)
        self.round()

    def close(self) -> None:
        self.desk.lease.close()


def event(name: str = 'call', uuid: str | None = None, **more: Any) -> Event:
    body = more.pop('body', {'name': name, 'data': {}})
    values: dict[str, Any] = {
        'uuid': uuid or str(uuid4()),
        'name': name,
        'headers': {'name': name, 'tenant_uuid': 'tenant'},
        'body': body,
        'text': json.dumps(body),
        'source': 'bus',
        'received_at': datetime.now(UTC),
    }
    return Event(**(values | more))


def add_subscription(connection: Any, uuid: str, tenant: str = 'tenant') -> None:
    connection.execute(insert(SUBSCRIPTION).values(uuid=uuid, name=uuid, service='http', owner_tenant_uuid=tenant))
    option = SubscriptionOption.__table__
    connection.execute(
        insert(option).values(uuid=f'option-{uuid}', subscription_uuid=uuid, name='url', value=f'https://{uuid}/')
    )


def add_event(connection: Any, uuid: str = 'event', text: str = '{"name": "call"}', **more: Any) -> None:
    values = {'name': 'call', 'source': 'bus', 'received_at': datetime.now(UTC), 'deliveries': 1, 'headers': '{}'}
    connection.execute(insert(JOURNAL).values(uuid=uuid, body=text, **(values | more)))


def add_delivery(connection: Any, uuid: str, subscription: str = 'sub', **more: Any) -> None:
    now = datetime.now(UTC)
    values: dict[str, Any] = {
        'sequence': time.time_ns(),
        'tenant_uuid': 'tenant',
        'event_uuid': 'event',
        'event_name': 'call',
        'state': 'waiting',
        'attempt': 1,
        'send': 0,
        'max_attempts': 3,
        'due_at': now - timedelta(seconds=1),
        'created_at': now,
        'expires_at': now + timedelta(days=30),
    }
    connection.execute(insert(DELIVERY).values(uuid=uuid, subscription_uuid=subscription, **(values | more)))


def deliveries(database: Any) -> dict[str, Any]:
    with database.reading() as connection:
        return {row.uuid: row for row in connection.execute(select(DELIVERY).order_by(DELIVERY.c.sequence))}


def states(database: Any) -> list[str]:
    return [row.state for row in deliveries(database).values()]


def change(database: Any, uuid: str, **values: Any) -> None:
    with database.transaction() as connection:
        connection.execute(update(DELIVERY).where(DELIVERY.c.uuid == uuid).values(**values))


def end_life(database: Any, life: str) -> None:
    with database.transaction() as connection:
        connection.execute(update(PROCESS).where(PROCESS.c.id == life).values(seen_at=seconds_ago(16)))


def worker(database: Any, life: str, kind: str = 'worker', hands: int = 8) -> None:
    with database.transaction() as connection:
        processes.register(connection, life, kind, 'host', 3, hands)


def bump(database: Any, name: str = 'index_version') -> int:
    with database.transaction() as connection:
        return facts.bump(connection, name)


def until(true: Callable[[], Any], seconds: float = 5.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, 'it did not happen in time'
        threading.Event().wait(0.01)
