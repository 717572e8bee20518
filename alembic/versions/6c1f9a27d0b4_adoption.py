"""older tables get what this program needs: order, types of options, no foreign key on the log

Revision ID: 6c1f9a27d0b4
Revises: 3eb8e3fa4537

Everything is additive and looks first, so that a database that went back to today's program (``alembic downgrade
3eb8e3fa4537`` only notes the older revision) can come again. Indexes are made the plain way: the log, the only large
table, cannot be written meanwhile (some seconds per million rows), and nobody reads half a schema.
"""

import sqlalchemy as sa

from alembic import op
from wazo_webhookd.database.types import UtcDateTime, utc_now

revision = '6c1f9a27d0b4'
down_revision = '3eb8e3fa4537'

SUBSCRIPTION = 'webhookd_subscription'
EVENT = 'webhookd_subscription_event'
OPTION = 'webhookd_subscription_option'
METADATUM = 'webhookd_subscription_metadatum'
LOG = 'webhookd_subscription_log'


def upgrade() -> None:
    add_created_at()
    add_positions()
    if 'type' not in columns(OPTION):
        op.add_column(OPTION, sa.Column('type', sa.String(8)))
    free_the_log()
    index(f'{SUBSCRIPTION}__idx__owner_tenant_uuid', SUBSCRIPTION, ['owner_tenant_uuid', 'created_at', 'uuid'])
    index(f'{SUBSCRIPTION}__idx__owner_user_uuid', SUBSCRIPTION, ['owner_user_uuid'])
    index(f'{SUBSCRIPTION}__idx__events_user_uuid', SUBSCRIPTION, ['events_user_uuid'])
    index(f'{EVENT}__idx__event_name', EVENT, ['event_name'])
    index(
        f'{METADATUM}__idx__key_value',
        METADATUM,
        ['key', 'value'],
        postgresql_where=sa.text('octet_length(key) < 300 AND octet_length(value) < 1000'),
    )
    index(f'{LOG}__idx__subscription_started', LOG, ['subscription_uuid', 'started_at'])
    index(f'{LOG}__idx__started_at', LOG, ['started_at'])


def add_created_at() -> None:
    """Rows that are there keep their order, a microsecond apart."""
    if 'created_at' in columns(SUBSCRIPTION):
        return
    column = sa.Column('created_at', UtcDateTime(), server_default=utc_now(), nullable=False)
    if not postgresql():
        with op.batch_alter_table(SUBSCRIPTION, recreate='always') as table:
            table.add_column(column)
        return
    op.add_column(SUBSCRIPTION, column)
    op.execute(
        f"""
        UPDATE {SUBSCRIPTION} AS this
        SET created_at = CURRENT_TIMESTAMP - (place.last - place.number) * INTERVAL '1 microsecond'
        FROM (
            SELECT uuid, row_number() OVER (ORDER BY ctid) AS number, count(*) OVER () AS last FROM {SUBSCRIPTION}
        ) AS place
        WHERE place.uuid = this.uuid
        """
    )


def add_positions() -> None:
    if 'position' in columns(EVENT):
        return
    op.add_column(EVENT, sa.Column('position', sa.Integer))
    place = 'ctid' if postgresql() else 'rowid'
    op.execute(
        f"""
        UPDATE {EVENT} AS this
        SET position = place.number - 1
        FROM (
            SELECT uuid, row_number() OVER (PARTITION BY subscription_uuid ORDER BY {place}) AS number FROM {EVENT}
        ) AS place
        WHERE place.uuid = this.uuid
        """
    )


def free_the_log() -> None:
    """Rows of the log outlive nothing by themselves; an attempt can be written whatever happens to its subscription."""
    if not postgresql():
        return
    for key in sa.inspect(op.get_bind()).get_foreign_keys(LOG):
        if key['referred_table'] == SUBSCRIPTION:
            op.drop_constraint(key['name'], LOG, type_='foreignkey')


def index(name: str, table: str, names: list[str], **options: object) -> None:
    if name not in {found['name'] for found in sa.inspect(op.get_bind()).get_indexes(table)}:
        op.create_index(name, table, names, **options)


def columns(table: str) -> set[str]:
    return {column['name'] for column in sa.inspect(op.get_bind()).get_columns(table)}


def postgresql() -> bool:
    return op.get_bind().dialect.name == 'postgresql'


def downgrade() -> None:
    pass  # additive: yesterday's program works with these tables
