"""attempts of the log without the sequence that some databases have (20.05)

Revision ID: df313e703ee8
Revises: cab8bbbdcfae
"""

from alembic import op

revision = 'df313e703ee8'
down_revision = 'cab8bbbdcfae'


def upgrade() -> None:
    if op.get_bind().dialect.name == 'postgresql':
        op.alter_column('webhookd_subscription_log', 'attempts', server_default=None)
        op.execute('DROP SEQUENCE IF EXISTS webhookd_subscription_log_attempts_seq')


def downgrade() -> None:
    pass
