from __future__ import annotations

import logging
import sys
import types
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from typing import Any

import pytest

from wazo_webhookd.celery import HOOK_RUNNER
from wazo_webhookd.exceptions import DatabaseUnavailable
from wazo_webhookd.services.loader import GROUP, NOWHERE, Services

MODULE = 'guest_services_of_this_test'


class Config:
    def __init__(self, **enabled: bool) -> None:
        self.enabled_services = enabled


class Run:
    loads = 0

    def load(self, dependencies: Any) -> None:
        type(self).loads += 1

    @classmethod
    def run(cls, task: Any, config: Any, subscription: Any, event: Any) -> Any:
        return ('on the class', cls)


class InstanceRun:
    def __init__(self) -> None:
        self.word = 'on an instance'

    def load(self, dependencies: Any) -> None:
        self.word = 'on the loaded instance'

    def run(self, task: Any, config: Any, subscription: Any, event: Any) -> Any:
        return self.word


class TaskService:
    def load(self, dependencies: Any) -> None:
        self.task = types.SimpleNamespace(name=f'tasks.{dependencies["word"]}')

    def callback(self) -> Any:
        return self.task


class Both(TaskService):
    @staticmethod
    def run(task: Any, config: Any, subscription: Any, event: Any) -> Any:
        return 'run'


class BusOnly:
    def load(self, dependencies: Any) -> None: ...


class Failing:
    def load(self, dependencies: Any) -> None:
        raise ValueError('no such key')

    @classmethod
    def run(cls, *args: Any) -> None: ...


class NotATask:
    def load(self, dependencies: Any) -> None: ...

    def callback(self) -> Any:
        return print


class Patient:
    away = True

    def load(self, dependencies: Any) -> None:
        if Patient.away:
            try:
                raise DatabaseUnavailable
            except DatabaseUnavailable as error:
                raise RuntimeError('wrapped by the guest') from error

    @classmethod
    def run(cls, *args: Any) -> None: ...


@pytest.fixture(autouse=True)
def guests() -> Iterator[None]:
    module = types.ModuleType(MODULE)
    for cls in (Run, InstanceRun, TaskService, Both, BusOnly, Failing, NotATask, Patient):
        setattr(module, cls.__name__, cls)
    sys.modules[MODULE] = module
    Run.loads, Patient.away = 0, True
    yield
    del sys.modules[MODULE]


def entry(name: str, target: str) -> EntryPoint:
    return EntryPoint(name, target if ':' in target else f'{MODULE}:{target}', GROUP)


def services(*targets: str, **enabled: bool) -> Services:
    found = [entry(target.lower(), target) for target in targets]
    return Services(Config(**{target.lower(): True for target in targets} | enabled), found)


def test_run_contract_goes_to_the_hook_runner() -> None:
    loaded = services('Run')
    loaded.load({})
    run = loaded.runner('run')

    assert (loaded.route('run').task_name, loaded.route('run').ep_name) == (HOOK_RUNNER, f'{MODULE}:Run')
    assert loaded.route('run').contract == 'run'
    assert run is not None
    assert run(None, {}, {}, {}) == ('on the class', Run)
    assert Run.loads == 1


def test_instance_method_runs_on_the_loaded_instance() -> None:
    loaded = services('InstanceRun')
    loaded.load({})
    run = loaded.runner('instancerun')

    assert run is not None
    assert run(None, {}, {}, {}) == 'on the loaded instance'


def test_worker_does_not_load_the_run_contract() -> None:
    """Their load() may start threads; it belongs to the daemon."""
    loaded = services('Run', 'InstanceRun')
    loaded.load_tasks(lambda: pytest.fail('no dependencies are needed'))
    run = loaded.runner('instancerun')

    assert Run.loads == 0
    assert run is not None
    assert run(None, {}, {}, {}) == 'on an instance'


def test_task_contract_goes_to_its_own_task_in_daemon_and_worker() -> None:
    daemon, worker = services('TaskService'), services('TaskService')
    daemon.load({'word': 'x'})
    worker.load_tasks(lambda: {'word': 'x'})

    for loaded in (daemon, worker):
        assert loaded.route('taskservice').task_name == 'tasks.x'
        assert loaded.route('taskservice').contract == 'task'
        assert loaded.runner('taskservice') is None


def test_class_with_both_contracts_uses_run() -> None:
    loaded = services('Both')
    loaded.load({'word': 'x'})

    assert loaded.route('both').contract == 'run'


@pytest.mark.parametrize(
    ('name', 'sentence'),
    [
        ('nobody', "The service 'nobody' is not installed."),
        ('off', "The service 'off' is installed but not enabled: set enabled_services.off to true."),
        ('failing', "The service 'failing' failed to load: ValueError."),
        ('broken', "The service 'broken' cannot be imported: ModuleNotFoundError."),
        ('notatask', "The service 'notatask' failed to load: TypeError."),
        (
            'busonly',
            "The service 'busonly' only listens to the bus: it has neither run() nor callback(), so it cannot deliver.",
        ),
    ],
)
def test_service_that_cannot_deliver_leads_nowhere_and_says_why(name: str, sentence: str) -> None:
    found = [entry(each, target) for each, target in (
        ('off', 'Run'), ('failing', 'Failing'), ('broken', 'no.such.module:X'), ('busonly', 'BusOnly'),
        ('notatask', 'NotATask'),
    )]  # fmt: skip
    loaded = Services(Config(failing=True, broken=True, busonly=True, notatask=True, off=False), found)
    loaded.load({})

    assert loaded.route(name) == NOWHERE
    assert loaded.why_not(name) == sentence


def test_broken_service_is_not_listed_but_the_others_are() -> None:
    loaded = services('Failing', 'Run', 'BusOnly')
    loaded.load({})

    assert loaded.names() == ['busonly', 'run']
    assert list(loaded.broken) == ['failing']


def test_daemon_that_could_not_load_is_named_in_a_worker_that_could_import() -> None:
    worker = services('Failing')
    worker.load_tasks(dict)

    assert worker.why_not('failing') == "The service 'failing' was not loaded by the daemon: its log says why."


def test_service_is_loaded_again_when_the_database_is_back() -> None:
    loaded = services('Patient', 'Failing')
    loaded.load({})
    away, listed = loaded.retry_failed(), loaded.names()
    Patient.away = False
    back = loaded.retry_failed()

    assert (away, listed) == (False, [])
    assert (back, loaded.names()) == (True, ['patient'])


def test_tasks_of_a_failed_load_make_room_for_those_of_the_next() -> None:
    """A task closes over the object that registered it."""
    app = types.SimpleNamespace(tasks={'ours': 0})

    def load(self: Any, dependencies: Any) -> None:
        app.tasks.setdefault('theirs', self)
        Patient.load_away(self, dependencies)

    Patient.load_away, Patient.load = Patient.load, load  # type: ignore[attr-defined, method-assign]
    try:
        loaded = services('Patient')
        loaded.load({'celery': app})
        after_failure = dict(app.tasks)
        Patient.away = False
        loaded.retry_failed()
    finally:
        Patient.load = Patient.load_away  # type: ignore[attr-defined, method-assign]

    assert after_failure == {'ours': 0}
    assert app.tasks['theirs'] is loaded['patient'].obj


def test_guest_replaces_our_service_of_the_same_name(caplog: pytest.LogCaptureFixture) -> None:
    ours = entry('example', 'wazo_webhookd.services.example.plugin:Service')
    for found in ([ours, entry('example', 'Run')], [entry('example', 'Run'), ours]):
        caplog.clear()
        with caplog.at_level(logging.INFO):
            loaded = Services(Config(example=True), found)
            loaded.load({})

        assert loaded.route('example').ep_name == f'{MODULE}:Run'
        assert 'replaces our own' in caplog.text


def test_second_guest_of_a_name_is_ignored(caplog: pytest.LogCaptureFixture) -> None:
    loaded = Services(Config(x=True), [entry('x', 'Run'), entry('x', 'BusOnly')])
    loaded.load({})

    assert loaded.route('x').ep_name == f'{MODULE}:Run'
    assert 'BusOnly ignored' in caplog.text


def test_log_names_what_is_installed_but_off_and_enabled_but_missing(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        Services(Config(missing=True), [entry('off', 'Run')])

    assert 'service off is installed but not enabled' in caplog.text
    assert 'service missing is enabled but not installed' in caplog.text


def test_guests_see_a_service_manager() -> None:
    loaded = services('Run', 'BusOnly')
    loaded.load({})

    assert [extension.name for extension in loaded] == ['busonly', 'run']
    assert isinstance(loaded['run'].obj, Run)
    assert loaded['run'].plugin is Run
    assert 'run' in loaded
    assert 'nobody' not in loaded
    assert len(loaded) == 2
    assert loaded.map(lambda extension: extension.name) == ['busonly', 'run']
    assert dict(loaded.items())['run'].obj is not None
