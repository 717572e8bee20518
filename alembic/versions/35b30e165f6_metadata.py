"""metadata of a subscription (18.01)

Revision ID: 35b30e165f6
Revises: 57e36bf4269
"""

import sqlalchemy as sa

from alembic import op

revision = '35b30e165f6'
down_revision = '57e36bf4269'


def upgrade() -> None:
    connection = op.get_bind()
    known = connection.dialect.name == 'postgresql' and connection.scalar(
        sa.text("SELECT to_regprocedure('uuid_generate_v4()') IS NOT NULL")
    )
    op.create_table(
        'webhookd_subscription_metadatum',
        sa.Column(
            'uuid',
            sa.String(38),
            server_default=sa.text('uuid_generate_v4()') if known else None,
            primary_key=True,
        ),
        sa.Column(
            'subscription_uuid',
            sa.String(38),
            sa.ForeignKey('webhookd_subscription.uuid', ondelete='CASCADE'),
            nullable=False,
        ),
        sa.Column('key', sa.Text, nullable=False),
        sa.Column('value', sa.Text),
    )


def downgrade() -> None:
    pass
