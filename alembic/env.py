"""Run the migrations: on the connection that wazo_webhookd.database.schema hands in, else from the command line."""

import logging.config
import os

from alembic import context
from wazo_webhookd import config as daemon_config
from wazo_webhookd.database import schema
from wazo_webhookd.database.models import Base
from wazo_webhookd.database.session import Database
from wazo_webhookd.exceptions import WebhookdError

config = context.config


def database_uri() -> str:
    """The environment's, the ini file's or the daemon's, in this order."""
    return (
        os.environ.get('ALEMBIC_DB_URI')
        or config.get_main_option('sqlalchemy.url')
        or daemon_config.load(uuid_required=False).db_uri
    )


def migrate(connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        version_table=schema.VERSION_TABLE,
        include_name=lambda name, type_, parents: type_ != 'table' or name in Base.metadata.tables,
    )
    with context.begin_transaction():
        context.run_migrations()


if context.is_offline_mode():
    raise SystemExit('These migrations look at the database: --sql is not possible.')

given = config.attributes.get('connection')
if given is not None:
    migrate(given)
else:
    if config.config_file_name is not None:
        logging.config.fileConfig(config.config_file_name, disable_existing_loggers=False)
    try:
        with schema.exclusively(Database.from_uri(database_uri(), application_name='alembic')) as connection:
            migrate(connection)
    except WebhookdError as error:
        raise SystemExit(f'alembic: {error}') from None
