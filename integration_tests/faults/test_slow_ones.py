"""Faults that take their time, because somebody has to be taken for dead: in short all at once, each with a site."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from integration_tests.faults.conftest import FULL
from integration_tests.faults.deadly import deadly_deliveries
from integration_tests.faults.frozen import admitting_daemon_frozen, worker_frozen
from integration_tests.support.site import Site

Scenario = Callable[[Site, str], None]
SCENARIOS: list[Scenario] = [worker_frozen, admitting_daemon_frozen, deadly_deliveries]


@pytest.fixture
def deadly_service(install: Callable[[str], Path]) -> Path:
    return install('deadly_service')


@pytest.mark.timeout(240)
def test_slow_ones(another_site: Callable[[], Site], deadly_service: Path) -> None:
    sites = [another_site() for _ in SCENARIOS]
    for site in sites:
        site.python_path.append(deadly_service)
    with ThreadPoolExecutor() as threads:
        runs = [threads.submit(scenario, site, 'short') for scenario, site in zip(SCENARIOS, sites, strict=True)]
    for run in runs:
        run.result()


@pytest.mark.parametrize('scenario', [pytest.param(scenario, marks=FULL) for scenario in SCENARIOS])
def test_slow_one_in_full(site: Site, deadly_service: Path, scenario: Scenario) -> None:
    site.python_path.append(deadly_service)
    scenario(site, 'full')
