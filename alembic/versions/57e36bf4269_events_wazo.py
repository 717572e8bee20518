"""events_wazo_uuid of a subscription (17.14)

Revision ID: 57e36bf4269
Revises: 231d4dbd38
"""

import sqlalchemy as sa

from alembic import op

revision = '57e36bf4269'
down_revision = '231d4dbd38'


def upgrade() -> None:
    op.add_column('webhookd_subscription', sa.Column('events_wazo_uuid', sa.String(36)))


def downgrade() -> None:
    pass
