"""How many deliveries a second, end to end, and what each costs; compared with the bare loop in the same run.

    python -m benchmarks.delivery [--events N] [--rounds N]

End to end: published on the bus, request answered, attempt recorded. Prints a JSON object.
"""

from __future__ import annotations

import argparse
import json
import time
from statistics import median
from typing import Any

from benchmarks.stack import FastReceiver, Stack, bare, stack


def one_to_many(running: Stack, name: str, events: int, per_event: int) -> dict[str, float]:
    """Publish ``events`` events that make ``per_event`` deliveries each; rate and processor milliseconds of each."""
    deliveries = events * per_event
    before, processor = running.attempts(), running.cpu()
    started = time.perf_counter()
    running.publish(name, events)
    ended = running.wait_for_attempts(before + deliveries)
    spent = {pid: seconds - processor.get(pid, 0.0) for pid, seconds in running.cpu().items()}
    daemon = spent.pop(running.daemon.pid)
    return {
        'per_second': deliveries / (ended - started),
        'cpu_ms': 1000 * (daemon + sum(spent.values())) / deliveries,
        'cpu_ms_daemon': 1000 * daemon / deliveries,
    }


def measure(events: int, rounds: int) -> dict[str, Any]:
    receiver = FastReceiver()
    results: dict[str, list[dict[str, float]]] = {'bare': [], 'single': [], 'fan_out': []}
    try:
        with stack() as running:
            running.rest.subscribe(receiver.url('/single'), ['bench_single'])
            for number in range(100):
                running.rest.subscribe(receiver.url(f'/fan/{number}'), ['bench_fan'])
            one_to_many(running, 'bench_single', 1000, 1)
            one_to_many(running, 'bench_fan', 10, 100)
            for _ in range(rounds):
                results['bare'].append(bare(receiver.url('/bare'), events))
                results['single'].append(one_to_many(running, 'bench_single', events, 1))
                results['fan_out'].append(one_to_many(running, 'bench_fan', max(1, events // 100), 100))
    finally:
        receiver.stop()
    middle = {
        name: {key: round(median(row[key] for row in rows), 3) for key in rows[0]} for name, rows in results.items()
    }
    reference = middle['bare']
    return {
        **middle,
        'ratios': {
            'single / bare': round(
                median(
                    s['per_second'] / b['per_second'] for s, b in zip(results['single'], results['bare'], strict=True)
                ),
                3,
            ),
            'fan_out / single': round(
                median(
                    f['per_second'] / s['per_second']
                    for f, s in zip(results['fan_out'], results['single'], strict=True)
                ),
                3,
            ),
            'cpu single / bare': round(middle['single']['cpu_ms'] / reference['cpu_ms'], 2),
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--events', type=int, default=5000)
    parser.add_argument('--rounds', type=int, default=5)
    arguments = parser.parse_args()
    print(json.dumps(measure(arguments.events, arguments.rounds), indent=2))


if __name__ == '__main__':
    main()
