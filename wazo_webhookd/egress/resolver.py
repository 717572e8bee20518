"""Name look-ups that end on time, whatever the system's resolver does.

    OSError (of the system)
    └── LookupFailed       the name has no address, or none was found in time

``getaddrinfo`` cannot be interrupted, so it runs on helper threads and the caller waits no longer than its
deadline. Callers that ask for the same name share one look-up; a name that hangs holds one thread. Nothing
is remembered: an answer is judged and used by those who asked for it.
"""

from __future__ import annotations

import ipaddress
import logging
import socket
import threading
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as WaitedTooLong
from typing import Final, Protocol

from wazo_webhookd.egress.addresses import Address

logger = logging.getLogger(__name__)

MAX_LOOKUPS: Final = 1024
"""Look-ups under way at once, in all. A name that never answers holds a thread for as long as the system's resolver has
patience (half a minute and more), its caller waits for seconds: so there have to be several times as many as hands, or
the names of one tenant could keep all others from being looked up. A thread that hangs costs some 20 KiB."""

Lookup = Callable[[str], list[Address]]


class LookupFailed(OSError):
    """The name could not be looked up."""


class Resolver(Protocol):
    def lookup(self, name: str, timeout: float) -> list[Address]:
        """All addresses of a name, in the order to try them, at least one. Raises LookupFailed."""
        ...


def system_lookup(name: str) -> list[Address]:
    """What the system's resolver says (files, DNS …), without duplicates. Raises OSError or UnicodeError."""
    found: dict[Address, None] = {}
    for family, _, _, _, place in socket.getaddrinfo(name, None, type=socket.SOCK_STREAM):
        if family in (socket.AF_INET, socket.AF_INET6):
            found[ipaddress.ip_address(str(place[0]).partition('%')[0])] = None
    return list(found)


class SystemResolver:
    """Looks names up on helper threads; safe to share between threads."""

    def __init__(self, lookup: Lookup = system_lookup, max_lookups: int = MAX_LOOKUPS) -> None:
        self._lookup = lookup
        self._max_lookups = max_lookups
        self._lock = threading.Lock()
        self._under_way: dict[str, Future[list[Address]]] = {}
        self._jobs: list[tuple[str, Future[list[Address]]]] = []
        self._job_added = threading.Condition(self._lock)
        self._idle = 0

    def lookup(self, name: str, timeout: float) -> list[Address]:
        with self._lock:
            future = self._under_way.get(name)
            if future is None:
                if len(self._under_way) >= self._max_lookups:
                    raise LookupFailed(f'too many name look-ups are under way: {name}')
                future = self._under_way[name] = Future()
                self._jobs.append((name, future))
                if self._idle >= len(self._jobs):
                    self._job_added.notify()
                else:
                    threading.Thread(target=self._work, name='egress-lookup', daemon=True).start()
        try:
            addresses = future.result(max(0.0, timeout))
        except WaitedTooLong:
            raise LookupFailed(f'no answer in time to the look-up of {name}') from None
        except (OSError, ValueError) as error:
            raise LookupFailed(f'cannot look up {name}: {getattr(error, "strerror", None) or error}') from None
        if not addresses:
            raise LookupFailed(f'{name} has no address')
        return addresses

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._jobs:
                    self._idle += 1
                    self._job_added.wait(timeout=30)
                    self._idle -= 1
                    if not self._jobs:
                        return
                name, future = self._jobs.pop(0)
            addresses: list[Address] = []
            problem: BaseException | None = None
            try:
                addresses = self._lookup(name)
            except Exception as error:
                problem = error if isinstance(error, (OSError, ValueError)) else OSError(repr(error))
            with self._lock:
                self._under_way.pop(name, None)
            if problem is None:
                future.set_result(addresses)
            else:
                future.set_exception(problem)
