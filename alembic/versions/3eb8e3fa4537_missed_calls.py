"""mobile subscriptions made for phones hear of missed calls (24.10)

Revision ID: 3eb8e3fa4537
Revises: 911ad0861ef5
"""

from uuid import uuid4

import sqlalchemy as sa

from alembic import op

revision = '3eb8e3fa4537'
down_revision = '911ad0861ef5'

EVENT_NAME = 'user_missed_call'

subscription = sa.table('webhookd_subscription', sa.column('uuid'), sa.column('service'))
event = sa.table('webhookd_subscription_event', *map(sa.column, ('uuid', 'subscription_uuid', 'event_name')))
metadatum = sa.table('webhookd_subscription_metadatum', *map(sa.column, ('subscription_uuid', 'key', 'value')))


def upgrade() -> None:
    connection = op.get_bind()
    have = sa.select(event.c.subscription_uuid).where(event.c.event_name == EVENT_NAME)
    phones = sa.select(metadatum.c.subscription_uuid).where(metadatum.c.key == 'mobile', metadatum.c.value == 'true')
    without = connection.scalars(
        sa.select(subscription.c.uuid).where(
            subscription.c.service == 'mobile',
            subscription.c.uuid.in_(phones),
            subscription.c.uuid.not_in(have),
        )
    ).all()
    op.bulk_insert(
        event,
        [{'uuid': str(uuid4()), 'subscription_uuid': uuid, 'event_name': EVENT_NAME} for uuid in without],
    )


def downgrade() -> None:
    pass
