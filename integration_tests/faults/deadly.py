"""A delivery that ends every process that runs it: given up after three deaths alone, and nobody else with it."""

from __future__ import annotations

import time

from integration_tests.faults.run import Run
from integration_tests.support.receiver import Answer
from integration_tests.support.site import Site
from integration_tests.support.until import until

WAYS = {'short': ['segmentation fault'], 'full': ['segmentation fault', 'killed', 'abort', 'exit']}
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
        names = run.crowd(rest, 8, always=Answer(delay=1.2))
        began = time.monotonic()
        load = run.publish(100, 20, names)
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
