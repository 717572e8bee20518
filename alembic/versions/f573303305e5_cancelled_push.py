"""mobile subscriptions hear of cancelled push notifications (22.05)

Revision ID: f573303305e5
Revises: df313e703ee8
"""

from uuid import uuid4

import sqlalchemy as sa

from alembic import op

revision = 'f573303305e5'
down_revision = 'df313e703ee8'

EVENT_NAME = 'call_cancel_push_notification'

subscription = sa.table('webhookd_subscription', sa.column('uuid'), sa.column('service'))
event = sa.table('webhookd_subscription_event', *map(sa.column, ('uuid', 'subscription_uuid', 'event_name')))


def upgrade() -> None:
    connection = op.get_bind()
    have = sa.select(event.c.subscription_uuid).where(event.c.event_name == EVENT_NAME)
    without = connection.scalars(
        sa.select(subscription.c.uuid).where(subscription.c.service == 'mobile', subscription.c.uuid.not_in(have))
    ).all()
    op.bulk_insert(
        event,
        [{'uuid': str(uuid4()), 'subscription_uuid': uuid, 'event_name': EVENT_NAME} for uuid in without],
    )


def downgrade() -> None:
    pass
