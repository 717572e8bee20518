"""Lists of many: what a page costs does not grow with what is stored beside it."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import event, insert

from wazo_webhookd.config import from_tree
from wazo_webhookd.database import subscriptions as rows
from wazo_webhookd.database.session import Database
from wazo_webhookd.domain.scope import Scope
from wazo_webhookd.subscriptions.feed import ChangeFeed
from wazo_webhookd.subscriptions.service import SubscriptionService

NUMBER = 10_000
OF_TENANT = Scope.of(['tenant'])
START = datetime(2026, 1, 1, tzinfo=UTC)


@contextmanager
def statements(database: Database) -> Iterator[list[str]]:
    seen: list[str] = []

    def note(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        seen.append(statement)

    event.listen(database.engine, 'before_cursor_execute', note)
    try:
        yield seen
    finally:
        event.remove(database.engine, 'before_cursor_execute', note)


def store(database: Database) -> None:
    """Each with 10 events, 3 options, 3 metadata."""
    uuids = [str(uuid.uuid4()) for _ in range(NUMBER)]
    parts = {rows.event: ('event_name', 10), rows.option: ('name', 3), rows.metadatum: ('key', 3)}
    with database.transaction() as connection:
        connection.execute(
            insert(rows.subscription),
            [
                {
                    'uuid': one, 'name': f'n{number}', 'service': 'http', 'owner_tenant_uuid': 'tenant',
                    'created_at': START + timedelta(seconds=number),
                }
                for number, one in enumerate(uuids)
            ],
        )  # fmt: skip
        for table, (column, times) in parts.items():
            values = [
                {'uuid': str(uuid.uuid4()), 'subscription_uuid': one, column: f'{column}{number}'}
                for one in uuids
                for number in range(times)
            ]
            connection.execute(insert(table), values)
        newest = [{'uuid': 'h', 'subscription_uuid': uuids[0], 'attempts': number} for number in range(1, 5001)]
        connection.execute(
            insert(rows.log), [{**one, 'started_at': START + timedelta(seconds=one['attempts'])} for one in newest]
        )


@pytest.mark.timeout(240)
def test_a_page_takes_the_same_few_statements_whatever_there_is(database: Database) -> None:
    store(database)
    feed = ChangeFeed()
    feed.attach(database=database)
    service = SubscriptionService(from_tree({'uuid': 'wazo'}), feed=feed)

    for query in ({}, {'order': 'name'}, {'search': 'n1'}, {'search_metadata': {'key0': ''}}, {'offset': 9_900}):
        with statements(database) as seen:
            page, total = service.page(OF_TENANT, limit=100, **query)  # type: ignore[arg-type]
        assert len(seen) <= 5, query
        assert len(page) == min(100, total)
        assert all((len(one.events), len(one.config), len(one.metadata)) == (10, 3, 3) for one in page)
    with statements(database) as seen:
        page, total = service.page(OF_TENANT, limit=100)
    assert [one.name for one in page] == [f'n{number}' for number in range(100)]
    assert (total, len(seen)) == (NUMBER, 5)
    with statements(database) as seen:
        logs, filtered = service.page_of_logs(page[0].uuid, limit=100)
    assert [one.attempts for one in logs] == [*range(5000, 4900, -1)]
    assert (filtered, len(seen)) == (5000, 2)
