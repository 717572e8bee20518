"""say so when something else than this program writes subscriptions (PostgreSQL)

Revision ID: c4b7d2e91f38
Revises: a90d4e6b31f7
"""

from alembic import op

revision = 'c4b7d2e91f38'
down_revision = 'a90d4e6b31f7'

TABLES = (
    'webhookd_subscription',
    'webhookd_subscription_event',
    'webhookd_subscription_option',
    'webhookd_subscription_metadatum',
)

# Does what ChangeFeed.record does, once a transaction, and never makes a writer fail who knows nothing of it.
# Deferred: the version row is locked at the end of the transaction only, whatever else that waits for.
FUNCTION = """
CREATE OR REPLACE FUNCTION webhookd_written_elsewhere() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
    made bigint;
BEGIN
    IF current_setting('webhookd.counted', true) IS DISTINCT FROM txid_current()::text THEN
        PERFORM set_config('webhookd.counted', txid_current()::text, true);
        EXECUTE format(
            'INSERT INTO %I.webhookd_fact AS fact (name, number) VALUES (''index_version'', 1)'
            ' ON CONFLICT (name) DO UPDATE SET number = fact.number + 1 RETURNING number', TG_TABLE_SCHEMA
        ) INTO made;
        PERFORM pg_notify('webhookd_changes', json_build_object('kind', 'reload', 'version', made)::text);
    END IF;
    RETURN NULL;
EXCEPTION WHEN OTHERS THEN
    RAISE WARNING 'wazo-webhookd was not told of this change: %', SQLERRM;
    RETURN NULL;
END
$function$
"""
ELSEWHERE = "current_setting('webhookd.writer', true) IS DISTINCT FROM 'wazo-webhookd'"


def upgrade() -> None:
    if op.get_bind().dialect.name != 'postgresql':
        return  # an embedded database has one program
    op.execute(FUNCTION)
    for table in TABLES:
        op.execute(f'DROP TRIGGER IF EXISTS webhookd_rows_written_elsewhere ON {table}')
        op.execute(f'DROP TRIGGER IF EXISTS webhookd_emptied_elsewhere ON {table}')
        op.execute(
            f'CREATE CONSTRAINT TRIGGER webhookd_rows_written_elsewhere AFTER INSERT OR UPDATE OR DELETE ON {table}'
            f' DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN ({ELSEWHERE})'
            ' EXECUTE FUNCTION webhookd_written_elsewhere()'
        )
        op.execute(
            f'CREATE TRIGGER webhookd_emptied_elsewhere AFTER TRUNCATE ON {table} FOR EACH STATEMENT'
            f' WHEN ({ELSEWHERE}) EXECUTE FUNCTION webhookd_written_elsewhere()'
        )


def downgrade() -> None:
    pass
