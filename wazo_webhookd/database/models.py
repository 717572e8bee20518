"""The tables.

The five older ones keep the names and types that today's databases have, so that an existing
database is adopted; what was added is nullable or has a default, so that yesterday's program can
still write to them. Guests import these classes; on hot paths use ``Model.__table__``.

This module also imports under SQLAlchemy 1.4: another program (wazo-purge-db) loads the purger.
"""

# mypy: disable-error-code="misc, var-annotated"
# (the declarative base that both SQLAlchemy 1.4 and 2 have is of type Any)

from __future__ import annotations

from typing import Any
from uuid import uuid4

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Enum,
    Float,
    ForeignKey,
    Index,
    Integer,
    String,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import declarative_base, relationship

from .types import UtcDateTime, utc_now

Base: Any = declarative_base()


def _new_uuid() -> str:
    return str(uuid4())


class Subscription(Base):
    """A wish: these events, to that service, configured so."""

    __tablename__ = 'webhookd_subscription'

    uuid = Column(String(38), primary_key=True, default=_new_uuid)
    name = Column(Text)
    service = Column(Text)
    events_user_uuid = Column(String(36))
    owner_user_uuid = Column(String(36))
    events_wazo_uuid = Column(String(36))
    owner_tenant_uuid = Column(String(36), nullable=False)
    created_at = Column(UtcDateTime, server_default=utc_now(), nullable=False)

    __table_args__ = (
        Index('webhookd_subscription__idx__owner_tenant_uuid', 'owner_tenant_uuid', 'created_at', 'uuid'),
        Index('webhookd_subscription__idx__owner_user_uuid', 'owner_user_uuid'),
        Index('webhookd_subscription__idx__events_user_uuid', 'events_user_uuid'),
    )

    events_rel = relationship('SubscriptionEvent', cascade='all, delete-orphan', passive_deletes=True, lazy='select')
    options_rel = relationship('SubscriptionOption', cascade='all, delete-orphan', passive_deletes=True, lazy='select')
    metadata_rel = relationship(
        'SubscriptionMetadatum', cascade='all, delete-orphan', passive_deletes=True, lazy='select'
    )


def _subscription_uuid() -> Any:
    return Column(String(38), ForeignKey('webhookd_subscription.uuid', ondelete='CASCADE'), nullable=False)


class SubscriptionEvent(Base):
    """The name of one event that a subscription wants; ``position`` keeps the order given."""

    __tablename__ = 'webhookd_subscription_event'
    __table_args__ = (
        UniqueConstraint(
            'subscription_uuid', 'event_name', name='webhookd_subscription_event_subscription_uuid_event_name_key'
        ),
        Index('webhookd_subscription_event__idx__subscription_uuid', 'subscription_uuid'),
        Index('webhookd_subscription_event__idx__event_name', 'event_name'),
    )

    uuid = Column(String(38), primary_key=True, default=_new_uuid)
    subscription_uuid = _subscription_uuid()
    event_name = Column(Text, nullable=False)
    position = Column(Integer)


class SubscriptionOption(Base):
    """One key of a subscription's ``config``; ``type`` (null: string) keeps number and boolean apart."""

    __tablename__ = 'webhookd_subscription_option'
    __table_args__ = (
        UniqueConstraint('subscription_uuid', 'name', name='webhookd_subscription_option_subscription_uuid_name_key'),
        Index('webhookd_subscription_option__idx__subscription_uuid', 'subscription_uuid'),
    )

    uuid = Column(String(38), primary_key=True, default=_new_uuid)
    subscription_uuid = _subscription_uuid()
    name = Column(Text, nullable=False)
    value = Column(Text)
    type = Column(String(8))


class SubscriptionMetadatum(Base):
    """One key of a subscription's metadata; the table allows a key several times, the last one written counts."""

    __tablename__ = 'webhookd_subscription_metadatum'
    __table_args__ = (
        Index('webhookd_subscription_metadatum__idx__subscription_uuid', 'subscription_uuid'),
        Index(
            'webhookd_subscription_metadatum__idx__key_value',
            'key',
            'value',
            # PostgreSQL refuses large entries, in bytes (queries: database.subscriptions)
            postgresql_where=text('octet_length(key) < 300 AND octet_length(value) < 1000'),
        ),
    )

    uuid = Column(String(38), primary_key=True, default=_new_uuid)
    subscription_uuid = _subscription_uuid()
    key = Column(Text, nullable=False)
    value = Column(Text)


class SubscriptionLog(Base):
    """One attempt of a delivery. ``uuid`` is the delivery's; no foreign key (deletion deletes by hand)."""

    __tablename__ = 'webhookd_subscription_log'
    __table_args__ = (
        Index('webhookd_subscription_log__idx__subscription_uuid', 'subscription_uuid'),
        Index('webhookd_subscription_log__idx__subscription_started', 'subscription_uuid', 'started_at'),
        Index('webhookd_subscription_log__idx__started_at', 'started_at'),
    )

    uuid = Column(String(36), primary_key=True)
    subscription_uuid = Column(String(38), nullable=False)
    status = Column(Enum('success', 'failure', 'error', name='status_types'))
    started_at = Column(UtcDateTime)
    ended_at = Column(UtcDateTime)
    attempts = Column(Integer, primary_key=True, autoincrement=False)
    max_attempts = Column(Integer)
    event = Column(JSON(none_as_null=True))
    detail = Column(JSON(none_as_null=True))


class JournalEvent(Base):
    """An event that at least one subscription may have wanted. ``body`` and ``headers`` are JSON text as received."""

    __tablename__ = 'webhookd_journal'
    __table_args__ = (
        Index('webhookd_journal__idx__received_at', 'received_at'),
        Index('webhookd_journal__idx__fingerprint', 'fingerprint'),
    )

    uuid = Column(String(36), primary_key=True)
    name = Column(Text, nullable=False)
    tenant_uuid = Column(Text)
    source = Column(String(8), nullable=False)
    received_at = Column(UtcDateTime, nullable=False)
    fingerprint = Column(Text)
    deliveries = Column(Integer, nullable=False)
    headers = Column(Text, nullable=False)
    body = Column(Text, nullable=False)


class Delivery(Base):
    """One event on its way for one subscription (states: domain.delivery)."""

    __tablename__ = 'webhookd_delivery'
    __table_args__ = (
        Index(
            'webhookd_delivery__idx__out',
            'sent_at',
            postgresql_where=text("state = 'out'"),
            sqlite_where=text("state = 'out'"),
        ),
        Index(
            'webhookd_delivery__idx__waiting',
            'subscription_uuid',
            'due_at',
            'sequence',
            postgresql_where=text("state = 'waiting'"),
            sqlite_where=text("state = 'waiting'"),
        ),
        Index(
            'webhookd_delivery__idx__due',
            'due_at',
            postgresql_where=text("state = 'waiting'"),
            sqlite_where=text("state = 'waiting'"),
        ),
        Index('webhookd_delivery__idx__subscription', 'subscription_uuid', 'created_at'),
        Index('webhookd_delivery__idx__event', 'event_uuid'),
        Index('webhookd_delivery__idx__created_at', 'created_at'),
    )

    uuid = Column(String(36), primary_key=True)
    sequence = Column(BigInteger, nullable=False)  # order of arrival at the daemon that received it
    subscription_uuid = Column(String(38), nullable=False)
    tenant_uuid = Column(String(36), nullable=False)
    event_uuid = Column(String(36), nullable=False)
    event_name = Column(Text, nullable=False)
    state = Column(String(10), nullable=False)
    attempt = Column(Integer, nullable=False, server_default='1')  # the one that is next or under way
    send = Column(Integer, nullable=False, server_default='0')
    max_attempts = Column(Integer, nullable=False)
    due_at = Column(UtcDateTime, nullable=False)
    sent_at = Column(UtcDateTime)
    held_by = Column(String(36))
    deaths = Column(Integer, nullable=False, server_default='0')
    created_at = Column(UtcDateTime, nullable=False)
    expires_at = Column(UtcDateTime, nullable=False)
    ended_at = Column(UtcDateTime)
    reason = Column(Text)


class Process(Base):
    """A life: one run of one process, renewed every few seconds by the database's clock."""

    __tablename__ = 'webhookd_process'

    id = Column(String(36), primary_key=True)
    kind = Column(String(12), nullable=False)  # daemon, worker, suspects
    host = Column(Text, nullable=False)
    pid = Column(Integer, nullable=False)
    hands = Column(Integer, nullable=False, server_default='0')
    written_off = Column(Integer, nullable=False, server_default='0')
    backend_pid = Column(Integer)  # of the session that holds the admission lock
    started_at = Column(UtcDateTime, nullable=False)
    seen_at = Column(UtcDateTime, nullable=False)
    ended_at = Column(UtcDateTime)


class EndpointHealth(Base):
    """What admission remembers about an endpoint or (``key`` = ``sub:<uuid>``) about a subscription."""

    __tablename__ = 'webhookd_endpoint'

    key = Column(Text, primary_key=True)
    tenant_uuid = Column(String(36))
    standing = Column(String(8), nullable=False)  # fresh, proven, poor
    circuit = Column(String(10), nullable=False)  # closed, open, half-open
    failures_in_a_row = Column(Integer, nullable=False, server_default='0')
    failing_since = Column(UtcDateTime)
    resting_until = Column(UtcDateTime)
    rest_seconds = Column(Float)
    reason = Column(Text)
    since = Column(UtcDateTime)
    last_success_at = Column(UtcDateTime)
    last_failure_at = Column(UtcDateTime)
    warned = Column(Integer, nullable=False, server_default='0')
    disabled = Column(Boolean, nullable=False, server_default=text('false'))
    updated_at = Column(UtcDateTime, nullable=False)


class OutboxEvent(Base):
    """A bus event to publish, written with the change that it tells of."""

    __tablename__ = 'webhookd_outbox'

    id = Column(BigInteger().with_variant(Integer, 'sqlite'), primary_key=True, autoincrement=True)
    life = Column(String(36))
    created_at = Column(UtcDateTime, nullable=False)
    name = Column(Text, nullable=False)
    routing_key = Column(Text, nullable=False)
    headers = Column(Text, nullable=False)
    body = Column(Text, nullable=False)


class Fact(Base):
    """One value that all processes share: index version, admission epoch, master tenant."""

    __tablename__ = 'webhookd_fact'

    name = Column(String(32), primary_key=True)
    number = Column(BigInteger, nullable=False, server_default='0')
    value = Column(Text)


class BoundEvent(Base):
    """An event name that is bound to the bus queue."""

    __tablename__ = 'webhookd_bound_event'

    name = Column(Text, primary_key=True)
    bound_at = Column(UtcDateTime, nullable=False)
