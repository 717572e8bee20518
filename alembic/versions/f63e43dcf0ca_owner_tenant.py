"""owner_tenant_uuid of a subscription, zeros for older ones (19.09)

Revision ID: f63e43dcf0ca
Revises: 35b30e165f6
"""

import sqlalchemy as sa

from alembic import op

revision = 'f63e43dcf0ca'
down_revision = '35b30e165f6'

NO_TENANT = '00000000-0000-0000-0000-000000000000'


def upgrade() -> None:
    op.add_column('webhookd_subscription', sa.Column('owner_tenant_uuid', sa.String(36)))
    subscription = sa.table('webhookd_subscription', sa.column('owner_tenant_uuid'))
    op.execute(subscription.update().values(owner_tenant_uuid=NO_TENANT))
    with op.batch_alter_table('webhookd_subscription') as table:
        table.alter_column('owner_tenant_uuid', existing_type=sa.String(36), nullable=False)


def downgrade() -> None:
    pass
