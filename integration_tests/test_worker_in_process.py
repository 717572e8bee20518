"""Standalone's worker: Celery's in-memory transport and SQLite, in threads of this process."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, select

from integration_tests.support.figures import Note
from integration_tests.support.receiver import Answer, Receiver
from integration_tests.support.until import until
from wazo_webhookd import celery, config
from wazo_webhookd.database import schema
from wazo_webhookd.database.models import Delivery, Process, Subscription, SubscriptionLog
from wazo_webhookd.database.session import Database
from wazo_webhookd.deliveries.message import Parcel, Writer
from wazo_webhookd.domain.delivery import Word
from wazo_webhookd.services.loader import Services
from wazo_webhookd.worker import InProcessWorker

TENANT = str(uuid.uuid4())


class Laptop:
    """One database file, one worker, and the daemon's part played by the test."""

    def __init__(self, folder: Path, receiver: Receiver) -> None:
        self.receiver = receiver
        uri = f'sqlite:///{folder / "webhookd.sqlite"}'
        schema.upgrade(uri)
        self.database = Database.from_uri(uri)
        tree = {'enabled_services': {'mobile': False}, 'enabled_celery_tasks': {'mobile': False}, 'shutdown_grace': 2}
        self.config = config.from_tree({**tree, 'celery': {'hands': 8}}, standalone=True, data_dir=folder)
        self.words: list[Word] = []
        self.services = Services(self.config)
        self.services.load({})
        self.worker = InProcessWorker(self.config, self.database, self.services, self.hear)
        self.card: Any = type('Card', (), {})()
        self.card.uuid, self.card.service, self.card.endpoint = str(uuid.uuid4()), 'http', 'sub:x'
        target = {'url': receiver.url('/hook'), 'method': 'post'}
        document = {'uuid': self.card.uuid, 'service': 'http', 'config': target, 'owner_user_uuid': None}
        self.card.document = json.dumps(document).encode()
        with self.database.transaction() as connection:
            connection.execute(
                insert(Subscription).values(uuid=self.card.uuid, name='s', service='http', owner_tenant_uuid=TENANT)
            )

    def hear(self, words: Sequence[Word]) -> None:
        self.words.extend(words)

    def send(self, count: int) -> list[str]:
        now = datetime.now(UTC)
        uuids = [str(uuid.uuid4()) for _ in range(count)]
        common = {
            'subscription_uuid': self.card.uuid, 'tenant_uuid': TENANT, 'event_name': 'x', 'state': 'out', 'attempt': 1,
            'send': 1, 'max_attempts': 3, 'due_at': now, 'sent_at': now, 'created_at': now,
            'expires_at': now + timedelta(days=1),
        }  # fmt: skip
        with self.database.transaction() as connection:
            rows = [{**common, 'uuid': one, 'event_uuid': one, 'sequence': n} for n, one in enumerate(uuids)]
            connection.execute(insert(Delivery), rows)
        writer = Writer(self.services.route)
        queue = self.config.celery.queue_name
        with celery.app.connection_for_write() as connection, connection.channel() as channel:
            for one in uuids:
                text = json.dumps({'name': 'x', 'origin_uuid': 'w', 'data': {'n': one}})
                parcel = Parcel(one, self.card.uuid, one, self.card, text, 1, 1, 3, now.timestamp())
                message = writer.write(parcel, 0.0)
                prepared = channel.prepare_message(
                    message.body, None, 'application/json', 'utf-8', message.headers, message.properties
                )
                channel.basic_publish(prepared, exchange='', routing_key=queue)
        return uuids

    def states(self, uuids: list[str]) -> list[str]:
        with self.database.reading() as connection:
            return list(connection.execute(select(Delivery.state).where(Delivery.uuid.in_(uuids))).scalars())

    def logs(self) -> int:
        with self.database.reading() as connection:
            return len(connection.execute(select(SubscriptionLog.uuid)).all())

    def hands(self) -> int:
        with self.database.reading() as connection:
            living = select(Process.hands).where(Process.ended_at.is_(None))
            return sum(connection.execute(living).scalars())


@pytest.fixture
def laptop(tmp_path: Path, receiver: Receiver) -> Iterator[Laptop]:
    laptop = Laptop(tmp_path, receiver)
    laptop.worker.start()
    until(laptop.hands, 10, what='the worker has hands')
    yield laptop
    laptop.worker.stop(0.1)
    laptop.database.dispose()


def test_deliveries_are_made_and_heard_of(laptop: Laptop, note: Note) -> None:
    began = time.monotonic()
    uuids = laptop.send(100)
    laptop.receiver.wait_for(100)
    until(lambda: len(laptop.words) == 100, what='all words')
    note(f'worker in the process: 100 deliveries in {time.monotonic() - began:.2f} s')

    assert sorted(laptop.receiver.deliveries('/hook')) == sorted(uuids)
    assert set(laptop.states(uuids)) == {'success'}
    assert laptop.logs() == 100
    assert {word.verdict for word in laptop.words} == {'success'}


def test_stopping_finishes_what_is_in_hand(laptop: Laptop) -> None:
    laptop.receiver.answer('/hook', always=Answer(200, delay=1.0))
    uuids = laptop.send(20)  # more than there are hands
    laptop.receiver.wait_for(8)
    began = time.monotonic()
    laptop.worker.stop()

    assert time.monotonic() - began < 2.5
    assert laptop.worker.alive() == 0
    assert sorted(laptop.states(uuids)) == ['out'] * 12 + ['success'] * 8
    assert laptop.hands() == 0


def test_another_worker_can_follow_in_the_same_process(laptop: Laptop) -> None:
    laptop.worker.stop()
    laptop.worker = InProcessWorker(laptop.config, laptop.database, laptop.services, laptop.hear)
    laptop.worker.start()
    until(laptop.hands, 10, what='the second worker has hands')
    uuids = laptop.send(10)
    laptop.receiver.wait_for(10)
    until(lambda: set(laptop.states(uuids)) == {'success'}, what='recorded')

    assert laptop.worker.alive() == 1


def test_signals_stay_the_daemons(laptop: Laptop) -> None:
    import signal

    assert signal.getsignal(signal.SIGTERM) in (signal.SIG_DFL, signal.Handlers.SIG_DFL)
