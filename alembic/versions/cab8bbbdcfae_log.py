"""log of attempts (19.09)

Revision ID: cab8bbbdcfae
Revises: f63e43dcf0ca
"""

import sqlalchemy as sa

from alembic import op

revision = 'cab8bbbdcfae'
down_revision = 'f63e43dcf0ca'


def upgrade() -> None:
    # A later revision drops the foreign key; SQLite, which never had an older program, does without from the start.
    keys = [sa.ForeignKey('webhookd_subscription.uuid', ondelete='CASCADE')]
    if op.get_bind().dialect.name == 'sqlite':
        keys = []
    op.create_table(
        'webhookd_subscription_log',
        sa.Column('uuid', sa.String(36), primary_key=True),
        sa.Column('subscription_uuid', sa.String(38), *keys, nullable=False),
        sa.Column('status', sa.Enum('success', 'failure', 'error', name='status_types')),
        sa.Column('started_at', sa.DateTime(timezone=True)),
        sa.Column('ended_at', sa.DateTime(timezone=True)),
        sa.Column('attempts', sa.Integer, primary_key=True, autoincrement=False),
        sa.Column('max_attempts', sa.Integer),
        sa.Column('event', sa.JSON),
        sa.Column('detail', sa.JSON),
    )


def downgrade() -> None:
    pass
