"""What guard and isolation cost: our HTTP client against an unguarded one, same requests, same number of threads.

    python benchmarks/delivery_client.py [--count N] [--threads N,N,…] [--rounds N]

prints JSON: ``{"threads": T, "ours": R, "requests": R, "ratio": R, "ours_cpu_ms": C, "requests_cpu_ms": C}`` per line,
medians over the rounds, in requests per second and processor milliseconds per request (receiver not counted).
The unguarded client is a kept ``requests.Session`` per thread, as it comes.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import requests

from wazo_webhookd import config
from wazo_webhookd.egress.client import EgressClient
from wazo_webhookd.services.http.request import build

EVENT = {
    'name': 'call_ended',
    'data': {'call_id': '1719345600.42', 'caller_id_number': '1001', 'caller_id_name': 'Alice', 'n': 0},
    'origin_uuid': '6c8b1ad0-9b7c-4b2c-a4a3-5f0f3f5d1c11',
}
ID = '0f5ab6d0-93d6-4b53-8a4e-0d0f6f3a0001'


def ours(url: str) -> Callable[[int], None]:
    """Everything that the http service does for an attempt: build, render, judge, send, read."""
    client = EgressClient(config.from_tree({}, standalone=True, data_dir=None).egress)
    subscription = {'url': url, 'method': 'post'}

    def run(count: int) -> None:
        for _ in range(count):
            hook = build(subscription, EVENT, role='admin', delivery_uuid=ID, timestamp=0, user_agent='benchmark')
            client.send(hook.method, hook.target, hook.headers, hook.body, role='admin').raise_for_status()

    return run


def theirs(url: str) -> Callable[[int], None]:
    def run(count: int) -> None:
        with requests.Session() as session:
            for _ in range(count):
                session.post(url, json=EVENT['data'], timeout=(5, 15)).raise_for_status()

    return run


def measure(run: Callable[[int], None], count: int, threads: int) -> tuple[float, float]:
    """Requests per second, processor milliseconds per request."""
    share = count // threads
    workers = [threading.Thread(target=run, args=(share,)) for _ in range(threads)]
    started, processor = time.perf_counter(), time.process_time()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    seconds, processor = time.perf_counter() - started, time.process_time() - processor
    return share * threads / seconds, 1000 * processor / (share * threads)


def compare(url: str, count: int, threads: int, rounds: int) -> dict[str, float]:
    one, other = ours(url), theirs(url)
    one(20), other(20)
    results: dict[str, list[tuple[float, float]]] = {'ours': [], 'requests': []}
    for _ in range(rounds):
        results['ours'].append(measure(one, count, threads))
        results['requests'].append(measure(other, count, threads))
    rate = {name: statistics.median(pair[0] for pair in pairs) for name, pairs in results.items()}
    cpu = {name: statistics.median(pair[1] for pair in pairs) for name, pairs in results.items()}
    return {
        'threads': threads,
        'ours': round(rate['ours'], 1),
        'requests': round(rate['requests'], 1),
        'ratio': round(rate['ours'] / rate['requests'], 3),
        'ours_cpu_ms': round(cpu['ours'], 3),
        'requests_cpu_ms': round(cpu['requests'], 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description='Compare our HTTP client with an unguarded requests.Session.')
    parser.add_argument('--count', type=int, default=2000)
    parser.add_argument('--threads', default='1,8,32')
    parser.add_argument('--rounds', type=int, default=3)
    asked = parser.parse_args()
    receiver = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name('receiver.py'))], stdout=subprocess.PIPE, text=True
    )
    try:
        assert receiver.stdout is not None
        url = f'http://127.0.0.1:{int(receiver.stdout.readline())}/hook'
        for threads in asked.threads.split(','):
            print(json.dumps(compare(url, asked.count, int(threads), asked.rounds)), flush=True)
    finally:
        receiver.terminate()
        receiver.wait()


if __name__ == '__main__':
    main()
