"""No receiver hurts another: a healthy endpoint keeps its pace whatever others do, tenants take turns.

The figures are printed; what is asserted is ten times what is aimed at, because machines are noisy.
"""

from __future__ import annotations

import threading
import time

from integration_tests.support.crowd import Crowd
from integration_tests.support.figures import Note
from integration_tests.support.site import Site
from integration_tests.support.until import until

SECONDS = 20


def share(values: list[float], part: float) -> float:
    return sorted(values)[min(len(values) - 1, int(part * len(values)))]


def tick(site: Site, name: str, count: int, pause: float, **more: object) -> dict[int, float]:
    """Publish ``count`` events, one every ``pause`` seconds; when each was published, by its number."""
    published: dict[int, float] = {}
    start = time.time()
    for number in range(count):
        time.sleep(max(0.0, start + number * pause - time.time()))
        published[number] = time.time()
        site.bus.publish(name, {'n': number}, **more)
    return published


def test_a_healthy_endpoint_keeps_its_pace_beside_those_that_hang_drip_and_refuse(site: Site, note: Note) -> None:
    site.configure(celery={'processes': 2, 'hands': 128})
    with Crowd(hanging=100, refusing=10, dripping=10, healthy=1) as crowd:
        rest = site.daemon().ready().rest
        for url in crowd.urls():
            rest.subscribe(url, ['tick'])
        published = tick(site, 'tick', SECONDS, 1.0)
        until(lambda: len(crowd.delays('healthy', published)) >= SECONDS, 15, what='the healthy one has them all')
        delays = crowd.delays('healthy', published)

    p50, p95, worst = (1000 * share(delays, part) for part in (0.5, 0.95, 1))
    note(
        'a healthy endpoint beside 100 hanging, 10 refusing, 10 dripping: '
        f'p50 {p50:.0f} ms, p95 {p95:.0f}, worst {worst:.0f}'
    )
    assert len(delays) == SECONDS
    assert share(delays, 0.95) < 1.0
    assert max(delays) < 10.0


def test_a_slow_receiver_that_always_answers_gets_ten_at_a_time(site: Site, note: Note) -> None:
    site.configure(celery={'processes': 2, 'hands': 128})
    with Crowd(slow=1) as crowd:
        rest = site.daemon().ready().rest
        subscription = rest.subscribe(crowd.url('slow'), ['slow'])
        started = time.monotonic()
        tick(site, 'slow', 200, 0.0)
        until(lambda: len(crowd.arrivals) >= 200, 60, what='200 requests at the slow receiver')
        until(lambda: rest.get(f'/subscriptions/{subscription}/health')['waiting'] == 0, 10)
        seconds = time.monotonic() - started

    note(f'200 deliveries to a receiver of 2 s: {seconds:.0f} s, up to {crowd.most_at_once["slow"]} at a time')
    assert crowd.most_at_once['slow'] >= 10
    assert len({number for _, number, _ in crowd.arrivals}) == 200


def test_one_tenants_storm_does_not_delay_another_tenant(site: Site, note: Note) -> None:
    site.configure(celery={'processes': 2, 'hands': 128})
    stormy, calm = site.auth.add_tenant(), site.auth.add_tenant()
    with Crowd(healthy=2) as crowd:
        rest = site.daemon().ready().rest
        for tenant, name, number in ((stormy, 'storm', 0), (calm, 'calm', 1)):
            config = {'url': crowd.url('healthy', number), 'method': 'post'}
            rest.create({'name': name, 'service': 'http', 'events': [name], 'config': config}, tenant=tenant)
        tick(site, 'calm', 10, 0.05, tenant=calm)
        until(lambda: len(crowd.arrivals) >= 10, 10)
        crowd.arrivals.clear()
        storm = threading.Thread(
            target=lambda: [site.bus.publish('storm', {'n': 1_000_000 + n}, tenant=stormy) for n in range(3000)]
        )
        storm.start()
        quiet = site.another_bus()
        published = {}
        while storm.is_alive():
            number = len(published)
            published[number] = time.time()
            quiet.publish('calm', {'n': number}, tenant=calm)
            time.sleep(0.1)
        until(lambda: len(crowd.arrivals) >= 3000 + len(published), 60, what='the storm and the calm are through')
        delays = crowd.delays('healthy', published)
        quiet.close()

    note(
        f'{len(delays)} deliveries of another tenant during a storm of 3,000: '
        f'p50 {1000 * share(delays, 0.5):.0f} ms, worst {1000 * max(delays):.0f} ms'
    )
    assert len(delays) == len(published)
    assert share(delays, 0.5) < 1.5
    assert max(delays) < 10.0
