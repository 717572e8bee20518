"""Fixtures of the faults: each runs in a short form with all tests, and in its full form with ``-m faults``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from integration_tests.support.auth_double import AuthDouble
from integration_tests.support.bus import WAZO_UUID
from integration_tests.support.figures import keep_rows
from integration_tests.support.losses import TABLE
from integration_tests.support.receiver import Receiver
from integration_tests.support.servers import Postgres, Rabbit
from integration_tests.support.site import Site

FULL = [pytest.mark.faults, pytest.mark.timeout(1200)]


@pytest.fixture(params=['short', pytest.param('full', marks=FULL)])
def size(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def another_site(
    tmp_path: Path, postgres: Postgres, template: str, rabbit: Rabbit, vhost: str, request: pytest.FixtureRequest
) -> Iterator[Callable[[], Site]]:
    """Makes clean installations, for runs at the same time."""
    sites: list[Site] = []
    with ExitStack() as undo:

        def make() -> Site:
            auth = AuthDouble(wazo_uuid=WAZO_UUID)
            auth.start()
            undo.callback(auth.stop)
            receiver = undo.enter_context(Receiver())
            database = postgres.create_database(template=template)
            undo.callback(postgres.drop_database, database)
            folder = tmp_path / f'site-{len(sites)}'
            folder.mkdir()
            site = Site(folder, postgres, database, rabbit, vhost, auth, receiver)
            sites.append(site)
            undo.enter_context(in_use(site, request))
            return site

        yield make


@pytest.fixture(autouse=True)
def rows_are_kept(request: pytest.FixtureRequest) -> Iterator[None]:
    """What is lost and doubled is shown at the end of the session."""
    before = len(TABLE.rows)
    yield
    keep_rows(request, before)


@contextmanager
def in_use(site: Site, request: pytest.FixtureRequest) -> Iterator[Site]:
    """An installation from its first event to its last queue; after a failure its processes tell their stories."""
    site.bus.patience = 120
    site.bus.declare_exchange()
    yield site
    story = site.story()
    site.clean_up()
    if hasattr(request.node, 'rep_call') and request.node.rep_call.failed:
        print(story)
    for queue in (site.queue, site.tasks_queue, f'{site.tasks_queue}.suspects'):
        site.bus.delete_queue(queue)
    site.bus.close()
