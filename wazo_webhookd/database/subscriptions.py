"""What is read and written of subscriptions, in a number of statements that does not grow with the rows."""

from __future__ import annotations

import json
import uuid as uuids
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any, Final, Literal

from sqlalchemy import (
    ColumnElement,
    CompoundSelect,
    Connection,
    Row,
    Select,
    Text,
    bindparam,
    case,
    cast,
    delete,
    exists,
    func,
    insert,
    literal,
    literal_column,
    null,
    or_,
    select,
    tuple_,
    union_all,
    update,
)

from wazo_webhookd.database import models
from wazo_webhookd.database.quick import Prepared, prepared
from wazo_webhookd.database.session import Database
from wazo_webhookd.domain.delivery import CANCELLED, WAITING
from wazo_webhookd.domain.scope import EVERYTHING, Scope
from wazo_webhookd.domain.subscription import Scalar, Subscription

Direction = Literal['asc', 'desc']

subscription = models.Subscription.__table__
event = models.SubscriptionEvent.__table__
option = models.SubscriptionOption.__table__
metadatum = models.SubscriptionMetadatum.__table__
log = models.SubscriptionLog.__table__
delivery = models.Delivery.__table__

PAGE: Final = 500
"""Subscriptions read at a time where all are wanted."""

INDEXED_KEY_BYTES: Final = 300
INDEXED_VALUE_BYTES: Final = 1000
"""The index on metadata holds entries below these sizes (PostgreSQL refuses large ones)."""

_ORDERS: Final[Mapping[str, ColumnElement[Any]]] = {
    'name': subscription.c.name,
    'service': subscription.c.service,
    'uuid': subscription.c.uuid,
}

# -- reading ----------------------------------------------------------------------------------


def visible(scope: Scope) -> list[ColumnElement[bool]]:
    """The conditions that a scope means; those of an empty one hold for no row."""
    conditions: list[ColumnElement[bool]] = []
    if scope.tenants is not EVERYTHING:
        conditions.append(subscription.c.owner_tenant_uuid.in_(sorted(scope.tenants)))
    if scope.owner is not None:
        conditions.append(subscription.c.owner_user_uuid == scope.owner)
    return conditions


def having(connection: Connection, wanted: Mapping[str, str]) -> list[ColumnElement[bool]]:
    """Subscriptions that have every one of these metadata, exactly."""
    return [
        exists().where(
            metadatum.c.subscription_uuid == subscription.c.uuid,
            metadatum.c.key == key,
            metadatum.c.value == value,
            *_within_index(connection, key, value),
        )
        for key, value in wanted.items()
    ]


def _within_index(connection: Connection, key: str, value: str) -> list[ColumnElement[bool]]:
    """Says what the partial index says, so that PostgreSQL may use it."""
    if connection.dialect.name != 'postgresql':
        return []
    if len(key.encode()) >= INDEXED_KEY_BYTES or len(value.encode()) >= INDEXED_VALUE_BYTES:
        return []
    return [
        func.octet_length(metadatum.c.key) < _constant(INDEXED_KEY_BYTES),
        func.octet_length(metadatum.c.value) < _constant(INDEXED_VALUE_BYTES),
    ]


def _constant(number: int) -> ColumnElement[int]:
    return literal(number, literal_execute=True)


def searching(term: str) -> ColumnElement[bool]:
    """Name, service or an event name contains the term, whatever the case."""
    return or_(
        subscription.c.name.icontains(term, autoescape=True),
        subscription.c.service.icontains(term, autoescape=True),
        exists().where(
            event.c.subscription_uuid == subscription.c.uuid, event.c.event_name.icontains(term, autoescape=True)
        ),
    )


def find(
    connection: Connection,
    conditions: Iterable[ColumnElement[bool]],
    *,
    order: str | None = None,
    direction: Direction = 'asc',
    limit: int | None = None,
    offset: int | None = None,
) -> list[Subscription]:
    """In the order of creation unless ``order`` (name, service, uuid) is given. Four statements."""
    columns = [subscription.c.created_at, subscription.c.uuid]
    if order is not None:
        columns.insert(0, _ORDERS[order])
    statement = select(subscription).where(*conditions)
    statement = statement.order_by(*(column.desc() if direction == 'desc' else column for column in columns))
    return _complete(connection, connection.execute(_paged(statement, limit, offset)).all())


def count(connection: Connection, conditions: Iterable[ColumnElement[bool]]) -> int:
    return int(connection.execute(select(func.count()).select_from(subscription).where(*conditions)).scalar_one())


def fetch(connection: Connection, wanted: Sequence[str], *, lock: bool = False) -> list[Subscription]:
    """Those of these uuids that exist, sorted by uuid. ``lock``: until the transaction ends."""
    statement = select(subscription).where(subscription.c.uuid.in_(wanted)).order_by(subscription.c.uuid)
    if lock:
        statement = statement.with_for_update()
    return _complete(connection, connection.execute(statement).all())


def _part(kind: str, *values: ColumnElement[Any]) -> Select[Any]:
    """A branch of the union: kind, up to three texts, an empty rest, a position."""
    texts = [*values[:3], *[null()] * (3 - len(values[:3]))]
    position = values[3] if len(values) > 3 else null()
    return select(literal(kind), *texts, null(), null(), null(), null(), position)


def _statement_of_one(uuid: ColumnElement[Any]) -> CompoundSelect[Any]:
    nothing: ColumnElement[Any] = null()
    own = subscription.c
    return union_all(
        select(
            literal('subscription'),
            own.name,
            own.service,
            own.owner_tenant_uuid,
            own.owner_user_uuid,
            own.events_user_uuid,
            own.events_wazo_uuid,
            own.created_at,
            literal(0),
        ).where(own.uuid == uuid),
        _part('event', event.c.event_name, nothing, nothing, event.c.position).where(event.c.subscription_uuid == uuid),
        _part('option', option.c.name, option.c.value, option.c.type).where(option.c.subscription_uuid == uuid),
        _part('metadatum', metadatum.c.key, metadatum.c.value).where(metadatum.c.subscription_uuid == uuid),
    )


_ONE: Final = _statement_of_one(bindparam('uuid', type_=Text))
"""Built once: building it costs more than asking it."""


@cache
def _prepared_one() -> Prepared:
    return prepared('webhookd_one', 'text', _statement_of_one(literal_column('$1', Text)))


def one(connection: Connection, uuid: str) -> Subscription | None:
    """In one statement."""
    return _of_parts(uuid, connection.execute(_ONE, {'uuid': uuid}).all())


def read_one(database: Database, uuid: str) -> Subscription | None:
    """The same outside of a transaction, the common question of REST and workers: PostgreSQL plans the statement once
    per connection, planning takes longer than the rest together."""
    if database.quick is None:
        with database.reading() as connection:
            return one(connection, uuid)
    return _of_parts(uuid, database.quick.rows(_prepared_one(), (uuid,)))


def _of_parts(uuid: str, found: Sequence[Any]) -> Subscription | None:
    parts: dict[str, list[Any]] = {'subscription': [], 'event': [], 'option': [], 'metadatum': []}
    for part in found:
        parts[part[0]].append(part)
    if not parts['subscription']:
        return None
    row = parts['subscription'][0]
    events = sorted(parts['event'], key=lambda part: (part[8] is None, part[8]))
    return Subscription(
        uuid=uuid,
        name=row[1],
        service=row[2],
        owner_tenant_uuid=row[3],
        owner_user_uuid=row[4],
        events_user_uuid=row[5],
        events_wazo_uuid=row[6],
        created_at=row[7],
        events=[part[1] for part in events],
        config={part[1]: _from_text(part[2], part[3]) for part in parts['option']},
        metadata={part[1]: part[2] for part in parts['metadatum']},
    )


def everything(connection: Connection) -> Iterator[list[Subscription]]:
    """All subscriptions in the order of their creation, page by page."""
    after: tuple[datetime, str] | None = None
    key = tuple_(subscription.c.created_at, subscription.c.uuid)
    while True:
        statement = select(subscription).order_by(subscription.c.created_at, subscription.c.uuid).limit(PAGE)
        if after is not None:
            statement = statement.where(key > tuple_(*_bound(after)))
        found = connection.execute(statement).all()
        if found:
            yield _complete(connection, found)
        if len(found) < PAGE:
            return
        after = (found[-1].created_at, found[-1].uuid)


def _bound(after: tuple[datetime, str]) -> tuple[ColumnElement[Any], ColumnElement[Any]]:
    return literal(after[0], subscription.c.created_at.type), literal(after[1])


def _paged(statement: Select[Any], limit: int | None, offset: int | None) -> Select[Any]:
    if limit is not None:
        statement = statement.limit(limit)
    return statement.offset(offset) if offset else statement


def _complete(connection: Connection, found: Sequence[Row[Any]]) -> list[Subscription]:
    """Events, options and metadata are read for all rows at once, each relation by itself."""
    wanted = [row.uuid for row in found]
    events: dict[str, list[str]] = {uuid: [] for uuid in wanted}
    config: dict[str, dict[str, Scalar]] = {uuid: {} for uuid in wanted}
    metadata: dict[str, dict[str, str | None]] = {uuid: {} for uuid in wanted}
    if wanted:
        for uuid, name in connection.execute(
            select(event.c.subscription_uuid, event.c.event_name)
            .where(event.c.subscription_uuid.in_(wanted))
            .order_by(event.c.position, event.c.event_name)
        ):
            events[uuid].append(name)
        for uuid, name, value, kind in connection.execute(
            select(option.c.subscription_uuid, option.c.name, option.c.value, option.c.type).where(
                option.c.subscription_uuid.in_(wanted)
            )
        ):
            config[uuid][name] = _from_text(value, kind)
        for uuid, key, value in connection.execute(
            select(metadatum.c.subscription_uuid, metadatum.c.key, metadatum.c.value).where(
                metadatum.c.subscription_uuid.in_(wanted)
            )
        ):
            metadata[uuid][key] = value
    return [
        Subscription(
            uuid=row.uuid,
            name=row.name,
            service=row.service,
            events=events[row.uuid],
            config=config[row.uuid],
            owner_tenant_uuid=row.owner_tenant_uuid,
            owner_user_uuid=row.owner_user_uuid,
            events_user_uuid=row.events_user_uuid,
            events_wazo_uuid=row.events_wazo_uuid,
            metadata=metadata[row.uuid],
            created_at=row.created_at,
        )
        for row in found
    ]


# -- writing ----------------------------------------------------------------------------------


def add(connection: Connection, new: Subscription) -> None:
    connection.execute(insert(subscription).values(uuid=new.uuid, created_at=new.created_at, **_columns(new)))
    _add_parts(connection, new)


def replace(connection: Connection, changed: Subscription) -> None:
    """Everything but uuid and time of creation becomes what ``changed`` says."""
    connection.execute(update(subscription).where(subscription.c.uuid == changed.uuid).values(**_columns(changed)))
    _remove_parts(connection, [changed.uuid])
    _add_parts(connection, changed)


def remove(connection: Connection, gone: Sequence[str], now: datetime) -> None:
    """With their logs; what waits for them is cancelled. Lock them first (``fetch``)."""
    waiting = (
        select(delivery.c.uuid)
        .where(delivery.c.subscription_uuid.in_(gone), delivery.c.state == WAITING)
        .order_by(delivery.c.uuid)
        .with_for_update()
    )
    connection.execute(
        update(delivery)
        .where(delivery.c.uuid.in_(waiting.scalar_subquery()), delivery.c.state == WAITING)
        .values(state=CANCELLED, ended_at=now, reason='subscription deleted')
    )
    connection.execute(delete(log).where(log.c.subscription_uuid.in_(gone)))
    _remove_parts(connection, gone)
    connection.execute(delete(subscription).where(subscription.c.uuid.in_(gone)))


def _columns(of: Subscription) -> dict[str, Any]:
    return {
        'name': of.name,
        'service': of.service,
        'owner_tenant_uuid': of.owner_tenant_uuid,
        'owner_user_uuid': of.owner_user_uuid,
        'events_user_uuid': of.events_user_uuid,
        'events_wazo_uuid': of.events_wazo_uuid,
    }


def _add_parts(connection: Connection, of: Subscription) -> None:
    names = [{**_new_part(of), 'event_name': name, 'position': n} for n, name in enumerate(of.events)]
    options = [
        {**_new_part(of), 'name': name, 'value': text, 'type': kind}
        for name, (text, kind) in ((name, _to_text(value)) for name, value in of.config.items())
    ]
    metadata = [{**_new_part(of), 'key': key, 'value': value} for key, value in of.metadata.items()]
    for table, parts in ((event, names), (option, options), (metadatum, metadata)):
        if parts:
            connection.execute(insert(table), parts)


def _new_part(of: Subscription) -> dict[str, Any]:
    return {'uuid': str(uuids.uuid4()), 'subscription_uuid': of.uuid}


def _remove_parts(connection: Connection, of: Sequence[str]) -> None:
    for table in (event, option, metadatum):
        connection.execute(delete(table).where(table.c.subscription_uuid.in_(of)))


def _to_text(value: Scalar) -> tuple[str | None, str | None]:
    """Column ``value`` and column ``type`` (null for text, as in rows of older programs)."""
    if value is None or isinstance(value, str):
        return value, None
    return json.dumps(value), 'boolean' if isinstance(value, bool) else 'number'


def _from_text(value: str | None, kind: str | None) -> Scalar:
    if value is None or kind is None:
        return value
    result: Scalar = json.loads(value)
    return result


# -- logs -------------------------------------------------------------------------------------

_STATUS_ORDER: Final = case(
    (log.c.status == 'success', 0), (log.c.status == 'failure', 1), (log.c.status == 'error', 2)
)
_LOG_ORDERS: Final[Mapping[str, ColumnElement[Any]]] = {
    'started_at': log.c.started_at,
    'ended_at': log.c.ended_at,
    'status': _STATUS_ORDER,
    'attempts': log.c.attempts,
    'max_attempts': log.c.max_attempts,
}


def logs(
    connection: Connection,
    of: str,
    *,
    from_date: datetime | None = None,
    search: str | None = None,
    order: str = 'started_at',
    direction: Direction = 'desc',
    limit: int | None = None,
    offset: int | None = None,
) -> tuple[list[Row[Any]], int]:
    """A page of the attempts of one subscription, and how many match in all."""
    conditions: list[ColumnElement[bool]] = [log.c.subscription_uuid == of]
    if from_date is not None:
        conditions.append(log.c.started_at >= from_date)
    if search:
        conditions.append(_mentions(search))
    first = _LOG_ORDERS[order]
    if direction == 'desc':
        sorting = [first.desc().nulls_first(), log.c.uuid.desc(), log.c.attempts.desc()]
    else:
        sorting = [first.asc().nulls_last(), log.c.uuid, log.c.attempts]
    page = list(connection.execute(_paged(select(log).where(*conditions).order_by(*sorting), limit, offset)))
    if limit is None and not offset:
        return page, len(page)
    return page, int(connection.execute(select(func.count()).select_from(log).where(*conditions)).scalar_one())


def _mentions(term: str) -> ColumnElement[bool]:
    """Status, event or detail contains the term; JSON may hold it with its characters escaped."""
    forms = dict.fromkeys([term, json.dumps(term)[1:-1]])
    columns = [func.coalesce(cast(column, Text), '') for column in (log.c.status, log.c.event, log.c.detail)]
    return or_(*(column.icontains(form, autoescape=True) for column in columns for form in forms))


def add_log(connection: Connection, values: Mapping[str, Any], insertion: Any) -> bool:
    """Store one attempt (``insertion``: Database.insert); one that says success already stays. False when the
    subscription is gone: nothing is stored then."""
    known = connection.execute(
        select(subscription.c.uuid).where(subscription.c.uuid == values['subscription_uuid'])
    ).first()
    if known is None:
        return False
    statement = insertion(log).values(**values)
    others = {name: statement.excluded[name] for name in values if name not in ('uuid', 'attempts')}
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=['uuid', 'attempts'], set_=others, where=log.c.status.is_distinct_from('success')
        )
    )
    return True
