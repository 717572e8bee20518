"""Processes that stand still for a while, and then go on as if nothing had happened (SIGSTOP, SIGCONT)."""

from __future__ import annotations

import time

import psutil

from integration_tests.faults.run import Run, delays
from integration_tests.support.programs import Program
from integration_tests.support.receiver import Answer
from integration_tests.support.site import Site
from integration_tests.support.until import until

ADMITS = (
    'SELECT p.pid FROM webhookd_process p JOIN pg_locks l ON l.pid = p.backend_pid'
    " WHERE l.locktype = 'advisory' AND l.granted AND p.kind = 'daemon'"
    ' AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())'
)


def frozen(program: Program, seconds: float) -> None:
    """Let it stand still until so long after now."""
    deadline = time.monotonic() + seconds
    until(lambda: time.monotonic() >= deadline, seconds + 5, every=0.5)
    program.thaw()


def worker_frozen(site: Site, size: str) -> None:
    """Its attempts are made by the other one; what it sent before it froze may come twice."""
    events, seconds, pace = (100, 20, 20) if size == 'short' else (500, 60, 6)
    with Run(f'worker frozen for {seconds} s', size, site) as run:
        daemon = site.daemon(celery={'start_workers': False, 'hands': 32})
        workers = [site.worker(f'worker-{number}') for number in range(2)]
        names = run.crowd(daemon.ready().rest, 12, always=Answer(delay=2.5 if size == 'short' else 3.0))
        load = run.publish(events, pace, names)
        first, last = (0.4, 0.6) if size == 'short' else (0.1, 0.2)
        load.at(run.moments(1, first=first, last=last)[0])
        until(lambda: site.query('SELECT 1 FROM webhookd_delivery WHERE held_by IS NOT NULL'), 20)
        victim = run.chance.choice(workers)
        run.freeze(psutil.Process(victim.pid))
        frozen(victim, seconds)
        assert size == 'short' or len(load.sent) < events, 'it goes on under load'
        run.finish(150)

        assert all(worker.alive() for worker in workers)


def admitting_daemon_frozen(site: Site, size: str) -> None:
    """Another one takes over; the first wakes up and changes nothing."""
    events, seconds, pace = (200, 25, 20) if size == 'short' else (1000, 60, 12)
    with Run(f'admitting daemon frozen for {seconds} s', size, site) as run:
        site.receiver.answer('/x', *delays(run.chance, events, 0.1, 1.4))
        site.configure(celery={'start_workers': False, 'hands': 32})
        first = site.daemon('first').listens()
        until(lambda: site.query(ADMITS) == [(first.pid,)], 20, what='the first daemon admits')
        second = site.daemon('second')
        worker = site.worker()
        second.ready().rest.subscribe(site.receiver.url('/x'), ['tick'])
        load = run.publish(events, pace)
        load.at(run.moments(1, first=0.1, last=0.5 if size == 'short' else 0.2)[0])
        first.freeze()
        frozen_at = time.monotonic()
        until(lambda: site.query(ADMITS) == [(second.pid,)], 40, every=0.2, what='the second daemon takes over')
        taken_over = time.monotonic() - frozen_at
        frozen(first, seconds - taken_over)
        assert size == 'short' or len(load.sent) < events, 'it goes on under load'
        row = run.finish(150)

        print(f'taken over after {taken_over:.1f} s')
        assert row.doubled == 0
        assert first.alive()
        assert second.alive()
        assert worker.alive()
        until(first.all_ok, 30, what='the first daemon is well again')
        assert site.query(ADMITS) == [(second.pid,)]
        doubled = site.query('SELECT count(*) FROM webhookd_subscription_log WHERE attempts > 1')
        assert doubled == [(0,)]
