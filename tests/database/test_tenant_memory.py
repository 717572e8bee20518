"""The master tenant outlives the run that learnt it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from wazo_webhookd.auth.master_tenant import MasterTenant
from wazo_webhookd.database import facts
from wazo_webhookd.database.session import Database
from wazo_webhookd.exceptions import DatabaseUnavailable
from wazo_webhookd.subscriptions.feed import ChangeFeed
from wazo_webhookd.subscriptions.service import SubscriptionService
from wazo_webhookd.tenant_memory import TenantMemory


class Run:
    """One run of the daemon, as far as the master tenant goes."""

    def __init__(self, database: Database) -> None:
        feed = ChangeFeed()
        feed.attach(database=database)
        self.away = False
        self.errands: list[Callable[[], None]] = []
        self.master_tenant = MasterTenant()
        self._service = SubscriptionService({'db_uri': 'the feed knows'}, feed=feed)
        self.memory = TenantMemory(database, self, self.master_tenant, self.errands.append)
        self.master_tenant.subscribe(self.memory.write_down)

    def remember_master_tenant(self, tenant_uuid: str) -> None:
        if self.away:
            raise DatabaseUnavailable('away')
        self._service.remember_master_tenant(tenant_uuid)


@pytest.fixture
def run(database: Database) -> Run:
    return Run(database)


def written(database: Database) -> str | None:
    with database.reading() as connection:
        return facts.get(connection, 'master_tenant')[1]


def test_the_next_run_knows_what_this_one_learnt(database: Database, run: Run) -> None:
    run.master_tenant.confirm('m')
    following = Run(database)
    following.memory.recall()

    assert written(database) == 'm'
    assert (following.master_tenant.best_known, following.master_tenant.confirmed) == ('m', None)


def test_there_may_be_nothing_to_recall(database: Database, run: Run) -> None:
    run.memory.recall()

    assert run.master_tenant.best_known is None
    assert written(database) is None


def test_what_was_learnt_while_the_database_was_away_is_written_down_later(database: Database, run: Run) -> None:
    run.away = True
    run.master_tenant.confirm('m')
    assert written(database) is None
    run.away = False
    for errand in run.errands:
        errand()

    assert written(database) == 'm'
    assert run.master_tenant.confirmed == 'm'


def test_what_a_token_says_wins_over_what_is_written(database: Database, run: Run) -> None:
    run.master_tenant.confirm('old')
    following = Run(database)
    following.away = True
    following.master_tenant.confirm('new')
    following.away = False
    following.memory.recall()

    assert written(database) == 'new'
    assert following.master_tenant.best_known == 'new'


def test_an_errand_that_finds_the_database_away_is_not_done(database: Database, run: Run) -> None:
    run.away = True
    run.master_tenant.confirm('m')
    (errand,) = run.errands
    with pytest.raises(DatabaseUnavailable):
        errand()
