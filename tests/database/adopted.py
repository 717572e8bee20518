"""Databases as older programs left them: built from the published facts, not by our migrations.

Each revision is a step of plain SQL for PostgreSQL; ``build(connection, revision)`` runs the steps up to it.
"""

from __future__ import annotations

from sqlalchemy import Connection

# uuid-ossp may be missing on the machine of the tests; what matters is that a default of this name stays.
UUID_FUNCTION = """
CREATE OR REPLACE FUNCTION uuid_generate_v4() RETURNS uuid LANGUAGE sql AS 'SELECT gen_random_uuid()'
"""

STEPS: dict[str, str] = {
    '1495b7c1224': """
        CREATE TABLE webhookd_subscription (
            uuid varchar(38) PRIMARY KEY DEFAULT uuid_generate_v4(), name text, service text
        );
        CREATE TABLE webhookd_subscription_event (
            uuid varchar(38) PRIMARY KEY DEFAULT uuid_generate_v4(),
            subscription_uuid varchar(38) NOT NULL REFERENCES webhookd_subscription (uuid) ON DELETE CASCADE,
            event_name text NOT NULL,
            UNIQUE (subscription_uuid, event_name)
        );
        CREATE TABLE webhookd_subscription_option (
            uuid varchar(38) PRIMARY KEY DEFAULT uuid_generate_v4(),
            subscription_uuid varchar(38) NOT NULL REFERENCES webhookd_subscription (uuid) ON DELETE CASCADE,
            name text NOT NULL,
            value text,
            UNIQUE (subscription_uuid, name)
        );
    """,
    '4a3e41acfb': 'ALTER TABLE webhookd_subscription ADD COLUMN events_user_uuid varchar(36)',
    '231d4dbd38': 'ALTER TABLE webhookd_subscription ADD COLUMN owner_user_uuid varchar(36)',
    '57e36bf4269': 'ALTER TABLE webhookd_subscription ADD COLUMN events_wazo_uuid varchar(36)',
    '35b30e165f6': """
        CREATE TABLE webhookd_subscription_metadatum (
            uuid varchar(38) PRIMARY KEY DEFAULT uuid_generate_v4(),
            subscription_uuid varchar(38) NOT NULL REFERENCES webhookd_subscription (uuid) ON DELETE CASCADE,
            key text NOT NULL,
            value text
        )
    """,
    'f63e43dcf0ca': """
        ALTER TABLE webhookd_subscription ADD COLUMN owner_tenant_uuid varchar(36);
        UPDATE webhookd_subscription SET owner_tenant_uuid = '00000000-0000-0000-0000-000000000000';
        ALTER TABLE webhookd_subscription ALTER COLUMN owner_tenant_uuid SET NOT NULL;
    """,
    'cab8bbbdcfae': """
        CREATE TYPE status_types AS ENUM ('success', 'failure', 'error');
        CREATE SEQUENCE webhookd_subscription_log_attempts_seq;
        CREATE TABLE webhookd_subscription_log (
            uuid varchar(36) NOT NULL,
            subscription_uuid varchar(38) NOT NULL REFERENCES webhookd_subscription (uuid) ON DELETE CASCADE,
            status status_types,
            started_at timestamptz,
            ended_at timestamptz,
            attempts integer NOT NULL DEFAULT nextval('webhookd_subscription_log_attempts_seq'),
            max_attempts integer,
            event json,
            detail json,
            PRIMARY KEY (uuid, attempts)
        );
        ALTER SEQUENCE webhookd_subscription_log_attempts_seq OWNED BY webhookd_subscription_log.attempts;
    """,
    'df313e703ee8': """
        ALTER TABLE webhookd_subscription_log ALTER COLUMN attempts DROP DEFAULT;
        DROP SEQUENCE webhookd_subscription_log_attempts_seq;
    """,
    'f573303305e5': """
        INSERT INTO webhookd_subscription_event (subscription_uuid, event_name)
        SELECT uuid, 'call_cancel_push_notification' FROM webhookd_subscription WHERE service = 'mobile'
        ON CONFLICT DO NOTHING
    """,
    '911ad0861ef5': """
        CREATE INDEX webhookd_subscription_event__idx__subscription_uuid
            ON webhookd_subscription_event (subscription_uuid);
        CREATE INDEX webhookd_subscription_option__idx__subscription_uuid
            ON webhookd_subscription_option (subscription_uuid);
        CREATE INDEX webhookd_subscription_metadatum__idx__subscription_uuid
            ON webhookd_subscription_metadatum (subscription_uuid);
        CREATE INDEX webhookd_subscription_log__idx__subscription_uuid
            ON webhookd_subscription_log (subscription_uuid);
    """,
    '3eb8e3fa4537': """
        INSERT INTO webhookd_subscription_event (subscription_uuid, event_name)
        SELECT subscription.uuid, 'user_missed_call'
        FROM webhookd_subscription AS subscription
        JOIN webhookd_subscription_metadatum AS metadatum ON metadatum.subscription_uuid = subscription.uuid
        WHERE service = 'mobile' AND key = 'mobile' AND value = 'true'
        ON CONFLICT DO NOTHING
    """,
}


def build(connection: Connection, revision: str) -> None:
    """Tables without rows, and the table that says the revision."""
    connection.exec_driver_sql(UUID_FUNCTION)
    for step, statements in STEPS.items():
        connection.exec_driver_sql(statements)
        if step == revision:
            break
    connection.exec_driver_sql(
        'CREATE TABLE alembic_version_webhookd ('
        ' version_num varchar(32) NOT NULL CONSTRAINT alembic_version_webhookd_pkc PRIMARY KEY)'
    )
    connection.exec_driver_sql('INSERT INTO alembic_version_webhookd VALUES (%s)', (revision,))


def reached(revision: str, step: str) -> bool:
    """Does a database at ``revision`` have what ``step`` brought?"""
    steps = list(STEPS)
    return steps.index(revision) >= steps.index(step)
