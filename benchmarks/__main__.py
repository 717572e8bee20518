"""Measure everything, print one table of ratios, write it as JSON.

    python -m benchmarks [--rounds N] [--events N] [--json FILE]

Rates depend on the machine and on what else it does: ratios within one run are what to compare. Each line is the
median of its rounds. Nothing that is on by default is turned off.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import psutil

from benchmarks import delivery, delivery_client, isolation, latency, load, memory
from benchmarks.stack import FastReceiver
from wazo_webhookd import __version__

LIBRARIES = ('celery', 'kombu', 'sqlalchemy', 'psycopg2-binary', 'flask', 'cheroot', 'requests', 'jinja2', 'pydantic')


def machine() -> dict[str, Any]:
    model = next(
        (
            line.partition(':')[2].strip()
            for line in Path('/proc/cpuinfo').read_text().splitlines()
            if 'model name' in line
        ),
        platform.machine(),
    )
    return {
        'processor': model,
        'cores': len(os.sched_getaffinity(0)),
        'memory_gib': round(psutil.virtual_memory().total / 2**30, 1),
        'system': f'{platform.system()} {platform.release()}',
        'python': platform.python_version(),
        'load': round(os.getloadavg()[0], 2),
    }


def step(name: str, measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Measure something, and say so: all of it takes a quarter of an hour."""
    started = time.monotonic()
    result = measure()
    print(f'{name} ({time.monotonic() - started:.0f} s): {json.dumps(result)}', file=sys.stderr, flush=True)
    return result


def guarded_client(events: int, rounds: int) -> dict[str, Any]:
    receiver = FastReceiver()
    try:
        return delivery_client.compare(receiver.url(), events, 8, rounds)
    finally:
        receiver.stop()


def run(events: int, rounds: int) -> dict[str, Any]:
    loads = [step(f'load {n + 1}', lambda: load.measure(max(1000, events // 2))) for n in range(rounds)]
    delays = [step(f'latency {n + 1}', lambda: latency.measure(200)) for n in range(rounds)]
    speed = step('delivery', lambda: delivery.measure(events, rounds))
    grown = step('memory', lambda: memory.measure(10_000, 20_000))
    others = step('isolation', lambda: isolation.measure(60, 5000))
    guarded = step('client', lambda: guarded_client(events, rounds))

    def of_loads(group: str, key: str) -> float:
        return median(result[group][key] for result in loads)

    lines = [
        ('deliveries/s: single / bare', speed['ratios']['single / bare'], '>= 0.75'),
        ('deliveries/s: fan-out / single', speed['ratios']['fan_out / single'], '>= 1.0'),
        ('processor time: delivery / bare request', speed['ratios']['cpu single / bare'], '<= 2'),
        ('processor time per delivery, ms', speed['single']['cpu_ms'], '<= 1.2'),
        ('latency added to bare, p50 ms', median(d['added']['p50'] for d in delays), '<= 6'),
        ('latency added to bare, p99 ms', median(d['added']['p99'] for d in delays), '<= 25'),
        ('matching: among 10,000 / alone', of_loads('ratios', 'matching: among 10,000 / alone'), '>= 0.95'),
        ('backlog: behind 20,000 / empty', of_loads('ratios', 'backlog: behind 20,000 / empty'), '>= 0.9'),
        ('unwanted events thrown away per second', of_loads('unwanted', 'thrown_away_per_second'), '>= 5000'),
        ('standalone: POST /events to request / bare', of_loads('ratios', 'standalone / bare'), '>= 0.25'),
        ('memory of all processes, idle, MiB', grown['idle_mib'], '<= 250'),
        ('memory after 20,000 more / first 2,000', grown['growth'], '<= 1.1'),
        ('memory that 10,000 subscriptions add, MiB', grown['added_by_subscriptions_mib'], '<= 40'),
        ('guarded client / bare requests.Session, 8 threads', guarded['ratio'], '>= 0.9'),
        ('healthy beside 120 bad ones, p95 ms', others['beside']['beside']['p95_ms'], '<= 100'),
        ('healthy beside 120 bad ones, worst ms', others['beside']['beside']['worst_ms'], '<= 1000'),
        ('another tenant during a storm, p50 ms', others['storm']['calm during']['p50_ms'], '<= 150'),
        ('another tenant during a storm, worst ms', others['storm']['calm during']['worst_ms'], '<= 1000'),
        ('rate of the storm: with the other / alone', others['storm']['storm with / alone'], '>= 0.95'),
    ]
    return {
        'made_at': datetime.now(UTC).isoformat(timespec='seconds'),
        'machine': machine(),
        'versions': {'wazo-webhookd': __version__, **{name: version(name) for name in LIBRARIES}},
        'events': events,
        'rounds': rounds,
        'lines': [{'what': what, 'value': round(value, 3), 'aim': aim} for what, value, aim in lines],
        'details': {'delivery': speed, 'latency': delays, 'load': loads, 'memory': grown, 'isolation': others},
    }


def table(result: dict[str, Any]) -> str:
    facts = result['machine']
    head = (
        f'{facts["processor"]}, {facts["cores"]} cores, {facts["memory_gib"]} GiB, {facts["system"]}, '
        f'Python {facts["python"]}, load {facts["load"]}\n'
        + ', '.join(f'{name} {number}' for name, number in result['versions'].items())
        + f'\n{result["events"]} events, median of {result["rounds"]} rounds\n'
    )
    width = max(len(line['what']) for line in result['lines'])
    rows = (f'{line["what"]:<{width}}  {line["value"]:>10,.3f}  {line["aim"]:>8}' for line in result['lines'])
    return head + '\n'.join(rows)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog='python -m benchmarks', description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--events', type=int, default=5000)
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--json', type=Path, default=Path('benchmark.json'), help='where to write the result')
    arguments = parser.parse_args()
    result = run(arguments.events, arguments.rounds)
    print(table(result))
    arguments.json.write_text(json.dumps(result, indent=2) + '\n')
    print(f'written to {arguments.json}')


if __name__ == '__main__':
    main()
