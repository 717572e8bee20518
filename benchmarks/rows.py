"""Rows that a benchmark needs in bulk, written past the REST API."""

from __future__ import annotations

import io
import uuid

import psycopg2

from integration_tests.support.auth_double import MASTER
from integration_tests.support.site import Site

EVENTS, OPTIONS, METADATA = 5, 3, 3


def insert_subscriptions(site: Site, count: int, *, wanted: str | None = None) -> None:
    """Subscriptions of the http service with EVENTS names each (``wanted`` is the first of them), each with a filter
    for a user of its own. The daemon reads them when it starts."""
    subscriptions, events, options, metadata = (io.StringIO() for _ in range(4))
    for number in range(count):
        key, user = uuid.uuid4(), uuid.uuid4()
        subscriptions.write(f'{key}\tsubscription {number}\thttp\t{user}\t{MASTER}\n')
        names = [f'bench_event_{position}' for position in range(EVENTS)]
        if wanted is not None:
            names[0] = wanted
        for position, name in enumerate(names):
            events.write(f'{uuid.uuid4()}\t{key}\t{name}\t{position}\n')
        for name, value in (
            ('url', f'http://127.0.0.1:9/{number}'),
            ('method', 'post'),
            ('content_type', 'text/plain'),
        ):
            options.write(f'{uuid.uuid4()}\t{key}\t{name}\t{value}\n')
        for position in range(METADATA):
            metadata.write(f'{uuid.uuid4()}\t{key}\tkey{position}\tvalue {number}\n')
    connection = psycopg2.connect(site.postgres.uri(site.database))
    with connection, connection.cursor() as cursor:
        for lines, table, columns in (
            (
                subscriptions,
                'webhookd_subscription',
                ('uuid', 'name', 'service', 'events_user_uuid', 'owner_tenant_uuid'),
            ),
            (events, 'webhookd_subscription_event', ('uuid', 'subscription_uuid', 'event_name', 'position')),
            (options, 'webhookd_subscription_option', ('uuid', 'subscription_uuid', 'name', 'value')),
            (metadata, 'webhookd_subscription_metadatum', ('uuid', 'subscription_uuid', 'key', 'value')),
        ):
            lines.seek(0)
            cursor.copy_from(lines, table, columns=columns)
        cursor.execute('ANALYZE')
    connection.close()
