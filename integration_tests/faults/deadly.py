"""A delivery that ends every process that runs it: given up after three deaths alone, and nobody else with it."""

from __future__ import annotations

import time
from collections.abc import Iterable

from integration_tests.faults.run import Run
from integration_tests.support.receiver import Answer, Received
from integration_tests.support.site import Site
from integration_tests.support.until import until

WAYS = {'short': ['segmentation fault'], 'full': ['segmentation fault', 'killed', 'abort', 'exit']}
DELAY = 1.2
NOTICED = 1.5
"""Seconds within which the end of a worker's life is written down."""

ENDS = "SELECT extract(epoch FROM ended_at)::float FROM webhookd_process WHERE kind = 'worker' AND ended_at IS NOT NULL"
STATES = 'SELECT state, count(*) FROM webhookd_delivery WHERE subscription_uuid <> ALL(%s) GROUP BY state'


def deadly_deliveries(site: Site, size: str) -> None:
    """The service ``deadly`` is installed."""
    deadly: dict[str, str] = {}
    with Run(
        'deliveries that end their workers',
        size,
        site,
        states=lambda: dict(site.query(STATES, list(deadly.values()))),  # type: ignore[arg-type]
    ) as run:
        daemon = site.daemon(enabled_services={'deadly': True}, celery={'processes': 2, 'hands': 16}).ready()
        rest = daemon.rest

        def create(how: str) -> str:
            return str(
                rest.create({'name': how, 'service': 'deadly', 'events': ['go'], 'config': {'how': how}})['uuid']
            )

        def ended(subscription: str, state: str) -> bool:
            return [item['state'] for item in rest.deliveries(subscription)] == [state]

        deadly |= {how: create(how) for how in WAYS[size]}
        innocent = create('1.5')
        names = run.crowd(rest, 8, always=Answer(delay=DELAY))
        began = time.monotonic()
        load = run.publish(100 if size == 'short' else 800, 20, names)
        load.at(20)
        rest.send('go', {'number': -1})
        until(lambda: all(ended(uuid, 'error') for uuid in deadly.values()), 300, every=0.3, what='they are given up')
        print(f'given up after {time.monotonic() - began:.0f} s')
        until(lambda: ended(innocent, 'success'), 60)

        for uuid in deadly.values():
            (delivery,) = rest.deliveries(uuid)
            (row,) = rest.logs(uuid)
            assert '3 times with nothing else' in delivery['reason']
            assert row['status'] == 'error'
            assert row['detail']['error'] == delivery['reason']
        run.finish(60, deaths=False)

        ends = [float(at) for (at,) in site.query(ENDS)]
        for request in interrupted(run.requests()):
            assert any(0 <= end - request.at <= DELAY + NOTICED for end in ends), f'no worker died under {request}'


def interrupted(requests: Iterable[Received]) -> list[Received]:
    """Those whose deliveries came again later."""
    last: dict[str, Received] = {}
    again: list[Received] = []
    for request in sorted(requests, key=lambda request: request.at):
        if request.delivery in last:
            again.append(last[request.delivery])
        last[request.delivery] = request
    return again
