"""journal, deliveries, lives, endpoints, outbox, facts, bound events

Revision ID: a90d4e6b31f7
Revises: 6c1f9a27d0b4
"""

import sqlalchemy as sa

from alembic import op
from wazo_webhookd.database.types import UtcDateTime

revision = 'a90d4e6b31f7'
down_revision = '6c1f9a27d0b4'

Column = sa.Column
PROGRAM_LEVEL = 1  # the lowest LEVEL (wazo_webhookd.database.schema) of programs that work with this schema


def upgrade() -> None:
    if 'webhookd_fact' in sa.inspect(op.get_bind()).get_table_names():
        return  # a database that went back to an older revision for a while
    journal()
    deliveries()
    shared_by_processes()


def journal() -> None:
    op.create_table(
        'webhookd_journal',
        Column('uuid', sa.String(36), primary_key=True),
        Column('name', sa.Text, nullable=False),
        Column('tenant_uuid', sa.Text),
        Column('source', sa.String(8), nullable=False),
        Column('received_at', UtcDateTime(), nullable=False),
        Column('fingerprint', sa.Text),
        Column('deliveries', sa.Integer, nullable=False),
        Column('headers', sa.Text, nullable=False),
        Column('body', sa.Text, nullable=False),
    )
    op.create_index('webhookd_journal__idx__received_at', 'webhookd_journal', ['received_at'])
    op.create_index('webhookd_journal__idx__fingerprint', 'webhookd_journal', ['fingerprint'])


def deliveries() -> None:
    table = 'webhookd_delivery'
    op.create_table(
        table,
        Column('uuid', sa.String(36), primary_key=True),
        Column('sequence', sa.BigInteger, nullable=False),
        Column('subscription_uuid', sa.String(38), nullable=False),
        Column('tenant_uuid', sa.String(36), nullable=False),
        Column('event_uuid', sa.String(36), nullable=False),
        Column('event_name', sa.Text, nullable=False),
        Column('state', sa.String(10), nullable=False),
        Column('attempt', sa.Integer, nullable=False, server_default='1'),
        Column('send', sa.Integer, nullable=False, server_default='0'),
        Column('max_attempts', sa.Integer, nullable=False),
        Column('due_at', UtcDateTime(), nullable=False),
        Column('sent_at', UtcDateTime()),
        Column('held_by', sa.String(36)),
        Column('deaths', sa.Integer, nullable=False, server_default='0'),
        Column('created_at', UtcDateTime(), nullable=False),
        Column('expires_at', UtcDateTime(), nullable=False),
        Column('ended_at', UtcDateTime()),
        Column('reason', sa.Text),
    )
    out, waiting = sa.text("state = 'out'"), sa.text("state = 'waiting'")
    for name, columns, where in (
        ('out', ['sent_at'], out),
        ('waiting', ['subscription_uuid', 'due_at', 'sequence'], waiting),
        ('due', ['due_at'], waiting),
        ('subscription', ['subscription_uuid', 'created_at'], None),
        ('event', ['event_uuid'], None),
        ('created_at', ['created_at'], None),
    ):
        op.create_index(f'{table}__idx__{name}', table, columns, postgresql_where=where, sqlite_where=where)


def shared_by_processes() -> None:
    op.create_table(
        'webhookd_process',
        Column('id', sa.String(36), primary_key=True),
        Column('kind', sa.String(12), nullable=False),
        Column('host', sa.Text, nullable=False),
        Column('pid', sa.Integer, nullable=False),
        Column('hands', sa.Integer, nullable=False, server_default='0'),
        Column('written_off', sa.Integer, nullable=False, server_default='0'),
        Column('backend_pid', sa.Integer),
        Column('started_at', UtcDateTime(), nullable=False),
        Column('seen_at', UtcDateTime(), nullable=False),
        Column('ended_at', UtcDateTime()),
    )
    op.create_table(
        'webhookd_endpoint',
        Column('key', sa.Text, primary_key=True),
        Column('tenant_uuid', sa.String(36)),
        Column('standing', sa.String(8), nullable=False),
        Column('circuit', sa.String(10), nullable=False),
        Column('failures_in_a_row', sa.Integer, nullable=False, server_default='0'),
        Column('failing_since', UtcDateTime()),
        Column('resting_until', UtcDateTime()),
        Column('rest_seconds', sa.Float),
        Column('reason', sa.Text),
        Column('since', UtcDateTime()),
        Column('last_success_at', UtcDateTime()),
        Column('last_failure_at', UtcDateTime()),
        Column('warned', sa.Integer, nullable=False, server_default='0'),
        Column('disabled', sa.Boolean, nullable=False, server_default=sa.text('false')),
        Column('updated_at', UtcDateTime(), nullable=False),
    )
    op.create_table(
        'webhookd_outbox',
        Column('id', sa.BigInteger().with_variant(sa.Integer, 'sqlite'), primary_key=True, autoincrement=True),
        Column('life', sa.String(36)),
        Column('created_at', UtcDateTime(), nullable=False),
        Column('name', sa.Text, nullable=False),
        Column('routing_key', sa.Text, nullable=False),
        Column('headers', sa.Text, nullable=False),
        Column('body', sa.Text, nullable=False),
    )
    fact = op.create_table(
        'webhookd_fact',
        Column('name', sa.String(32), primary_key=True),
        Column('number', sa.BigInteger, nullable=False, server_default='0'),
        Column('value', sa.Text),
    )
    op.bulk_insert(fact, [{'name': 'schema', 'number': PROGRAM_LEVEL}])
    op.create_table(
        'webhookd_bound_event',
        Column('name', sa.Text, primary_key=True),
        Column('bound_at', UtcDateTime(), nullable=False),
    )


def downgrade() -> None:
    pass  # additive: yesterday's program works with these tables
