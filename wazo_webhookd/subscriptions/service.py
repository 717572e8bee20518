"""The one door to the subscriptions: every write is a transaction that also leaves word of itself."""

from __future__ import annotations

import logging
import uuid as uuids
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

from sqlalchemy import Connection, text
from sqlalchemy.orm import Session

from wazo_webhookd.database import facts, outbox
from wazo_webhookd.database import subscriptions as rows
from wazo_webhookd.database.session import Database
from wazo_webhookd.domain.scope import EVERYTHING, Scope
from wazo_webhookd.domain.subscription import MASTER, InvalidSubscription, Subscription, clean, is_storable
from wazo_webhookd.exceptions import APIException, DatabaseUnavailable
from wazo_webhookd.subscriptions.catalog import Card
from wazo_webhookd.subscriptions.feed import Change, ChangeFeed, Kind
from wazo_webhookd.subscriptions.feed import feed as the_feed
from wazo_webhookd.subscriptions.hook_log import HookLog
from wazo_webhookd.subscriptions.notifier import Deed, life_event

logger = logging.getLogger(__name__)

MASTER_TENANT: Final = 'master_tenant'
CREATION_LOCK: Final = 0x5745424B  # pg_advisory_xact_lock: looking for a twin and storing are one step
BATCH: Final = 100
"""Subscriptions deleted in one transaction where many go at once."""

Result = TypeVar('Result')

_UNKNOWN: Final = Change('reload', 0)
"""The answer to a COMMIT was lost and it turned out to have happened: its version is not known."""


class NoSuchSubscription(APIException):
    """Unknown, or not visible to whoever asks: the same for both."""

    def __init__(self, subscription_uuid: object) -> None:
        shown = str(subscription_uuid)
        super().__init__(404, f'No such subscription: {shown}', 'no-such-subscription', {'subscription_uuid': shown})


class SubscriptionService:
    """For REST, for our own rooms and for guests, who build it with what they have at hand.

    ``config`` is a mapping with ``db_uri``, ``uuid`` and ``auth`` in it (``dependencies['config']``).
    In a daemon or worker the process's own database is used, in a script one made from ``db_uri``.
    ``notifier`` is accepted for plugins that pass one: bus events always leave through the outbox.

    Everything raises DatabaseUnavailable when the database is away. What is given to ``create`` and
    ``update`` may raise InvalidSubscription, a ValueError.
    """

    def __init__(
        self,
        config: Mapping[str, Any] | Any,
        notifier: object = None,
        *,
        feed: ChangeFeed = the_feed,
        known: Callable[[str], Card | None] = lambda uuid: None,
    ) -> None:
        """``known``: what is certain about a subscription without reading it."""
        self._config: Mapping[str, Any] = config if isinstance(config, Mapping) else config.tree
        self._feed = feed
        self._known = known

    @property
    def database(self) -> Database:
        return self._feed.database_for(str(self._config['db_uri']))

    # -- reading -------------------------------------------------------------------------------

    def list(
        self,
        owner_tenant_uuids: Collection[str] | None = None,
        owner_user_uuid: str | None = None,
        events_user_uuid: str | None = None,
        search_metadata: Mapping[str, str] | None = None,
        limit: int | None = None,
        offset: int | None = None,
        order: str | None = None,
        direction: rows.Direction = 'asc',
        search: str | None = None,
    ) -> list[Subscription]:  # fmt: skip
        """In the order of creation unless ``order`` (name, service, uuid) is given. None does not ask for that
        condition; an empty collection of tenants finds nothing."""
        scope = _scope(owner_tenant_uuids, owner_user_uuid)
        return [*self._find(scope, events_user_uuid, search_metadata, limit, offset, order, direction, search)[0]]

    def page(
        self,
        scope: Scope,
        *,
        search_metadata: Mapping[str, str] | None = None,
        limit: int | None = None,
        offset: int | None = None,
        order: str | None = None,
        direction: rows.Direction = 'asc',
        search: str | None = None,
    ) -> tuple[Sequence[Subscription], int]:
        """Like ``list``, and how many there are in all."""
        return self._find(scope, None, search_metadata, limit, offset, order, direction, search)

    def _find(
        self,
        scope: Scope,
        events_user_uuid: str | None,
        search_metadata: Mapping[str, str] | None,
        limit: int | None,
        offset: int | None,
        order: str | None,
        direction: rows.Direction,
        search: str | None,
    ) -> tuple[Sequence[Subscription], int]:
        if scope.is_empty:
            return [], 0
        with self.database.reading() as connection:
            conditions = [*rows.visible(scope), *rows.having(connection, search_metadata or {})]
            if events_user_uuid is not None:
                conditions.append(rows.subscription.c.events_user_uuid == str(events_user_uuid))
            if search:
                conditions.append(rows.searching(search))
            found = rows.find(connection, conditions, order=order, direction=direction, limit=limit, offset=offset)
            if limit is None and not offset:
                return found, len(found)
            return found, rows.count(connection, conditions)

    def get(
        self,
        subscription_uuid: object,
        owner_tenant_uuids: Collection[str] | None = None,
        owner_user_uuid: str | None = None,
        *,
        scope: Scope | None = None,
    ) -> Subscription:
        """Raises NoSuchSubscription. ``scope`` says what the two other conditions say."""
        found = rows.read_one(self.database, _looked_up(subscription_uuid))
        return _visible(found, scope or _scope(owner_tenant_uuids, owner_user_uuid), subscription_uuid)

    def shown(self, subscription_uuid: object, scope: Scope) -> dict[str, Any]:
        """``get(…).to_dict()``, read only where it is not known. Raises NoSuchSubscription."""
        card = self._known(_looked_up(subscription_uuid))
        if card is None:
            return self.get(subscription_uuid, scope=scope).to_dict()
        subscription = card.subscription()
        if not scope.includes(card.tenant_uuid, subscription['owner_user_uuid']):
            raise NoSuchSubscription(subscription_uuid)
        return subscription

    def get_as_user(self, subscription_uuid: object, owner_user_uuid: str) -> Subscription:
        """Kept for guests of 2018."""
        return self.get(subscription_uuid, owner_user_uuid=owner_user_uuid)

    # -- writing -------------------------------------------------------------------------------

    def create(self, subscription: Mapping[str, Any]) -> Subscription:
        """Store a subscription; keys ``name``, ``service``, ``events`` and ``config`` are needed.

        Without ``owner_tenant_uuid`` it belongs to the master tenant, from when that is known. Inside a
        guest's ``load()`` an identical one of an earlier start is returned instead of a second one;
        in a worker nothing is stored and what would have been is returned.
        """
        return self._create(subscription, unless_it_exists=self._feed.loading())

    def add(self, subscription: Mapping[str, Any]) -> Subscription:
        """Store a subscription, whether or not an identical one exists."""
        return self._create(subscription, unless_it_exists=False)

    def _create(self, given: Mapping[str, Any], *, unless_it_exists: bool) -> Subscription:
        values = clean(given)
        missing = [key for key in ('name', 'service', 'events', 'config') if key not in values]
        if missing:
            raise InvalidSubscription(f'{", ".join(missing)}: missing')
        tenant = values.pop('owner_tenant_uuid', None)
        new = Subscription(
            uuid=str(uuids.uuid4()), owner_tenant_uuid=tenant or self._master_tenant() or MASTER, **values
        )
        if not self._feed.writable:
            return new

        def store(connection: Connection) -> tuple[Subscription, Change | None]:
            if unless_it_exists or new.owner_tenant_uuid == MASTER:
                _one_at_a_time(connection)
            wished = replace(
                new,
                owner_tenant_uuid=tenant or self._master_tenant(connection),
                created_at=self.database.now(connection),
            )
            stored = rows.one(connection, new.uuid)
            if stored is not None:
                return stored, _UNKNOWN
            if unless_it_exists:
                stored = _twin(connection, wished, also=None if tenant else MASTER)
            if stored is not None:
                return stored, None
            rows.add(connection, wished)
            return wished, self._leave_word(connection, 'created', [wished])

        return self._write(store)

    def update(
        self,
        subscription_uuid: object,
        subscription: Mapping[str, Any],
        owner_tenant_uuids: Collection[str] | None = None,
        owner_user_uuid: str | None = None,
        *,
        scope: Scope | None = None,
    ) -> Subscription:
        """Change what the keys given say; absent ones stay. Raises NoSuchSubscription."""
        scope = scope or _scope(owner_tenant_uuids, owner_user_uuid)
        values = clean(subscription)
        if values.get('owner_tenant_uuid', '') is None:
            del values['owner_tenant_uuid']
        if not self._feed.writable:
            return replace(self.get(subscription_uuid, scope=scope), **values)

        def change(connection: Connection) -> tuple[Subscription, Change | None]:
            uuid = _looked_up(subscription_uuid)
            before = next(iter(rows.fetch(connection, [uuid], lock=True)), None)
            after = replace(_visible(before, scope, subscription_uuid), **values)
            rows.replace(connection, after)
            return after, self._leave_word(connection, 'updated', [after])

        return self._write(change)

    def update_as_user(
        self, subscription_uuid: object, subscription: Mapping[str, Any], owner_user_uuid: str
    ) -> Subscription:
        """Kept for guests of 2018."""
        return self.update(subscription_uuid, subscription, owner_user_uuid=owner_user_uuid)

    def delete(
        self,
        subscription_uuid: object,
        owner_tenant_uuids: Collection[str] | None = None,
        owner_user_uuid: str | None = None,
        *,
        scope: Scope | None = None,
    ) -> None:
        """With its logs; its waiting deliveries end as cancelled. Raises NoSuchSubscription."""
        scope = scope or _scope(owner_tenant_uuids, owner_user_uuid)
        if not self._feed.writable:
            return
        uuid = _looked_up(subscription_uuid)
        tried: set[str] = set()

        def remove(connection: Connection) -> tuple[None, Change | None]:
            found = rows.fetch(connection, [uuid], lock=True)
            if not found and tried:
                return None, _UNKNOWN
            gone = _visible(next(iter(found), None), scope, subscription_uuid)
            tried.add(uuid)
            return None, self._remove(connection, [gone])

        self._write(remove)

    def delete_as_user(self, subscription_uuid: object, owner_user_uuid: str) -> None:
        """Kept for guests of 2018."""
        self.delete(subscription_uuid, owner_user_uuid=owner_user_uuid)

    def delete_of_user(self, user_uuid: str) -> int:
        """Those that this user owns or whose events are about that user. Returns how many."""
        own = rows.subscription.c
        return self._delete_where((own.owner_user_uuid == user_uuid) | (own.events_user_uuid == user_uuid))

    def delete_of_tenant(self, tenant_uuid: str) -> int:
        """Those that this tenant owns. Returns how many."""
        return self._delete_where(rows.subscription.c.owner_tenant_uuid == tenant_uuid)

    def _delete_where(self, condition: Any) -> int:
        deleted = 0
        while self._feed.writable:
            with self.database.reading() as connection:
                found = [found.uuid for found in rows.find(connection, [condition], limit=BATCH)]
            if not found:
                break

            def remove(connection: Connection, batch: Sequence[str] = found) -> tuple[int, Change | None]:
                gone = rows.fetch(connection, batch, lock=True)
                return len(gone), self._remove(connection, gone) if gone else None

            deleted += self._write(remove)
        return deleted

    def _remove(self, connection: Connection, gone: Sequence[Subscription]) -> Change:
        rows.remove(connection, [subscription.uuid for subscription in gone], self.database.now(connection))
        return self._leave_word(connection, 'deleted', gone)

    def remember_master_tenant(self, tenant_uuid: str) -> None:
        """The master tenant is known: keep it for the next start, and give it what guests created before."""
        if not self._feed.writable:
            return

        def adopt(connection: Connection) -> tuple[None, Change | None]:
            _one_at_a_time(connection)
            if facts.get(connection, MASTER_TENANT)[1] != tenant_uuid:
                facts.put(connection, MASTER_TENANT, tenant_uuid)
            orphans = rows.find(connection, [rows.subscription.c.owner_tenant_uuid == MASTER])
            if not orphans:
                return None, None
            adopted = [replace(orphan, owner_tenant_uuid=tenant_uuid) for orphan in orphans]
            for subscription in adopted:
                rows.replace(connection, subscription)
            return None, self._leave_word(connection, 'created', adopted)

        self._write(adopt)

    # -- logs ----------------------------------------------------------------------------------

    def get_logs(
        self,
        subscription_uuid: object,
        from_date: datetime | None = None,
        limit: int | None = None,
        offset: int | None = None,
        order: str | None = None,
        direction: rows.Direction | None = None,
        search: str | None = None,
    ) -> Sequence[HookLog]:
        """Attempts, newest first unless asked otherwise (rest.md 1.11)."""
        return self.page_of_logs(
            subscription_uuid, from_date=from_date, limit=limit, offset=offset, order=order, direction=direction,
            search=search,
        )[0]  # fmt: skip

    def page_of_logs(
        self,
        subscription_uuid: object,
        *,
        from_date: datetime | None = None,
        limit: int | None = None,
        offset: int | None = None,
        order: str | None = None,
        direction: rows.Direction | None = None,
        search: str | None = None,
    ) -> tuple[Sequence[HookLog], int]:
        """Like ``get_logs``, and how many attempts match in all. A naive ``from_date`` is UTC."""
        if from_date is not None and from_date.tzinfo is None:
            from_date = from_date.replace(tzinfo=UTC)
        with self.database.reading() as connection:
            found, total = rows.logs(
                connection,
                _looked_up(subscription_uuid),
                from_date=from_date,
                search=search,
                order=order or 'started_at',
                direction=direction or 'desc',
                limit=limit,
                offset=offset,
            )
        return [HookLog.of(row) for row in found], total

    def create_hook_log(
        self,
        uuid: object,
        subscription_uuid: object,
        status: str,
        attempts: int,
        max_attempts: int,
        started_at: datetime,
        ended_at: datetime,
        event: object,
        detail: object,
    ) -> None:
        """Kept for guests: store one attempt. Nothing is stored when the subscription is gone."""
        if not self._feed.writable:
            return
        values = {
            'uuid': str(uuid),
            'subscription_uuid': str(subscription_uuid),
            'status': status,
            'attempts': attempts,
            'max_attempts': max_attempts,
            'started_at': _aware(started_at),
            'ended_at': _aware(ended_at),
            'event': event,
            'detail': detail,
        }
        with self.database.transaction() as connection:
            if not rows.add_log(connection, values, self.database.insert):
                logger.warning('an attempt for subscription %s is not stored: it is gone', subscription_uuid)

    # -- kept for guests -----------------------------------------------------------------------

    def subscribe_bus(self, bus: object) -> None:
        """Nothing to do: the house itself cleans up after deleted users and tenants."""

    @contextmanager
    def ro_session(self) -> Iterator[Session]:
        """A session of SQLAlchemy's ORM (``database.models``) to read with."""
        with self.database.session() as session:
            yield session

    @contextmanager
    def rw_session(self) -> Iterator[Session]:
        """The same, committed at the end (in a worker: undone). Every daemon then reads all subscriptions again."""
        with self.database.session() as session:
            yield session
            if not self._feed.writable:
                session.rollback()
                return
            change = Change('reload', self._feed.record(session.connection(), 'reload', ()))
            session.commit()
        self._feed.changed(change)

    def close(self) -> None:
        """Nothing to do: connections belong to the process."""

    # -- inside --------------------------------------------------------------------------------

    def _write(self, work: Callable[[Connection], tuple[Result, Change | None]]) -> Result:
        """Run the transaction, a second time when the database was lost on the way; then tell."""
        try:
            with self.database.transaction() as connection:
                result, change = work(connection)
        except DatabaseUnavailable:
            with self.database.transaction() as connection:
                result, change = work(connection)
        if change is not None:
            self._feed.changed(change)
        return result

    def _leave_word(self, connection: Connection, deed: Deed, about: Sequence[Subscription]) -> Change:
        """The last steps of a transaction: bus events, then the version, whose row all writers share."""
        now = datetime.now(UTC)
        origin = str(self._config.get('uuid') or '')
        for subscription in about:
            if subscription.owner_tenant_uuid != MASTER:  # told when it has its tenant
                event = life_event(deed, subscription, origin, now)
                outbox.write(connection, self._feed.life, event.name, event.routing_key, event.headers, event.body)
        kind: Kind = deed
        uuids_ = tuple(subscription.uuid for subscription in about)
        version = self._feed.record(connection, kind, uuids_)
        return Change(kind, version, uuids_, () if deed == 'deleted' else tuple(about))

    def _master_tenant(self, connection: Connection | None = None) -> str:
        """As known in this process, else (with a connection) as remembered, else MASTER."""
        auth = self._config.get('auth')
        pinned = auth.get('master_tenant_uuid') if isinstance(auth, Mapping) else None
        known = self._feed.master_tenant() or pinned
        if not known and connection is not None:
            known = facts.get(connection, MASTER_TENANT)[1]
        return str(known) if known else MASTER


def build_subscription_service(dependencies: Mapping[str, Any]) -> SubscriptionService:
    """A service for a plugin, from what its ``load`` was given."""
    return SubscriptionService(dependencies['config'])


def _scope(tenants: Collection[str] | None, owner: str | None) -> Scope:
    """What guests say with None ("not asked") is said aloud."""
    seen = EVERYTHING if tenants is None else frozenset(str(tenant) for tenant in tenants)
    return Scope(seen, None if owner is None else str(owner))


def _looked_up(uuid: object) -> str:
    """The form under which a subscription is stored: uuids in lower case. Raises NoSuchSubscription."""
    shown = str(uuid)
    if not is_storable(shown):
        raise NoSuchSubscription(shown)
    try:
        canonical = str(uuids.UUID(shown))
    except ValueError:
        return shown
    return canonical if canonical == shown.lower() else shown


def _visible(found: Subscription | None, scope: Scope, asked: object) -> Subscription:
    if found is None or not scope.includes(found.owner_tenant_uuid, found.owner_user_uuid):
        raise NoSuchSubscription(asked)
    return found


def _twin(connection: Connection, wished: Subscription, also: str | None) -> Subscription | None:
    """The identical subscription of the same tenant, or of tenant ``also``."""
    own = rows.subscription.c
    same = [
        own.owner_tenant_uuid.in_([wished.owner_tenant_uuid, also]),
        own.name == wished.name,
        own.service == wished.service,
    ]
    return next((one for one in rows.find(connection, same) if one.wishes_the_same_as(wished)), None)


def _one_at_a_time(connection: Connection) -> None:
    """Until the transaction ends, in all processes (SQLite has one writer anyway)."""
    if connection.dialect.name == 'postgresql':
        connection.execute(text('SELECT pg_advisory_xact_lock(:key)'), {'key': CREATION_LOCK})


def _aware(moment: datetime | None) -> datetime | None:
    return moment.replace(tzinfo=UTC) if moment is not None and moment.tzinfo is None else moment
