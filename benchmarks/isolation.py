"""What others do to a healthy endpoint, and one tenant's storm to another tenant.

    python -m benchmarks.isolation [--seconds N] [--storm N]

One healthy endpoint, first alone, then beside 100 that hang until the deadline, 10 that refuse and 10 that drip, all
receiving one event a second; then single deliveries of one tenant, alone and during another tenant's storm, and the
storm's own rate, alone and with them. Milliseconds from publication to request. Prints a JSON object.
"""

from __future__ import annotations

import argparse
import json
import threading
import time
from statistics import median
from typing import Any

from benchmarks.stack import Stack, percentile, stack
from integration_tests.support.bus import event
from integration_tests.support.crowd import Crowd

STORM_OFFSET = 1_000_000
STORMS = 3


def tick(running: Stack, name: str, count: int, pause: float, tenant: str | None = None) -> dict[int, float]:
    """Publish ``count`` events, one every ``pause`` seconds; when each was published, by its number."""
    headers = event(name, tenant=tenant)
    published: dict[int, float] = {}
    start = time.time()
    for number in range(count):
        time.sleep(max(0.0, start + number * pause - time.time()))
        published[number] = time.time()
        running.publish_one(headers, number)
    return published


def figures(crowd: Crowd, published: dict[int, float], temper: str = 'healthy') -> dict[str, float]:
    deadline = time.monotonic() + 30
    while len(crowd.delays(temper, published)) < len(published) and time.monotonic() < deadline:
        time.sleep(0.05)
    delays = [1000 * delay for delay in crowd.delays(temper, published)]
    return {
        'published': len(published),
        'arrived': len(delays),
        'p50_ms': round(percentile(delays, 0.5), 1),
        'p95_ms': round(percentile(delays, 0.95), 1),
        'worst_ms': round(max(delays), 1),
    }


def beside_the_bad(running: Stack, seconds: int) -> dict[str, Any]:
    with Crowd(hanging=100, refusing=10, dripping=10, healthy=1) as crowd:
        running.rest.subscribe(crowd.url('healthy'), ['tick', 'tick_alone'])
        tick(running, 'tick_alone', 5, 0.2)
        time.sleep(1)
        crowd.arrivals.clear()
        alone = figures(crowd, tick(running, 'tick_alone', max(10, seconds // 3), 1.0))
        crowd.arrivals.clear()
        for url in crowd.urls():
            if '/healthy' not in url:
                running.rest.subscribe(url, ['tick'])
        beside = figures(crowd, tick(running, 'tick', seconds, 1.0))
    return {'alone': alone, 'beside': beside, 'p95 beside / alone': round(beside['p95_ms'] / alone['p95_ms'], 2)}


def storm(running: Stack, count: int) -> dict[str, Any]:
    site = running.site
    stormy, calm = site.auth.add_tenant(), site.auth.add_tenant()
    with Crowd(healthy=1, hanging=1) as crowd:
        for tenant, name, url in (
            (stormy, 'storm', crowd.url('healthy') + '?storm'),
            (calm, 'calm', crowd.url('healthy')),
        ):
            config = {'url': url, 'method': 'post'}
            running.rest.create({'name': name, 'service': 'http', 'events': [name], 'config': config}, tenant=tenant)
        running.publish('storm', 500, tenant=stormy, first=STORM_OFFSET)
        running.wait_for_attempts(500)
        crowd.arrivals.clear()
        quiet = figures(crowd, tick(running, 'calm', 50, 0.1, calm))
        pairs = [
            (one_storm(running, crowd, count, stormy, None)[0], one_storm(running, crowd, count, stormy, calm))
            for _ in range(STORMS)
        ]
    during = [figures_ for _, (_, figures_) in pairs]
    return {
        'calm alone': quiet,
        'calm during': {
            'published': sum(row['published'] for row in during),
            'arrived': sum(row['arrived'] for row in during),
            'p50_ms': median(row['p50_ms'] for row in during),
            'p95_ms': median(row['p95_ms'] for row in during),
            'worst_ms': max(row['worst_ms'] for row in during),
        },
        'storm alone per second': round(median(alone for alone, _ in pairs)),
        'storm with calm per second': round(median(rate for _, (rate, _) in pairs)),
        'storm with / alone': round(median(rate / alone for alone, (rate, _) in pairs), 2),
    }


def one_storm(
    running: Stack, crowd: Crowd, count: int, stormy: str, calm: str | None
) -> tuple[float, dict[str, float]]:
    """One storm, beside events of tenant ``calm`` if one is named: deliveries a second, and the delays of the calm."""
    time.sleep(1)
    crowd.arrivals.clear()
    before = running.attempts()
    channel = running.site.another_bus()
    during: dict[int, float] = {}
    started = time.perf_counter()
    publisher = threading.Thread(target=lambda: running.publish('storm', count, tenant=stormy, first=STORM_OFFSET))
    publisher.start()
    while calm is not None and len(crowd.arrivals) < count + len(during):
        during[len(during)] = time.time()
        channel.publish('calm', {'n': len(during) - 1}, tenant=calm)
        time.sleep(0.05)
    publisher.join()
    ended = running.wait_for_attempts(before + count + len(during))
    channel.close()
    return count / (ended - started), figures(crowd, during) if during else {}


def measure(seconds: int, count: int) -> dict[str, Any]:
    with stack() as running:
        result = {'storm': storm(running, count)}
    with stack() as running:
        result['beside'] = beside_the_bad(running, seconds)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--seconds', type=int, default=60)
    parser.add_argument('--storm', type=int, default=5000)
    arguments = parser.parse_args()
    print(json.dumps(measure(arguments.seconds, arguments.storm), indent=2))


if __name__ == '__main__':
    main()
