"""Who hears that subscriptions changed: observers in this process, other daemons by NOTIFY."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from sqlalchemy import text

from wazo_webhookd.database import facts
from wazo_webhookd.database import subscriptions as rows
from wazo_webhookd.database.listen import Listener
from wazo_webhookd.domain.subscription import Subscription
from wazo_webhookd.exceptions import DatabaseUnavailable

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

    from wazo_webhookd.database.session import Database

logger = logging.getLogger(__name__)

CHANNEL: Final = 'webhookd_changes'
VERSION: Final = 'index_version'
RECENT: Final = 'recent_changes'
RECENT_CHANGES: Final = 64
NOTIFY_BYTES: Final = 7500

Kind = Literal['created', 'updated', 'deleted', 'reload']


@dataclass(frozen=True, slots=True)
class Change:
    """A committed write. ``version`` is the index version that it made.

    ``now``: the subscriptions as they are since, those of ``uuids`` that still exist; for kind
    ``reload`` nobody knows which ones changed. ``remote``: another process wrote it.
    """

    kind: Kind
    version: int
    uuids: tuple[str, ...] = ()
    now: tuple[Subscription, ...] = ()
    remote: bool = False

    @property
    def names(self) -> frozenset[str]:
        """The event names that the changed subscriptions want now."""
        return frozenset(name for subscription in self.now for name in subscription.events)


Observer = Callable[[Change], None]
Hearer = Callable[[Mapping[str, Any]], None]


class ChangeFeed:
    """The meeting point of writers and those who keep something in step with the subscriptions.

    One object per process (``feed`` below): guests build services of their own, which must reach
    the same observers. Before ``attach`` nothing is known and nobody listens (a script).
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._own_databases: dict[str, Database] = {}
        self.detach()

    def attach(
        self,
        *,
        database: Database,
        life: str | None = None,
        master_tenant: Callable[[], str | None] = lambda: None,
        writable: bool = True,
        loading: Callable[[], bool] = lambda: False,
    ) -> None:
        """Say what this process is. ``life``: id of its row in the table of processes. ``writable``
        is False in workers, where guests' writes do nothing. ``loading``: is the calling thread
        inside a guest's ``load()``? Observers stay."""
        self.database: Database | None = database
        self.life: str | None = life
        self.master_tenant: Callable[[], str | None] = master_tenant
        self.writable: bool = writable
        self.loading: Callable[[], bool] = loading

    def detach(self) -> None:
        """Back to knowing nothing, observers included."""
        self.database = None
        self.life = None
        self.master_tenant = lambda: None
        self.writable = True
        self.loading = lambda: False
        self._observers: list[Observer] = []
        self._hearers: dict[str, list[Hearer]] = {}

    def database_for(self, uri: str) -> Database:
        """The database of this process, else (a script) one made for the URI and kept."""
        if self.database is not None:
            return self.database
        from wazo_webhookd.database.session import Database

        with self._lock:
            if uri not in self._own_databases:
                self._own_databases[uri] = Database.from_uri(uri, pool_size=2)
            return self._own_databases[uri]

    # -- changes of subscriptions --------------------------------------------------------------

    def observe(self, observer: Observer) -> None:
        """Call ``observer`` after every commit, on the writer's thread, in the order of registration."""
        self._observers.append(observer)

    def forget(self, observer: Observer) -> None:
        if observer in self._observers:
            self._observers.remove(observer)

    def record(self, connection: Connection, kind: Kind, uuids: Iterable[str]) -> int:
        """Inside the transaction of a change, as its last step: the next index version, what it is
        about, and a notification that leaves with the commit. Returns the version."""
        about = sorted(uuids)
        version = facts.bump(connection, VERSION)
        _, text_ = facts.get(connection, RECENT)
        recent = [*recent_changes(text_), (version, None if kind == 'reload' else about)]
        facts.put(connection, RECENT, json.dumps(_bounded(recent), separators=(',', ':')))
        notify(connection, {'kind': kind, 'version': version, 'uuids': about, 'life': self.life})
        return version

    def changed(self, change: Change) -> None:
        """After the commit. An observer that fails is logged; the others are still called."""
        for observer in list(self._observers):
            try:
                observer(change)
            except Exception:
                logger.exception('an observer of subscription changes failed')

    # -- words between daemons -----------------------------------------------------------------

    def on_relay(self, kind: str, hearer: Hearer) -> None:
        """Call ``hearer(payload)`` for each word of this kind, from this daemon or another."""
        self._hearers.setdefault(kind, []).append(hearer)

    def relay(self, kind: str, payload: Mapping[str, Any]) -> None:
        """Tell this daemon and the others. A hint: it is lost when the database is away."""
        self.hear(kind, payload)
        if self.database is None or self.database.is_sqlite:
            return
        try:
            with self.database.transaction() as connection:
                notify(connection, {'kind': kind, 'payload': dict(payload), 'life': self.life})
        except DatabaseUnavailable:
            logger.info('other daemons are not told of %s: the database is away', kind)

    def hear(self, kind: str, payload: Mapping[str, Any]) -> None:
        for hearer in list(self._hearers.get(kind, ())):
            try:
                hearer(payload)
            except Exception:
                logger.exception('a hearer of %s failed', kind)


def tell_of_a_daemon(connection: Connection, life: str) -> None:
    """In the transaction in which its life begins: who was alone is so no more."""
    notify(connection, {'kind': 'reload', 'version': 0, 'life': life})


def notify(connection: Connection, word: Mapping[str, Any]) -> None:
    """Leaves with the commit; PostgreSQL only. A word that is too long becomes ``reload``."""
    if connection.dialect.name != 'postgresql':
        return
    message = json.dumps(word, separators=(',', ':'))
    if len(message) > NOTIFY_BYTES:
        message = json.dumps({'kind': 'reload', 'version': word.get('version'), 'life': word.get('life')})
    connection.execute(text('SELECT pg_notify(:channel, :message)'), {'channel': CHANNEL, 'message': message})


def recent_changes(value: str | None) -> list[tuple[int, list[str] | None]]:
    """The last changes, oldest first: version and uuids (None: nobody knows which)."""
    return [(int(version), uuids) for version, uuids in json.loads(value)] if value else []


def _bounded(changes: list[tuple[int, list[str] | None]]) -> list[tuple[int, list[str] | None]]:
    """The newest changes, as many as fit: few, and about a few hundred uuids."""
    kept: list[tuple[int, list[str] | None]] = []
    uuids = 0
    for change in reversed(changes[-RECENT_CHANGES:]):
        uuids += len(change[1] or ())
        if kept and uuids > 4 * RECENT_CHANGES:
            break
        kept.append(change)
    return kept[::-1]


class ChangeListener:
    """Hears what other daemons wrote (a thread; PostgreSQL only) and hands it to the feed.

    ``on_reconnect`` is called on the thread whenever listening began, the first time too: what was
    said before is lost, so read everything again there (``Catalog.load``, then ``Catalog.refresh``).
    """

    def __init__(
        self,
        database: Database,
        feed: ChangeFeed,
        on_reconnect: Callable[[], None],
        on_word: Callable[[], object] = lambda: None,
    ) -> None:
        """``on_word`` is called as soon as a change is heard of, before it is read."""
        self._on_word = on_word
        self._database = database
        self._feed = feed
        self._listener = Listener(database, [CHANNEL], self._on_notify, on_reconnect, name='subscription changes')

    def start(self) -> None:
        self._listener.start()

    def stop(self, timeout: float = 5.0) -> None:
        self._listener.stop(timeout)

    @property
    def listening(self) -> bool:
        return self._listener.listening

    def _on_notify(self, _channel: str, payload: str) -> None:
        word = json.loads(payload)
        if self._feed.life is not None and word.get('life') == self._feed.life:
            return
        if 'payload' in word:
            self._feed.hear(word['kind'], word['payload'])
            return
        self._on_word()
        uuids = tuple(word.get('uuids') or ())
        now: tuple[Subscription, ...] = ()
        if word['kind'] in ('created', 'updated'):
            with self._database.reading() as connection:
                now = tuple(rows.fetch(connection, uuids))
        self._feed.changed(Change(word['kind'], int(word.get('version') or 0), uuids, now, remote=True))


feed: Final = ChangeFeed()
"""The change feed of this process."""
