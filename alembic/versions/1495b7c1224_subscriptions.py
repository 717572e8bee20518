"""subscriptions, their events and options (17.11)

Revision ID: 1495b7c1224
Revises:
"""

import sqlalchemy as sa

from alembic import op

revision = '1495b7c1224'
down_revision = None


def upgrade() -> None:
    op.create_table(
        'webhookd_subscription',
        uuid(),
        sa.Column('name', sa.Text),
        sa.Column('service', sa.Text),
    )
    op.create_table(
        'webhookd_subscription_event',
        uuid(),
        subscription_uuid(),
        sa.Column('event_name', sa.Text, nullable=False),
        sa.UniqueConstraint(
            'subscription_uuid', 'event_name', name='webhookd_subscription_event_subscription_uuid_event_name_key'
        ),
    )
    op.create_table(
        'webhookd_subscription_option',
        uuid(),
        subscription_uuid(),
        sa.Column('name', sa.Text, nullable=False),
        sa.Column('value', sa.Text),
        sa.UniqueConstraint(
            'subscription_uuid', 'name', name='webhookd_subscription_option_subscription_uuid_name_key'
        ),
    )


def uuid() -> sa.Column:
    """With the default that older programs rely on, where the extension uuid-ossp is there."""
    connection = op.get_bind()
    known = connection.dialect.name == 'postgresql' and connection.scalar(
        sa.text("SELECT to_regprocedure('uuid_generate_v4()') IS NOT NULL")
    )
    default = sa.text('uuid_generate_v4()') if known else None
    return sa.Column('uuid', sa.String(38), server_default=default, primary_key=True)


def subscription_uuid() -> sa.Column:
    return sa.Column(
        'subscription_uuid',
        sa.String(38),
        sa.ForeignKey('webhookd_subscription.uuid', ondelete='CASCADE'),
        nullable=False,
    )


def downgrade() -> None:
    pass
