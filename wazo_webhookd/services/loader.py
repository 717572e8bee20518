"""The services that this process has: found by entry point, loaded, and for each name what to do with a delivery."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final, Literal, Protocol

from stevedore.extension import Extension

from wazo_webhookd.celery import HOOK_RUNNER
from wazo_webhookd.exceptions import DatabaseUnavailable

logger = logging.getLogger(__name__)

GROUP: Final = 'wazo_webhookd.services'
OURS: Final = 'wazo_webhookd.'

Contract = Literal['run', 'task', 'none']
"""Who delivers. ``run``: a method of the class; ``task``: a Celery task that ``load()`` registers; ``none``: nobody."""

Run = Callable[[Any, Mapping[str, Any], Mapping[str, Any], Mapping[str, Any]], Any]


@dataclass(frozen=True, slots=True)
class Route:
    """What the message of a delivery says: ``ep_name`` is ``module:attribute``, empty where no service takes it."""

    task_name: str
    ep_name: str
    contract: Contract


NOWHERE: Final = Route(HOOK_RUNNER, '', 'none')
"""Where deliveries to services that are not there go: a worker records why."""


class ServicesConfig(Protocol):
    @property
    def enabled_services(self) -> Mapping[str, bool]: ...


@dataclass(slots=True)
class Installed:
    """An enabled service whose class could be imported, or why it could not be used."""

    entry_point: EntryPoint
    cls: Any = None
    obj: Any = None
    contract: Contract = 'none'
    trouble: str | None = None
    again: bool = False
    """The trouble was the database being away: loading may work later."""
    task: Any = None
    run: Run | None = field(default=None, repr=False)


class Services:
    """All services of this process, by name. ``GET /subscriptions/services`` and guests see the loaded ones.

    To guests this is the ``service_manager``: it iterates over stevedore Extensions and answers ``names()``,
    ``in``, ``[name]`` and ``map()`` as stevedore's managers do.
    """

    def __init__(self, config: ServicesConfig, found: Iterable[EntryPoint] | None = None) -> None:
        """Finds, imports nothing. ``found``: the entry points, those that are installed unless given."""
        enabled = config.enabled_services
        self._found = _one_per_name(entry_points(group=GROUP) if found is None else found)
        self._services: dict[str, Installed] = {}
        self._imported = False
        self._dependencies: Mapping[str, Any] = {}
        self._enabled = {name for name, on in enabled.items() if on}
        for name in sorted(self._found.keys() - self._enabled):
            if name not in enabled or not self._found[name].value.startswith(OURS):
                logger.info('service %s is installed but not enabled (enabled_services)', name)
        for name in sorted(self._enabled - self._found.keys()):
            logger.warning('service %s is enabled but not installed', name)

    def import_all(self) -> None:
        """Import the classes of the enabled services; one that fails is named in the log and marked as broken."""
        if self._imported:
            return
        self._imported = True
        for name in sorted(self._enabled & self._found.keys()):
            service = self._services[name] = Installed(self._found[name])
            try:
                service.cls = service.entry_point.load()
                service.contract = _contract_of(service.cls)
            except Exception as error:
                self._fail(name, error, 'cannot be imported')

    def load(self, dependencies: Mapping[str, Any]) -> None:
        """In the daemon: instantiate every service and call its ``load(dependencies)``; one that fails is named."""
        self.import_all()
        self._dependencies = dependencies
        for name in self._services:
            self._load(name)

    def load_tasks(self, dependencies: Callable[[], Mapping[str, Any]]) -> None:
        """In a worker: load the services of the task contract only (others may start threads in ``load``).

        ``dependencies`` is called once, and only if there is such a service.
        """
        self.import_all()
        names = [name for name, service in self._services.items() if service.cls and service.contract == 'task']
        if names:
            self._dependencies = dependencies()
        for name in names:
            self._load(name)

    def retry_failed(self) -> bool:
        """Load those again that failed because the database was away; True when none of them is left."""
        for name, service in self._services.items():
            if service.again:
                self._load(name)
        return not any(service.again for service in self._services.values())

    def route(self, name: str) -> Route:
        """Where deliveries to this service go; never fails."""
        service = self._services.get(name)
        if service is None or service.trouble is not None or service.contract == 'none':
            return NOWHERE
        if service.contract == 'task':
            return Route(service.task.name, service.entry_point.value, 'task') if service.task is not None else NOWHERE
        return Route(HOOK_RUNNER, service.entry_point.value, 'run')

    def runner(self, name: str) -> Run | None:
        """``run`` of a service of the run contract, on the class; on an instance where it is an instance method."""
        service = self._services.get(name)
        if service is None or service.cls is None or service.contract != 'run':
            return None
        if service.run is None:
            service.run = _bound_run(service.cls, service.obj)
        return service.run

    def why_not(self, name: str) -> str:
        """A sentence for the deliveries that a service cannot take."""
        if name not in self._found:
            return f'The service {name!r} is not installed.'
        if name not in self._enabled:
            return f'The service {name!r} is installed but not enabled: set enabled_services.{name} to true.'
        service = self._services.get(name)
        if service is not None and service.trouble is not None:
            return f'The service {name!r} {service.trouble}'
        if service is not None and service.contract == 'task':
            return f'The service {name!r} has not registered its task in this worker.'
        if service is not None and service.cls is not None and service.contract == 'run':
            return f'The service {name!r} was not loaded by the daemon: its log says why.'
        return (
            f'The service {name!r} only listens to the bus: it has neither run() nor callback(), so it cannot deliver.'
        )

    @property
    def broken(self) -> dict[str, str]:
        """Sentences about the enabled services that cannot be used."""
        return {name: self.why_not(name) for name, service in self._services.items() if service.trouble is not None}

    @property
    def installed(self) -> set[str]:
        return set(self._found)

    @property
    def enabled(self) -> set[str]:
        return set(self._enabled)

    # -- what stevedore's managers offer (kept for guests) -----------------------------------------

    def names(self) -> list[str]:
        """Names of the services that are loaded."""
        return [name for name, service in self._services.items() if service.trouble is None]

    def __iter__(self) -> Iterator[Extension[Any]]:
        return (self[name] for name in self.names())

    def __contains__(self, name: object) -> bool:
        return name in self.names()

    def __getitem__(self, name: str) -> Extension[Any]:
        service = self._services[name]
        return Extension(name, service.entry_point, service.cls, service.obj)

    def __len__(self) -> int:
        return len(self.names())

    def items(self) -> list[tuple[str, Extension[Any]]]:
        return [(extension.name, extension) for extension in self]

    def map(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> list[Any]:
        return [function(extension, *args, **kwargs) for extension in self]

    # -- loading -----------------------------------------------------------------------------------

    def _load(self, name: str) -> None:
        service = self._services[name]
        if service.cls is None:
            return
        service.trouble, service.again = None, False
        tasks = getattr(self._dependencies.get('celery'), 'tasks', {})
        before = set(tasks)
        try:
            service.obj = service.cls()
            load = getattr(service.obj, 'load', None)
            if load is not None:
                load(self._dependencies)
            service.contract = _contract_of(service.obj)
            if service.contract == 'task':
                service.task = service.obj.callback()
                if not getattr(service.task, 'name', None):
                    raise TypeError(f'callback() returned {type(service.task).__name__}, not a Celery task')
        except Exception as error:
            for task in set(tasks) - before:
                del tasks[task]  # of an object that is no good: the name has to be free for the next one
            self._fail(name, error, 'failed to load')
        else:
            logger.info('service %s loaded', name)

    def _fail(self, name: str, error: Exception, what: str) -> None:
        service = self._services[name]
        service.again = _database_was_away(error)
        service.trouble = f'{what}: {type(error).__name__}.'
        if service.again:
            logger.warning('service %s %s: the database is away; it will be loaded again', name, what)
        else:
            logger.error('service %s (%s) %s', name, service.entry_point.value, what, exc_info=error)


def _one_per_name(found: Iterable[EntryPoint]) -> dict[str, EntryPoint]:
    """A guest's service replaces ours of the same name; of two guests the first one stays."""
    chosen: dict[str, EntryPoint] = {}
    for candidate in found:
        present = chosen.get(candidate.name)
        if present is None:
            chosen[candidate.name] = candidate
        elif present.value == candidate.value:
            continue
        elif present.value.startswith(OURS) != candidate.value.startswith(OURS):
            guest, ours = (candidate, present) if present.value.startswith(OURS) else (present, candidate)
            chosen[candidate.name] = guest
            logger.info('service %s: %s replaces our own (%s)', candidate.name, guest.value, ours.value)
        else:
            logger.warning('service %s: %s ignored, %s has the name', candidate.name, candidate.value, present.value)
    return chosen


def _contract_of(service: Any) -> Contract:
    """Of a class or an instance; one with both kinds of method uses ``run`` (reference, delivery 7.6.1)."""
    if callable(getattr(service, 'run', None)):
        return 'run'
    return 'task' if callable(getattr(service, 'callback', None)) else 'none'


def _bound_run(cls: Any, loaded: Any) -> Run:
    plain = inspect.getattr_static(cls, 'run', None)
    if isinstance(plain, (classmethod, staticmethod)) or not inspect.isfunction(plain):
        run: Run = cls.run
        return run
    bound: Run = (cls() if loaded is None else loaded).run
    return bound


def _database_was_away(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, DatabaseUnavailable):
            return True
        error = error.__cause__ or error.__context__
    return False
