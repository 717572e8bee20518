"""events_user_uuid of a subscription (17.13)

Revision ID: 4a3e41acfb
Revises: 1495b7c1224
"""

import sqlalchemy as sa

from alembic import op

revision = '4a3e41acfb'
down_revision = '1495b7c1224'


def upgrade() -> None:
    op.add_column('webhookd_subscription', sa.Column('events_user_uuid', sa.String(36)))


def downgrade() -> None:
    pass
