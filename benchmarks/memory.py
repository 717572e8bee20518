"""How much memory all our processes take: idle, after many deliveries, with many subscriptions.

    python -m benchmarks.memory [--subscriptions N] [--deliveries N]

MiB of unique set size (what would be free if the processes ended). Prints a JSON object.
"""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

import psutil

from benchmarks.rows import insert_subscriptions
from benchmarks.stack import FastReceiver, Stack, stack

SETTLE_SECONDS = 3.0


def of_daemon(running: Stack) -> float:
    return float(psutil.Process(running.daemon.pid).memory_full_info().uss) / 2**20


def measure(subscriptions: int, deliveries: int) -> dict[str, Any]:
    receiver = FastReceiver()
    try:
        with stack() as running:
            time.sleep(SETTLE_SECONDS)
            idle = running.memory()
            resident = sum(process.memory_info().rss for process in running.processes()) / 2**20
            running.rest.subscribe(receiver.url(), ['bench_memory'])
            running.publish('bench_memory', 2000)
            running.wait_for_attempts(2000)
            first = running.memory()
            for done in range(2000, 2000 + deliveries, 2000):
                running.publish('bench_memory', 2000)
                running.wait_for_attempts(done + 2000)
            later = running.memory()
            empty = of_daemon(running)
            started = time.perf_counter()
            insert_subscriptions(running.site, subscriptions)
            running.daemon.stop()
            again = running.site.daemon('again').ready()
            seconds = time.perf_counter() - started
            full = Stack(running.site, again)
            time.sleep(SETTLE_SECONDS)
            with_many = of_daemon(full)
            again.stop()
            running.site.query('DELETE FROM webhookd_subscription')
            none = Stack(running.site, running.site.daemon('none').ready())
            time.sleep(SETTLE_SECONDS)
            with_none = of_daemon(none)
    finally:
        receiver.stop()
    return {
        'idle_mib': round(idle, 1),
        'idle_rss_mib': round(resident, 1),
        'after_first_2000_mib': round(first, 1),
        f'after_{2000 + deliveries}_mib': round(later, 1),
        'growth': round(later / first, 3),
        'daemon_after_deliveries_mib': round(empty, 1),
        'daemon_without_subscriptions_mib': round(with_none, 1),
        f'daemon_with_{subscriptions}_mib': round(with_many, 1),
        'added_by_subscriptions_mib': round(with_many - with_none, 1),
        'restart_seconds': round(seconds, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--subscriptions', type=int, default=10_000)
    parser.add_argument('--deliveries', type=int, default=20_000)
    arguments = parser.parse_args()
    print(json.dumps(measure(arguments.subscriptions, arguments.deliveries), indent=2))


if __name__ == '__main__':
    main()
