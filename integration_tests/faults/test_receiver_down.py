"""A receiver that is not there for the first minutes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import accumulate

import pytest

from integration_tests.faults.run import Run
from integration_tests.support.ports import free_port
from integration_tests.support.receiver import Receiver
from integration_tests.support.site import Site
from integration_tests.support.until import until

pytestmark = pytest.mark.timeout(240)

FIRST_ATTEMPTS = (
    "SELECT started_at, (event #>> '{data,number}')::int AS number FROM webhookd_subscription_log"
    ' WHERE attempts = 1 AND subscription_uuid = %s ORDER BY number'
)


def out_of_turn(started: Sequence[datetime]) -> timedelta:
    """How long somebody started before one whose turn it was, at most."""
    return max(latest - at for at, latest in zip(started, accumulate(started, max), strict=True))


def test_receiver_down_at_first(site: Site, size: str) -> None:
    """Nothing of what came meanwhile is lost, and first attempts leave in the order of their events."""
    events, seconds, pace = (120, 6, 15) if size == 'short' else (300, 120, 1.2)
    # What leaves in order starts in order if there is one hand; several are threads, which start about together.
    hands, together = (1, timedelta(0)) if size == 'short' else (16, timedelta(seconds=0.25))
    settings = {'circuit': {'rest': 2, 'rest_max': 4}, 'hook_retry_schedule': [0, 2, 4, 8, 8, 8]}
    with (
        Run(
            f'receiver down for the first {seconds} s', size, site, receivers=[receiver := Receiver(free_port())]
        ) as run,
        receiver,
    ):
        receiver.stop()
        daemon = site.daemon(celery={'processes': 1, 'hands': hands}, **(settings if size == 'short' else {})).ready()
        names = ('a', 'b', 'c')
        subscriptions = [daemon.rest.subscribe(receiver.url(f'/{name}'), [name]) for name in names]
        down = time.monotonic()
        load = run.publish(events, pace, names)
        until(lambda: site.query("SELECT 1 FROM webhookd_subscription_log WHERE status = 'failure'"), 20)
        until(lambda: time.monotonic() - down > seconds, seconds + 10, every=0.2)
        assert receiver.requests == []
        receiver.start()
        assert len(load.sent) < events, 'what comes from now on waits behind the rest'
        row = run.finish(90 if size == 'short' else 600)

        assert row.doubled == 0
        for subscription in subscriptions:
            started = [at for at, _ in site.query(FIRST_ATTEMPTS, subscription)]
            assert len(started) == events / len(names)
            assert out_of_turn(started) <= together
