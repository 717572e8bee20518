"""Connections to the broker that are cut, again and again, under attempts that take longer, under two daemons."""

from __future__ import annotations

import pytest

from integration_tests.faults.run import Run
from integration_tests.support.receiver import Answer
from integration_tests.support.site import Site
from integration_tests.support.wire import Wire

pytestmark = pytest.mark.timeout(240)


def test_broker_connection_of_workers_cut(site: Site, size: str) -> None:
    events, cuts, delay, pace = (80, 3, 1.5, 20) if size == 'short' else (500, 10, 3.0, 12)
    with Run(f'broker connection of workers cut, {cuts} times', size, site) as run, Wire(site.rabbit.port) as wire:
        broker = site.rabbit.url(site.vhost).replace(f':{site.rabbit.port}/', f':{wire.port}/')
        daemon = site.daemon(celery={'start_workers': False, 'hands': 32})
        workers = [site.worker(f'worker-{number}', celery={'broker': broker, 'hands': 32}) for number in range(2)]
        names = run.crowd(daemon.ready().rest, 12, always=Answer(delay=delay))
        load = run.publish(events, pace, names)
        cut = 0
        for number in run.moments(cuts, first=0.3, last=0.95):
            load.at(number)
            cut += wire.cut()
        row = run.finish(120)

        assert cut >= cuts, 'both workers were connected most of the time'
        assert row.doubled == 0
        assert all(worker.alive() for worker in workers)


def test_bus_connections_of_two_daemons_cut(site: Site, size: str) -> None:
    """What was in the hands of one goes to the other, and is taken in once."""
    events, cuts = (1500, 10) if size == 'short' else (10_000, 60)
    run = Run(f'bus connection of one of two daemons cut, {cuts} times', size, site)
    with run, Wire(site.rabbit.port) as first, Wire(site.rabbit.port) as second:
        wires = (first, second)
        site.configure(celery={'start_workers': False, 'hands': 64})
        daemons = [site.daemon(f'daemon-{number}', bus={'port': wire.port}) for number, wire in enumerate(wires)]
        site.worker()
        for daemon in daemons:
            daemon.ready()
        names = run.crowd(daemons[0].rest, 4, always=Answer())
        load = run.publish(events, 5000, names)  # faster than they are taken in: both have their hands full
        for number in run.moments(cuts):
            load.at(number)
            run.chance.choice(wires).cut()
        row = run.finish(90)

        assert row.doubled == 0
