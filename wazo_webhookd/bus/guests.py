"""The bus as guests use it: handlers by event name, each guest's called in order on a thread of its own."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Final, Protocol

from ..domain.event import Event
from .callbacks import Handler, Registration, event_name_registration, owner_of

logger = logging.getLogger(__name__)

LANE_EVENTS: Final = 10_000
LANE_CHARACTERS: Final = 32 * 1024 * 1024
"""What may wait for one guest; beyond it the guest (nobody else) misses events."""


class Lane:
    """Calls the handlers of one guest, one after the other, on a thread that starts with the first event."""

    def __init__(self, guest: str) -> None:
        self.guest = guest
        self.missed = 0
        self._waiting: deque[tuple[Registration, Event]] = deque()
        self._characters = 0
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._stopping = False

    def put(self, registration: Registration, event: Event) -> None:
        with self._changed:
            if len(self._waiting) >= LANE_EVENTS or self._characters > LANE_CHARACTERS:
                self.missed += 1
                if self.missed & (self.missed - 1) == 0:  # the 1st, 2nd, 4th, 8th … time
                    logger.warning('handler of guest %s is too slow: %d events missed so far', self.guest, self.missed)
                return
            self._waiting.append((registration, event))
            self._characters += len(event.text)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name=f'guest-{self.guest}', daemon=True)
                self._thread.start()
            self._changed.notify()

    def stop(self) -> None:
        """Forget what waits. A handler that is being called is not waited for: it may hang."""
        with self._changed:
            self._stopping = True
            self._waiting.clear()
            self._changed.notify()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._waiting and not self._stopping:
                    self._changed.wait()
                if self._stopping:
                    return
                registration, event = self._waiting.popleft()
                self._characters -= len(event.text)
            try:
                registration.call(event)
            except Exception:
                logger.exception('guest %s: its handler of %s failed', self.guest, event.name)


class GuestDesk:
    """All handlers of guests, and the lanes through which they hear of events. Thread-safe."""

    def __init__(self, *, check_headers: bool = True) -> None:
        self._check_headers = check_headers
        self._lock = threading.Lock()
        self._by_name: dict[str, tuple[Registration, ...]] = {}
        self._lanes: dict[str, Lane] = {}

    def add(self, registrations: Iterable[Registration]) -> None:
        with self._lock:
            for registration in registrations:
                name = registration.event_name
                self._by_name[name] = (*self._by_name.get(name, ()), registration)

    def remove(self, leaves: Callable[[Registration], bool], *, only_first: bool = False) -> bool:
        """Remove the registrations that ``leaves`` says; True if there was any."""
        found = False
        with self._lock:
            for name, registrations in list(self._by_name.items()):
                kept = []
                for registration in registrations:
                    if leaves(registration) and not (only_first and found):
                        found = True
                    else:
                        kept.append(registration)
                self._by_name[name] = tuple(kept)
                if not kept:
                    del self._by_name[name]
        return found

    def names(self) -> set[str]:
        with self._lock:
            return set(self._by_name)

    def wanting(self, event: Event) -> list[Registration]:
        """The handlers that want an event, in the order in which they were added."""
        registrations = self._by_name.get(event.name, ())
        return [one for one in registrations if one.wants(event.headers, check_headers=self._check_headers)]

    def tell(self, event: Event) -> None:
        """Hand an event to the handlers that want it; never waits for them."""
        for registration in self.wanting(event):
            self._lane(owner_of(registration.handler)).put(registration, event)

    def stop(self) -> None:
        with self._lock:
            lanes = list(self._lanes.values())
        for lane in lanes:
            lane.stop()

    def _lane(self, guest: str) -> Lane:
        with self._lock:
            return self._lanes.setdefault(guest, Lane(guest))


class StatusTree(Protocol):
    def __getitem__(self, key: str) -> Any: ...


class Flag(int):
    """A truth value that may also be called: older guests say ``is_running()``, newer ones ``is_running``."""

    def __call__(self) -> bool:
        return bool(self)

    def __repr__(self) -> str:
        return str(bool(self))


class BusForGuests:
    """The methods of ``dependencies['bus_consumer']`` (reference, 7.2 to 7.4)."""

    def __init__(self, *, check_headers: bool = True) -> None:
        self._desk = GuestDesk(check_headers=check_headers)

    # -- for the variants to fill in --------------------------------------------------------

    def consumer_connected(self) -> bool:
        raise NotImplementedError

    @property
    def is_running(self) -> Flag:
        raise NotImplementedError

    def _names_added(self, names: set[str]) -> None:
        """Some handler wants these names now."""

    def _names_left(self, names: set[str]) -> None:
        """Perhaps no handler wants these names any more."""

    # -- kept for guests ----------------------------------------------------------------------

    def subscribe(
        self,
        event_name: str,
        handler: Handler,
        headers: dict[str, Any] | None = None,
        routing_key: str | None = None,
        headers_match_all: bool = True,
    ) -> None:
        """Call ``handler(body)``, or ``handler(body, headers)`` if it has two parameters, for events of that name."""
        self._desk.add([Registration(event_name, handler, dict(headers or {}), headers_match_all)])
        self._names_added({event_name})

    def unsubscribe(self, event_name: str, handler: Handler) -> bool:
        """True if the handler was subscribed."""
        found = self._desk.remove(lambda r: r.event_name == event_name and r.handler == handler, only_first=True)
        self._names_left({event_name})
        return found

    def subscribe_to_event_names(
        self,
        uuid: Any = None,
        event_names: Iterable[str] = (),
        user_uuid: str | None = None,
        wazo_uuid: str | None = None,
        callback: Handler | None = None,
    ) -> None:
        """Call ``callback(body, event)`` for events of these names. The same ``uuid`` again replaces what it had."""
        if uuid is None:
            raise RuntimeError('uuid must be set')
        if callback is None:
            raise TypeError('callback must be set')
        key, handler, names = str(uuid), callback, list(dict.fromkeys(event_names))
        if not names:
            logger.warning('guest %s subscribed to no event names', owner_of(handler))
        user, wazo = (None if value is None else str(value) for value in (user_uuid, wazo_uuid))
        self._desk.remove(lambda registration: registration.key == key)
        self._desk.add(event_name_registration(key, name, user, wazo, handler) for name in names)
        self._names_added(set(names))

    def change_subscription(
        self,
        uuid: Any,
        event_names: Iterable[str],
        user_uuid: str | None = None,
        wazo_uuid: str | None = None,
        callback: Handler | None = None,
    ) -> None:
        self.subscribe_to_event_names(uuid, event_names, user_uuid, wazo_uuid, callback)

    def unsubscribe_from_event_names(self, uuid: Any) -> None:
        """Unknown uuids are no error."""
        before = self._desk.names()
        self._desk.remove(lambda registration: registration.key == str(uuid))
        self._names_left(before)

    def provide_status(self, status: StatusTree) -> None:
        connected = self.is_running and self.consumer_connected()
        status['bus_consumer']['status'] = 'ok' if connected else 'fail'

    # -- for the house ------------------------------------------------------------------------

    def tell_guests(self, event: Event) -> None:
        """Guests' handlers hear of an event that did not come from the bus."""
        self._desk.tell(event)
