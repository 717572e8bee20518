"""What intake and admitter share: the lease, the state of admission, and what is known of disabled subscriptions."""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Protocol

from sqlalchemy import Connection

from ..database import admission as admission_rows
from ..database import endpoints
from ..database.admission import LANES_CHANNEL, State
from ..database.session import Database
from ..domain.admission import Admission, Lane, Rules
from ..domain.admission.lanes import own_key
from ..domain.delivery import ORPHAN_SECONDS, WORD_BYTES
from ..domain.event import Event
from .clock import DatabaseClock, Outage
from .lease import Lease, lease_for

BODY_BYTES: Final = 4 * 1024 * 1024
"""Bodies of fresh events that are kept in memory until they are sent; others are read from the journal."""


class Card(Protocol):
    """A subscription as the catalog remembers it; ``document`` is what REST shows, as JSON."""

    @property
    def uuid(self) -> str: ...
    @property
    def tenant_uuid(self) -> str: ...
    @property
    def service(self) -> str: ...
    @property
    def endpoint(self) -> str: ...
    @property
    def document(self) -> bytes: ...


class Catalog(Protocol):
    """The part of subscriptions.catalog that is used here."""

    @property
    def version(self) -> int: ...
    def match(self, event: Event) -> list[Any]: ...
    def wants(self, name: str) -> bool: ...
    def card(self, uuid: str) -> Any: ...
    def catch_up(self, connection: Connection, version: int) -> None: ...


class Bodies:
    """The JSON texts of the newest events, up to a number of characters."""

    def __init__(self, most: int = BODY_BYTES) -> None:
        self._most = most
        self._size = 0
        self._texts: OrderedDict[str, str] = OrderedDict()
        self._lock = threading.Lock()

    def put(self, event_uuid: str, text: str) -> None:
        with self._lock:
            if event_uuid in self._texts or len(text) > self._most:
                return
            self._texts[event_uuid] = text
            self._size += len(text)
            while self._size > self._most:
                _, oldest = self._texts.popitem(last=False)
                self._size -= len(oldest)

    def get(self, event_uuid: str) -> str | None:
        return self._texts.get(event_uuid)


class Desk:
    """``admission`` is read and changed under ``lock`` only; rows are marked out within ``lease.turn()`` only, and
    ``lock`` is taken inside it, never the other way round."""

    def __init__(self, database: Database, catalog: Catalog, rules: Rules, *, life: str) -> None:
        self.database = database
        self.catalog = catalog
        self.rules = rules
        self.life = life
        self.lease: Lease = lease_for(database, life)
        self.lock = threading.RLock()
        self.admission = Admission(rules)
        self.clock = DatabaseClock()
        self.outage = Outage(ORPHAN_SECONDS)
        self.bodies = Bodies()
        self.unsent: set[tuple[str, int, int]] = set()
        """(uuid, attempt, send) marked out of which certainly no message was sent, under ``lock``."""
        self.disabled: frozenset[str] = frozenset()
        self._disabled_version = -1
        self.flooded = False
        """More comes in than is taken in: what is out may wait a little."""
        self.wake: Callable[[], None] = lambda: None
        """Tells the admitter that there is something to do."""

    def see(self, connection: Connection, state: State) -> None:
        """Inside a transaction: keep clock and the set of disabled subscriptions in step."""
        self.clock.set(state.now)
        self.outage.answered()
        if state.disabled_version != self._disabled_version:
            self.disabled = frozenset(endpoints.disabled(connection))
            self._disabled_version = state.disabled_version

    def not_sent(self, unsent: Iterable[tuple[str, int, int]]) -> None:
        """These were marked out, and no message was made of them. Nothing else goes before they wait again."""
        with self.lock:
            self.unsent.update(unsent)
            if self.unsent:
                self.admission.open = False
        self.wake()

    def lane(self, subscription: str, tenant: str = '') -> Lane:
        """Under ``lock``: the lane of a subscription, leading where the catalog says. One that the catalog does not
        know stays where it was (``tenant``: whose it is if it is new)."""
        card = self.catalog.card(subscription)
        if card is not None:
            return self.admission.lane(subscription, card.tenant_uuid, card.endpoint)
        known = self.admission.lanes.get(subscription)
        return known or self.admission.lane(subscription, tenant, own_key(subscription))


def say_lanes(connection: Connection, lanes: Iterable[str]) -> None:
    """Tell the admitting daemon, with the commit, that rows of these lanes were written."""
    _say(connection, 'wrote', lanes)


def say_resumed(connection: Connection, subscription: str) -> None:
    """Tell the admitting daemon, with the commit, that somebody resumed the subscription."""
    _say(connection, 'resumed', [subscription])


def heard_lanes(payload: str) -> tuple[list[str], list[str]]:
    """The lanes written and the subscriptions resumed; ValueError when the payload is not one of ours."""
    word = json.loads(payload)
    if not isinstance(word, Mapping):
        raise ValueError('not a word about lanes')
    return list(word.get('wrote', ())), list(word.get('resumed', ()))


def _say(connection: Connection, key: str, uuids: Iterable[str]) -> None:
    some: list[str] = []
    size = 0
    for uuid in sorted(set(uuids)):
        if size + len(uuid) + 4 > WORD_BYTES:
            admission_rows.notify(connection, LANES_CHANNEL, json.dumps({key: some}))
            some, size = [], 0
        some.append(uuid)
        size += len(uuid) + 4
    if some:
        admission_rows.notify(connection, LANES_CHANNEL, json.dumps({key: some}))
