"""indexes on the foreign keys (23.05)

Revision ID: 911ad0861ef5
Revises: f573303305e5
"""

from alembic import op

revision = '911ad0861ef5'
down_revision = 'f573303305e5'


def upgrade() -> None:
    for kind in ('event', 'option', 'metadatum', 'log'):
        table = f'webhookd_subscription_{kind}'
        op.create_index(f'{table}__idx__subscription_uuid', table, ['subscription_uuid'])


def downgrade() -> None:
    pass
