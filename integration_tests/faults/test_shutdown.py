"""Everything told to end, under load, while half of the receivers never answer."""

from __future__ import annotations

import signal
import time
from contextlib import ExitStack

import psutil
import pytest

from integration_tests.faults.run import Run, delays
from integration_tests.support.receiver import Answer, Receiver
from integration_tests.support.site import Site
from integration_tests.support.until import for_a_while, until

pytestmark = pytest.mark.timeout(240)

ENDING = 3.0
"""Seconds beyond the grace period within which a process is gone."""


def test_everything_told_to_end_with_half_of_the_receivers_hanging(site: Site, size: str) -> None:
    events, grace = (200, 3) if size == 'short' else (500, 8)
    with ExitStack() as listening:
        receivers = [listening.enter_context(Receiver()) for _ in range(12)]
        healthy, hanging = receivers[:6], receivers[6:]
        run = listening.enter_context(
            Run('SIGTERM of everything, half of receivers hanging', size, site, receivers=receivers)
        )
        for receiver in healthy:
            receiver.answer('/x', *delays(run.chance, events, 0.1, 0.5))
        for receiver in hanging:
            receiver.answer('/x', always=Answer(delay=600))
        site.configure(shutdown_grace=grace)
        daemon = site.daemon(celery={'processes': 2, 'hands': 16})
        worker = site.worker(celery={'hands': 16})
        daemon.ready()
        names = tuple(f'tick-{number}' for number in range(12))
        for name, receiver in zip(names, receivers, strict=True):
            daemon.rest.subscribe(receiver.url('/x'), [name], config={'timeout': '30'})
        load = run.publish(events, 60, names)
        load.at(run.moments(1, first=0.3, last=0.8)[0])
        family = daemon.children()
        told = time.monotonic()
        for program in (daemon, worker):
            program.send(signal.SIGTERM)
        codes = [program.wait(grace + 15) for program in (daemon, worker)]
        took = time.monotonic() - told
        run.excused |= {request.delivery for request in run.requests()} - run.recorded()
        print(f'ended after {took:.1f} s; {len(run.excused)} attempts were under way')
        out = site.query("SELECT count(*) FROM webhookd_delivery WHERE state = 'out' AND held_by IS NOT NULL")
        deaths = site.query('SELECT sum(deaths) FROM webhookd_delivery')

        for receiver in hanging:
            receiver.answer('/x', always=Answer())
        site.daemon('second', celery={'processes': 2, 'hands': 16})
        run.finish(120)

        assert codes == [0, 0]
        assert took < grace + ENDING
        assert not [child for child in family if child.is_running()], 'its workers ended with it'
        assert out == [(0,)], 'who ends in order holds nothing any more'
        assert deaths == [(0,)]
        assert {request.delivery for receiver in healthy for request in receiver.requests} & run.excused == set()


@pytest.mark.parametrize('who', ['daemon', 'worker of its own'])
def test_second_sigterm_ends_at_once_and_loses_nothing(site: Site, who: str) -> None:
    with Run(f'second SIGTERM to a {who}', 'short', site) as run:
        site.configure(shutdown_grace=60)
        daemon = site.daemon(celery={'start_workers': who == 'daemon', 'hands': 16})
        program = daemon if who == 'daemon' else site.worker()
        names = run.crowd(daemon.ready().rest, 6, always=Answer(delay=600))
        load = run.publish(24, 100, names)
        load.done()
        until(lambda: len(run.requests()) >= 6, 20, what='some attempts hang')
        family = program.children()
        program.send(signal.SIGTERM)
        for_a_while(program.alive, 0.5, what='it lets attempts finish')
        told = time.monotonic()

        assert program.stop(5) == 0
        gone, alive = psutil.wait_procs(family, 8)
        took = time.monotonic() - told
        for process in alive:
            process.kill()
        assert not alive, f'{len(gone)} of its workers ended with it, others did not'
        run.excused |= {request.delivery for request in run.requests()}
        print(f'ended after {took:.1f} s')

        for receiver in run.receivers:
            receiver.answer('/x', always=Answer())
        if who == 'daemon':
            site.daemon('second')
        else:
            site.worker('second')
        run.finish(60)
