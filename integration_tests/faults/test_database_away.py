"""The database refuses, or says nothing, for a while: nothing hangs, nothing grows, nothing is lost."""

from __future__ import annotations

import time

import psutil
import pytest
import requests

from integration_tests.faults.conftest import FULL
from integration_tests.faults.run import Run
from integration_tests.support.receiver import Answer
from integration_tests.support.site import Site
from integration_tests.support.until import until
from integration_tests.support.wire import Wire

pytestmark = pytest.mark.timeout(240)

MEGABYTE = 1024 * 1024


def memory(*processes: psutil.Process) -> float:
    """Megabytes in use by all of them."""
    return sum(process.memory_info().rss for process in processes) / MEGABYTE


@pytest.mark.parametrize('how', ['refuses', pytest.param('says nothing', marks=FULL)])
def test_database_away_for_a_while(site: Site, how: str) -> None:
    with Run(f'the database {how} for some seconds', 'short', site) as run, Wire(site.postgres.port) as wire:
        uri = site.config['db_uri'].replace(f':{site.postgres.port}/', f':{wire.port}/')
        daemon = site.daemon(db_uri=uri, celery={'processes': 2, 'hands': 16}).ready()
        names = run.crowd(daemon.rest, 8, always=Answer(delay=0.05))
        load = run.publish(2000, 400, names)
        load.at(60)
        before = memory(psutil.Process(daemon.pid), *daemon.workers())
        gone = time.monotonic()
        wire.part() if how == 'refuses' else wire.hold()

        def refused() -> bool:
            answer = daemon.rest.call('POST', '/events', {'name': 'unwanted', 'data': {}}, timeout=40)
            return answer.status_code == 503 and answer.json()['error_id'] == 'database-unavailable'

        asked = time.monotonic()
        until(refused, 60, what='POST /events says 503')
        longest = time.monotonic() - asked
        asked = time.monotonic()
        assert refused()
        again = time.monotonic() - asked
        asked = time.monotonic()
        assert daemon.rest.get('/status')['database']['status'] == 'fail'
        status = time.monotonic() - asked
        load.done()
        until(lambda: time.monotonic() - gone > 5, 20)
        until(lambda: site.bus.depth(site.queue) or 0 > 0, 10, what='events stay with the broker')
        growth = memory(psutil.Process(daemon.pid), *daemon.workers()) - before
        wire.join() if how == 'refuses' else wire.let_pass()
        back = time.monotonic()
        until(daemon.all_ok, 60, catching=requests.RequestException)
        healed = time.monotonic() - back
        row = run.finish(120)

        print(
            f'first 503 after {longest:.1f} s, then after {again:.1f} s; {growth:.0f} MB more; healed in {healed:.1f} s'
        )
        assert row.doubled == 0
        assert longest < 30
        assert again < 12
        assert status < 6
        assert growth < 60
        assert healed < 15
