"""wazo-purge-db runs under Debian 12's Python and its SQLAlchemy 1.4.46, and loads our purger there."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import insert, select

from integration_tests.support.servers import Postgres
from wazo_webhookd.database import schema
from wazo_webhookd.database.models import SubscriptionLog
from wazo_webhookd.database.session import Database

ROOT = Path(__file__).parents[1]
DEBIANS = ('SQLAlchemy==1.4.46', 'psycopg2-binary')

# The tool's own way: a session on the DSN of its configuration, the plugin from its entry point, one commit.
TOOL = """
import importlib, sys
import sqlalchemy
from sqlalchemy.orm import sessionmaker

assert sqlalchemy.__version__ == '1.4.46', sqlalchemy.__version__
uri, entry_point, days = sys.argv[1:]
module, name = entry_point.split(':')
plugin = getattr(importlib.import_module(module), name)()
others = {name for name in sys.modules if name.startswith('wazo_webhookd')} - {
    'wazo_webhookd', 'wazo_webhookd.database', 'wazo_webhookd.database.types', 'wazo_webhookd.database.models',
    'wazo_webhookd.database.purger',
}
assert not others, others
session = sessionmaker(bind=sqlalchemy.create_engine(uri))()
assert plugin.purge(int(days), session) is None
session.commit()

from wazo_webhookd.database.models import SubscriptionLog
for row in session.query(SubscriptionLog).order_by(SubscriptionLog.uuid):
    print(row.uuid, row.started_at.isoformat(), row.detail)
"""


@pytest.fixture(scope='session')
def debians_python() -> Path:
    """A virtualenv with what Debian 12 has; kept in .cache between runs."""
    version = f'{sys.version_info.major}.{sys.version_info.minor}'
    folder = ROOT / '.cache' / f'sqlalchemy-1.4.46-python{version}'
    python = folder / 'bin' / 'python'
    if not (folder / 'complete').exists():
        venv.create(folder, with_pip=True, clear=True)
        subprocess.run([python, '-m', 'pip', 'install', '--quiet', *DEBIANS], check=True, timeout=300)
        (folder / 'complete').touch()
    return python


@pytest.fixture
def uri():
    server = Postgres()
    name = server.create_database()
    schema.upgrade(server.uri(name))
    yield server.uri(name)
    server.drop_database(name)


def entry_point() -> str:
    """The object that setup.py names for the tool."""
    (line,) = (line for line in (ROOT / 'setup.py').read_text().splitlines() if 'webhookd-logs' in line)
    return line.strip(" ',").partition('=')[2].strip()


@pytest.mark.timeout(400)
def test_purger_works_under_debians_sqlalchemy(debians_python, uri):
    now = datetime.now(UTC)
    database = Database.from_uri(uri)
    table = SubscriptionLog.__table__
    with database.transaction() as connection:
        connection.execute(
            insert(table),
            [
                {'uuid': f'{days} days', 'subscription_uuid': 's', 'attempts': 1, 'detail': {'days': days},
                 'started_at': now - timedelta(days=days)}
                for days in (1, 29, 31, 400)
            ],
        )  # fmt: skip
    done = subprocess.run(
        [debians_python, '-W', 'error', '-c', TOOL, uri, entry_point(), '30'],
        cwd='/', env={**os.environ, 'PYTHONPATH': str(ROOT), 'TZ': 'America/Montreal'},
        capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        f'{days} days {(now - timedelta(days=days)).isoformat()} {{{"days"!r}: {days}}}' for days in (1, 29)
    ]
    with database.reading() as connection:
        left = connection.execute(select(table.c.uuid).order_by(table.c.uuid)).scalars().all()
    database.dispose()
    assert left == ['1 days', '29 days']
