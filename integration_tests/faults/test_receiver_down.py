"""A receiver that is not there for the first minutes."""

from __future__ import annotations

import time
from itertools import pairwise

import pytest

from integration_tests.faults.run import Run
from integration_tests.support.ports import free_port
from integration_tests.support.receiver import Receiver
from integration_tests.support.site import Site
from integration_tests.support.until import until

pytestmark = pytest.mark.timeout(240)

FIRST_ATTEMPTS = (
    'SELECT l.started_at, d.sequence FROM webhookd_subscription_log l JOIN webhookd_delivery d ON d.uuid = l.uuid'
    ' WHERE l.attempts = 1 AND d.subscription_uuid = %s ORDER BY d.sequence'
)


def test_receiver_down_at_first(site: Site, size: str) -> None:
    """Nothing of what came meanwhile is lost, and first attempts leave in the order of their events."""
    events, seconds = (120, 6) if size == 'short' else (300, 120)
    settings = {'circuit': {'rest': 2, 'rest_max': 4}, 'hook_retry_schedule': [0, 2, 4, 8, 8, 8]}
    with (
        Run(
            f'receiver down for the first {seconds} s', size, site, receivers=[receiver := Receiver(free_port())]
        ) as run,
        receiver,
    ):
        receiver.stop()
        # One hand: what leaves in order starts in order.
        daemon = site.daemon(celery={'processes': 1, 'hands': 1}, **(settings if size == 'short' else {})).ready()
        names = ('a', 'b', 'c')
        subscriptions = [daemon.rest.subscribe(receiver.url(f'/{name}'), [name]) for name in names]
        down = time.monotonic()
        load = run.publish(events, 60, names)
        load.done()
        until(lambda: site.query("SELECT 1 FROM webhookd_subscription_log WHERE status = 'failure'"), 20)
        until(lambda: time.monotonic() - down > seconds, seconds + 10, every=0.2)
        assert receiver.requests == []
        receiver.start()
        row = run.finish(90 if size == 'short' else 600)

        assert row.doubled == 0
        for subscription in subscriptions:
            started = [at for at, _ in site.query(FIRST_ATTEMPTS, subscription)]
            assert len(started) == events / len(names)
            assert all(earlier < later for earlier, later in pairwise(started))
