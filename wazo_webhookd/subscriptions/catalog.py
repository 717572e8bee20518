"""The subscriptions as this daemon sees them: what intake matches against."""

from __future__ import annotations

import json
import logging
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from wazo_webhookd.database import facts
from wazo_webhookd.database import subscriptions as rows
from wazo_webhookd.domain.endpoint import admission_key
from wazo_webhookd.domain.event import Event
from wazo_webhookd.domain.matching import Index, asked_tenant, explain, rule_of
from wazo_webhookd.domain.subscription import Subscription
from wazo_webhookd.exceptions import DatabaseUnavailable
from wazo_webhookd.subscriptions.feed import RECENT, VERSION, Change, recent_changes

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

    from wazo_webhookd.database.session import Database

logger = logging.getLogger(__name__)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NEVER = -1


class Card:
    """What the daemon remembers of one subscription. ``endpoint`` is the admission key, ``document``
    the ten-key dict of REST as compact ASCII JSON, ``created`` microseconds since 1970."""

    __slots__ = ('created', 'document', 'endpoint', 'service', 'tenant_uuid', 'user_owned', 'uuid')

    def __init__(self, subscription: Subscription) -> None:
        config = subscription.config
        service = subscription.service or ''
        url = config.get('url')
        self.uuid: str = subscription.uuid
        self.tenant_uuid: str = sys.intern(subscription.owner_tenant_uuid)
        self.service: str = sys.intern(service)
        self.endpoint: str = _shared(admission_key(self.tenant_uuid, self.uuid, service, url))
        self.user_owned: bool = subscription.owner_user_uuid is not None
        self.document: bytes = subscription.document()
        created = subscription.created_at
        self.created: int = 0 if created is None else int((created - _EPOCH).total_seconds() * 1_000_000)

    def subscription(self) -> dict[str, Any]:
        """The ten-key dict."""
        result: dict[str, Any] = json.loads(self.document)
        return result


def _shared(key: str) -> str:
    """One string for all cards that lead to the same endpoint."""
    return key if key.startswith('sub:') else sys.intern(key)


class Catalog:
    """Thread-safe. ``version`` is the index version up to which every change is in it; changes heard
    out of turn are in it too, each remembered with its version until the gap below it is closed."""

    def __init__(self, master_tenant: str | None = None) -> None:
        self.version: int = _NEVER
        self._lock = threading.RLock()
        self._master_tenant = master_tenant
        self._cards: dict[str, Card] = {}
        self._index = Index()
        self._ahead: set[int] = set()  # versions above ``version`` that are in it
        self._stamps: dict[str, int] = {}  # uuid -> the newest of those that touched it
        self._one_reader = threading.Lock()
        self._keep_stamps = False
        self._database: Database | None = None

    def __len__(self) -> int:
        return len(self._cards)

    # -- questions -----------------------------------------------------------------------------

    def match(self, event: Event) -> list[Card]:
        """The subscriptions that the event concerns, in the order of their creation."""
        with self._lock:
            found = [self._cards[uuid] for uuid in self._index.match(event.name, event.headers)]
        if len(found) > 1:
            found.sort(key=lambda card: (card.created, card.uuid))
        return found

    def explain(self, uuid: str, event: Event) -> str | None:
        """Why the event does not concern this subscription, as a sentence; None when it does."""
        with self._lock:
            rule = self._index.rule(uuid)
        return 'there is no such subscription' if rule is None else explain(rule, event.name, event.headers)

    def wants(self, name: str) -> bool:
        """Does any subscription want events of this name?"""
        return self._index.wants(name)

    def names(self) -> set[str]:
        """All event names that subscriptions want."""
        with self._lock:
            return self._index.names()

    def card(self, uuid: str) -> Card | None:
        return self._cards.get(uuid)

    # -- keeping in step -----------------------------------------------------------------------

    def set_master_tenant(self, uuid: str | None) -> None:
        """The master tenant became known, or another: its subscriptions hear all tenants."""
        with self._lock:
            before, self._master_tenant = self._master_tenant, uuid
            if before == uuid:
                return
            for card in self._cards.values():
                rule = self._index.rule(card.uuid)
                if rule is not None and card.tenant_uuid in (before, uuid):
                    self._index.add(card.uuid, replace(rule, tenant=asked_tenant(card.tenant_uuid, uuid)))

    def load(self, database: Database) -> None:
        """Read all of them, replacing what is known. Raises DatabaseUnavailable."""
        self._database = database
        with self._reading(), database.reading(snapshot=True) as connection:
            version, _ = facts.get(connection, VERSION)
            self._reload(connection, version)
        logger.info('%d subscriptions loaded', len(self))

    def catch_up(self, connection: Connection, version: int) -> None:
        """Bring in every change up to this version, as the transaction of ``connection`` sees them.
        Afterwards ``self.version >= version``. Does nothing when that is so already."""
        with self._reading():
            if version > self.version:
                self._catch_up(connection, version)

    def refresh(self) -> None:
        """Bring in whatever changed while nobody told. Before ``load`` it does nothing."""
        database = self._database
        if database is None:
            return
        with self._reading():
            known = self.version
            with database.reading(snapshot=True) as connection:
                version, _ = facts.get(connection, VERSION)
                if version < known:  # a restored backup: our numbers say nothing any more
                    self._reload(connection, version)
                elif version > self.version:
                    self._catch_up(connection, version)

    def on_change(self, change: Change) -> None:
        """Observer of the change feed."""
        if change.kind == 'reload':
            try:
                self.refresh()
            except DatabaseUnavailable:
                logger.info('subscriptions are read again when the database is back')
            return
        with self._lock:
            if self.version < change.version:
                self._apply(change.uuids, change.now, change.version)
                self._ahead.add(change.version)
                self._advance()

    # -- inside --------------------------------------------------------------------------------

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """Rows are being read, by one thread at a time: until they are in, whatever is heard
        meanwhile stays stamped, so that an older row cannot replace it."""
        with self._one_reader:
            self._keep_stamps = True
            try:
                yield
            finally:
                with self._lock:
                    self._keep_stamps = False
                    self._advance()

    def _catch_up(self, connection: Connection, version: int) -> None:
        _, text = facts.get(connection, RECENT)
        recent = dict(recent_changes(text))
        missed = [number for number in range(self.version + 1, version + 1) if number not in self._ahead]
        if self.version == _NEVER or any(recent.get(number) is None for number in missed):
            self._reload(connection, version)
            return
        uuids = sorted({uuid for number in missed for uuid in recent[number] or ()})
        now = rows.fetch(connection, uuids) if uuids else []
        with self._lock:
            self._apply(uuids, now, version)
            self.version = max(self.version, version)

    def _reload(self, connection: Connection, version: int) -> None:
        seen: set[str] = set()
        for page in rows.everything(connection):
            with self._lock:
                self._apply([subscription.uuid for subscription in page], page, version)
            seen.update(subscription.uuid for subscription in page)
        with self._lock:
            self._apply([uuid for uuid in self._cards if uuid not in seen], (), version)
            self.version = version

    def _apply(self, uuids: Iterable[str], now: Iterable[Subscription], version: int) -> None:
        """Make these uuids what ``version`` says, but for those that a newer change already made."""
        exist = {subscription.uuid: subscription for subscription in now}
        for uuid in uuids:
            if self._stamps.get(uuid, _NEVER) <= version:
                if version > self.version:
                    self._stamps[uuid] = version
                self._place(uuid, exist.get(uuid))

    def _place(self, uuid: str, subscription: Subscription | None) -> None:
        if subscription is None:
            self._cards.pop(uuid, None)
            self._index.remove(uuid)
            return
        try:
            card = Card(subscription)
            rule = rule_of(subscription, self._master_tenant)
        except Exception:  # one that we do not understand must not keep the others from their events
            logger.exception('subscription %s cannot be used and gets no events', uuid)
            self._place(uuid, None)
            return
        self._cards[card.uuid] = card
        self._index.add(card.uuid, rule)

    def _advance(self) -> None:
        """Count on through the changes that are in; what was remembered about them can go."""
        if self.version != _NEVER:
            while self.version + 1 in self._ahead:
                self.version += 1
        if not self._keep_stamps:
            self._ahead = {number for number in self._ahead if number > self.version}
            self._stamps = {uuid: number for uuid, number in self._stamps.items() if number > self.version}
