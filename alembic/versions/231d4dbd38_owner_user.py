"""owner_user_uuid of a subscription (17.14)

Revision ID: 231d4dbd38
Revises: 4a3e41acfb
"""

import sqlalchemy as sa

from alembic import op

revision = '231d4dbd38'
down_revision = '4a3e41acfb'


def upgrade() -> None:
    op.add_column('webhookd_subscription', sa.Column('owner_user_uuid', sa.String(36)))


def downgrade() -> None:
    pass
