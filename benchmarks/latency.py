"""How long one event takes from its publication to the request at the receiver, ten a second.

    python -m benchmarks.latency [--events N]

Compared with a bare AMQP publish, consume and POST with nothing stored, in the same run. Prints JSON, milliseconds.
"""

from __future__ import annotations

import argparse
import json
import threading
import time
from typing import Any

import amqp
import requests

from benchmarks.stack import FastReceiver, Stack, percentile, stack
from integration_tests.support.bus import event

PAUSE_SECONDS = 0.1


def paced(count: int, act: Any) -> list[float]:
    """Call ``act(number)`` ten times a second; the times (Unix) just before each call."""
    times = []
    start = time.time()
    for number in range(count):
        time.sleep(max(0.0, start + number * PAUSE_SECONDS - time.time()))
        times.append(time.time())
        act(number)
    return times


def latencies(receiver: FastReceiver, path: str, published: list[float]) -> list[float]:
    """Milliseconds from publication to arrival; the number is the last part of the path."""
    deadline = time.monotonic() + 30
    while len(arrived := arrivals(receiver, path)) < len(published):
        if time.monotonic() > deadline:
            raise SystemExit(f'only {len(arrived)} of {len(published)} requests arrived')
        time.sleep(0.05)
    return [1000 * (arrived[number] - at) for number, at in enumerate(published)]


def arrivals(receiver: FastReceiver, path: str) -> dict[int, float]:
    """When each number came."""
    return {int(at_path.rpartition('/')[2]): at for at_path, at in receiver.arrivals() if at_path.startswith(path)}


def bare_consumer(running: Stack, url: str, stop: threading.Event, ready: threading.Event) -> None:
    site = running.site
    connection = amqp.Connection(
        host=f'{site.rabbit.host}:{site.rabbit.port}', userid='guest', password='guest', virtual_host=site.vhost
    )
    connection.connect()
    channel = connection.channel()
    queue = channel.queue_declare('', exclusive=True).queue
    channel.queue_bind(queue, site.bus.exchange, '', arguments={'name': 'bench_bare', 'x-match': 'all'})
    session = requests.Session()

    def deliver(message: Any) -> None:
        body = json.loads(message.body)
        session.post(f'{url}/{body["data"]["n"]}', json=body['data'], timeout=10)

    channel.basic_consume(queue, no_ack=True, callback=deliver)
    ready.set()
    while not stop.is_set():
        try:
            connection.drain_events(timeout=0.2)
        except TimeoutError:
            continue
    connection.close()


def measure(events: int) -> dict[str, Any]:
    receiver = FastReceiver()
    try:
        with stack() as running:
            running.rest.subscribe(receiver.url('/ours/{{ event.n }}'), ['bench_latency'])
            headers = event('bench_latency')
            paced(10, lambda number: running.publish_one(headers, number))
            latencies(receiver, '/ours', [0.0] * 10)
            receiver.reset()
            ours = latencies(receiver, '/ours', paced(events, lambda number: running.publish_one(headers, number)))

            stop, ready = threading.Event(), threading.Event()
            consumer = threading.Thread(target=bare_consumer, args=(running, receiver.url('/bare'), stop, ready))
            consumer.start()
            ready.wait(10)
            bare_headers = event('bench_bare')
            latencies(receiver, '/bare', paced(10, lambda number: running.publish_one(bare_headers, number)))
            receiver.reset()
            bare = latencies(receiver, '/bare', paced(events, lambda number: running.publish_one(bare_headers, number)))
            stop.set()
            consumer.join()
    finally:
        receiver.stop()
    table = {
        name: {'p50': round(percentile(values, 0.5), 2), 'p99': round(percentile(values, 0.99), 2)}
        for name, values in (('bare', bare), ('ours', ours))
    }
    return {**table, 'added': {key: round(table['ours'][key] - table['bare'][key], 2) for key in ('p50', 'p99')}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--events', type=int, default=200)
    print(json.dumps(measure(parser.parse_args().events), indent=2))


if __name__ == '__main__':
    main()
