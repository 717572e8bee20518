"""Processes killed at random moments under load."""

from __future__ import annotations

import psutil
import pytest

from integration_tests.faults.run import Run, delays
from integration_tests.support.site import Daemon, Site
from integration_tests.support.until import until

pytestmark = pytest.mark.timeout(240)


def working(site: Site, daemon: Daemon) -> list[psutil.Process]:
    """The daemon's workers that have told the database of themselves."""
    known = {
        row[0] for row in site.query("SELECT pid FROM webhookd_process WHERE kind = 'worker' AND ended_at IS NULL")
    }
    return [process for process in daemon.workers() if process.pid in known]


def test_worker_killed(site: Site, size: str) -> None:
    events, kills, processes = (240, 3, 2) if size == 'short' else (2000, 20, 4)
    with Run(f'kill -9 worker, {kills} times', size, site) as run:
        slow = 0.3 if size == 'short' else 1.5
        site.receiver.answer('/x', *delays(run.chance, events, 0.1, slow))
        daemon = site.daemon(celery={'processes': processes, 'hands': 16}).ready()
        daemon.rest.subscribe(site.receiver.url('/x'), ['tick'])
        load = run.publish(events, 40)
        for number in run.moments(kills):
            load.at(number)
            alive = until(lambda: working(site, daemon), 60, what='a worker is there')
            run.kill(run.chance.choice(alive))
        run.finish(120)

        assert daemon.alive()


def test_daemon_killed(site: Site, size: str) -> None:
    events, kills, pace = (200, 2, 40) if size == 'short' else (2000, 20, 15)
    with Run(f'kill -9 daemon, {kills} times', size, site) as run:
        site.receiver.answer('/x', *delays(run.chance, events, 0.1, 0.5))
        daemon = site.daemon(celery={'processes': 2, 'hands': 16}).ready()
        daemon.rest.subscribe(site.receiver.url('/x'), ['tick'])
        load = run.publish(events, pace)
        orphaned: list[psutil.Process] = []
        for count, number in enumerate(run.moments(kills)):
            load.at(number)
            run.amid_deliveries()
            orphaned += (workers := daemon.workers())
            run.look(*workers)
            daemon.kill()
            daemon = site.daemon(f'daemon-{count}', celery={'processes': 2, 'hands': 16}).listens()
        row = run.finish(180)

        assert row.doubled == 0, 'workers finish and record what they have in hand'
        _, alive = psutil.wait_procs(orphaned, 30)
        for process in alive:
            process.kill()
        assert not alive, 'workers end with their daemon'
        assert daemon.stop() == 0


def test_one_of_two_daemons_and_one_of_two_workers_killed(site: Site, size: str) -> None:
    events = 200 if size == 'short' else 2000
    with Run('two daemons, two workers, one of each killed', size, site) as run:
        site.receiver.answer('/x', *delays(run.chance, events, 0.1, 0.5))
        site.configure(celery={'start_workers': False, 'hands': 16})
        first = site.daemon('first').listens()
        until(lambda: site.query("SELECT 1 FROM webhookd_fact WHERE name = 'admission_epoch'"), 20)
        second = site.daemon('second')
        workers = [site.worker('worker-1'), site.worker('worker-2')]
        second.ready()
        second.rest.subscribe(site.receiver.url('/x'), ['tick'])
        load = run.publish(events, 40)
        of_worker, of_daemon = run.chance.sample(run.moments(2), 2)
        victims = {of_worker: run.chance.choice(workers), of_daemon: first}
        for number, victim in sorted(victims.items()):
            load.at(number)
            if victim is first:
                first.kill()
            else:
                run.kill(psutil.Process(victim.pid))
        run.finish(120)

        assert second.alive()
        again = site.query('SELECT count(*) FROM webhookd_delivery WHERE send > attempt')[0][0]
        assert again <= len(run._in_flight())


def test_daemon_down_while_events_come(site: Site, size: str) -> None:
    """They wait in the queue."""
    events = 200 if size == 'short' else 1000
    with Run('daemon down, events published, daemon up', size, site) as run:
        daemon = site.daemon(celery={'processes': 2, 'hands': 16}).ready()
        daemon.rest.subscribe(site.receiver.url('/x'), ['tick'])
        if run.chance.random() < 0.5:
            daemon.kill()
        else:
            assert daemon.stop() == 0
        run.publish(events, 2000).done()
        site.daemon('second', celery={'processes': 2, 'hands': 16})
        row = run.finish(60)

        assert row.doubled == 0
