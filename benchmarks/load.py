"""What must not slow the daemon down: many subscriptions, a backlog, events that nobody wants; and standalone.

    python -m benchmarks.load [--events N]

Ratios are within this run. Prints a JSON object.
"""

from __future__ import annotations

import argparse
import http.client
import json
import tempfile
import threading
import time
from pathlib import Path
from statistics import mean
from typing import Any

from benchmarks.rows import insert_subscriptions
from benchmarks.stack import FastReceiver, Stack, bare, stack
from integration_tests.support.bus import event
from integration_tests.support.site import Daemon

MANY = 10_000
BACKLOG = 20_000
UNWANTED = 20_000
CLIENTS = 8


def events_per_second(running: Stack, events: int) -> float:
    """Events of a name that all subscriptions want, for a user of whom only one of them wants to hear."""
    before = running.attempts()
    started = time.perf_counter()
    running.publish('bench_match', events)
    return events / (running.wait_for_attempts(before + events) - started)


def restarted(running: Stack, name: str) -> None:
    """Let another daemon take the place of the running one."""
    running.daemon.stop()
    running.daemon = running.site.daemon(name).ready()
    running.rest = running.daemon.rest


def matching(running: Stack, receiver: FastReceiver, events: int) -> dict[str, float]:
    """One subscription matches: beside 10,000 that want the same name for other users, and (before and after) alone."""
    running.rest.subscribe(receiver.url('/match'), ['bench_match'])
    rates: dict[str, list[float]] = {'alone': [], 'among': []}
    for name in ('alone', 'among', 'alone again'):
        if name == 'among':
            insert_subscriptions(running.site, MANY, wanted='bench_match')
        elif name == 'alone again':
            running.site.query("DELETE FROM webhookd_subscription WHERE name LIKE 'subscription %%'")
        restarted(running, name.replace(' ', '-'))
        events_per_second(running, 500)
        rates[name.split()[0]] += [events_per_second(running, events) for _ in range(2)]
    return {'alone_per_second': mean(rates['alone']), 'among_10000_per_second': mean(rates['among'])}


def to_healthy(running: Stack, receiver: FastReceiver, events: int) -> float:
    """Deliveries per second to an endpoint that answers; what fails elsewhere does not count."""
    before, arrived = running.succeeded(), receiver.count()
    started = time.perf_counter()
    running.publish('bench_backlog', events)
    until_count(receiver, arrived + events)
    while running.succeeded() < before + events:
        time.sleep(0.02)
    return events / (time.perf_counter() - started)


def backlog(running: Stack, receiver: FastReceiver, events: int) -> dict[str, float]:
    """The rate to a healthy endpoint while 20,000 deliveries wait for one that refuses connections, and (before and
    after) while none do."""
    running.rest.subscribe(receiver.url('/backlog'), ['bench_backlog'])
    to_healthy(running, receiver, 1000)
    empty = [to_healthy(running, receiver, events) for _ in range(2)]
    dead = running.rest.subscribe('http://127.0.0.1:9/', ['bench_dead'])
    running.publish('bench_dead', BACKLOG)
    deadline = time.monotonic() + 60
    while running.rest.status()['deliveries']['waiting'] < BACKLOG and time.monotonic() < deadline:
        time.sleep(0.2)
    behind = [to_healthy(running, receiver, events) for _ in range(4)]
    running.rest.call('DELETE', f'/subscriptions/{dead}')
    empty += [to_healthy(running, receiver, events) for _ in range(2)]
    return {'empty_per_second': mean(empty), 'behind_20000_per_second': mean(behind)}


def unwanted(running: Stack) -> dict[str, float]:
    """Events of a name that is bound although nobody wants it any more."""
    subscription = running.rest.subscribe('http://127.0.0.1:9/', ['bench_unwanted'])
    running.rest.call('DELETE', f'/subscriptions/{subscription}')
    site = running.site
    headers = event('bench_unwanted')
    body = json.dumps({**headers, 'data': {}})
    processor = running.cpu()[running.daemon.pid]
    started = time.perf_counter()
    for _ in range(UNWANTED):
        running.publish_past_exchange(body, headers)
    while site.bus.depth(site.queue):
        time.sleep(0.01)
    seconds = time.perf_counter() - started
    return {
        'thrown_away_per_second': UNWANTED / seconds,
        'cpu_ms': 1000 * (running.cpu()[running.daemon.pid] - processor) / UNWANTED,
    }


def post_events(daemon: Daemon, name: str, count: int) -> None:
    """POST /1.0/events over several kept connections."""

    def client(number: int) -> None:
        connection = http.client.HTTPConnection('127.0.0.1', daemon.port, timeout=60)
        headers = {'X-Auth-Token': daemon.rest.token, 'Content-Type': 'application/json'}
        for position in range(number, count, CLIENTS):
            connection.request('POST', '/1.0/events', json.dumps({'name': name, 'data': {'n': position}}), headers)
            answer = connection.getresponse()
            answer.read()
            assert answer.status == 202, answer.status
        connection.close()

    threads = [threading.Thread(target=client, args=(number,)) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def standalone(running: Stack, receiver: FastReceiver, events: int) -> dict[str, float]:
    """POST /1.0/events → request, with SQLite and everything in one process."""
    with tempfile.TemporaryDirectory() as folder:
        daemon = running.site.standalone('standalone', data=Path(folder) / 'data')
        daemon.rest.subscribe(receiver.url('/standalone'), ['bench'])
        post_events(daemon, 'bench', 200)
        until_count(receiver, 200)
        receiver.reset()
        started = time.perf_counter()
        post_events(daemon, 'bench', events)
        until_count(receiver, events)
        seconds = time.perf_counter() - started
        daemon.stop()
    return {'per_second': events / seconds}


def until_count(receiver: FastReceiver, count: int) -> None:
    deadline = time.monotonic() + 60
    while receiver.count() < count:
        if time.monotonic() > deadline:
            raise SystemExit(f'only {receiver.count()} of {count} requests arrived')
        time.sleep(0.01)


def measure(events: int) -> dict[str, Any]:
    receiver = FastReceiver()
    try:
        with stack() as running:
            result: dict[str, Any] = {'backlog': backlog(running, receiver, events), 'unwanted': unwanted(running)}
        with stack() as running:
            result['matching'] = matching(running, receiver, events)
            running.daemon.stop()
            receiver.reset()
            result['bare'] = bare(receiver.url('/bare'), events)
            receiver.reset()
            result['standalone'] = standalone(running, receiver, events)
    finally:
        receiver.stop()
    result['ratios'] = {
        'matching: among 10,000 / alone': result['matching']['among_10000_per_second']
        / result['matching']['alone_per_second'],
        'backlog: behind 20,000 / empty': result['backlog']['behind_20000_per_second']
        / result['backlog']['empty_per_second'],
        'standalone / bare': result['standalone']['per_second'] / result['bare']['per_second'],
    }
    return {name: {key: round(value, 3) for key, value in group.items()} for name, group in result.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--events', type=int, default=3000)
    print(json.dumps(measure(parser.parse_args().events), indent=2))


if __name__ == '__main__':
    main()
