"""What a process that makes attempts is made of: ``wazo_webhookd.celery.app.runtime`` there."""

from __future__ import annotations

import contextlib
import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from wazo_webhookd.database.attempts import AttemptRows, Orphan
from wazo_webhookd.domain.delivery import Word
from wazo_webhookd.domain.retry import Schedule
from wazo_webhookd.exceptions import DatabaseUnavailable

from .clock import Clock
from .desk import Desk
from .hands import Hands
from .lives import Contact, Life, Register
from .loop import Loop
from .messages import acknowledge_all
from .recorder import Recorder
from .runner import Runner, ServiceBook
from .solo import Solo
from .switch import Switch

logger = logging.getLogger(__name__)

Hear = Callable[[Sequence[Word]], None]


@dataclass(frozen=True)
class Front:
    """What a process with hands has between the broker and its hands."""

    desk: Desk
    loop: Loop
    switch: Switch


@dataclass
class Runtime:
    """``front`` where hands work (threads), ``solo`` in a process of the prefork pool.

    Services find ``http`` (egress.client.EgressClient), ``config`` and ``guest_config`` here.
    """

    config: Any
    guest_config: Mapping[str, Any]
    services: ServiceBook
    http: Any
    schedule: Schedule
    rows: AttemptRows
    recorder: Recorder
    clock: Clock
    life: str
    keeper: Life
    front: Front | None = None
    solo: Solo | None = None
    controller: Any = None

    def beat(self) -> None:
        """The broker's thread lives, though it has no broker."""
        if self.front is not None:
            self.front.loop.beat = time.monotonic()

    def adopt(self, delivery: str, subscription: Mapping[str, Any], event: Any, attempt: int) -> None:
        """A delivery of yesterday's program: make rows of it, so that the admitter sends it as one of ours."""
        name = event.get('name') if isinstance(event, Mapping) else None
        tenant = event.get('tenant_uuid') if isinstance(event, Mapping) else None
        orphan = Orphan(
            str(delivery),
            str(subscription['uuid']),
            str(subscription['owner_tenant_uuid']),
            name if isinstance(name, str) else '<unknown>',
            tenant if isinstance(tenant, str) else None,
            json.dumps(event),
            attempt,
            max(self.schedule.max_attempts, attempt),
            self.config.retention.deliveries_days,
        )
        if self.rows.adopt(orphan):
            logger.info('adopted delivery %s of an older program', delivery)


@dataclass(frozen=True)
class Parts:
    """What the hall hands in. ``hear``: takes the words where PostgreSQL does not carry them (standalone)."""

    app: Any
    config: Any
    guest_config: Mapping[str, Any]
    services: ServiceBook
    http: Any
    rows: AttemptRows
    register: Register
    life: str
    limit_of: Callable[[str], float]
    on_misfit: Callable[[Exception], None]
    on_lost_hand: Callable[[], None] = lambda: None
    hear: Hear | None = None


def with_hands(parts: Parts, hands: int) -> Runtime:
    """For a process whose threads deliver; nothing is started yet."""
    clock, schedule = Clock(), Schedule.from_config(parts.config)
    loop = Loop(acknowledge_all)
    switch = Switch(loop, hands)
    desks: list[Desk] = []

    def on_contact(away: bool) -> None:
        for desk in desks:
            desk.pause() if away else desk.resume()
            switch.set_on(not away and not desk.leaving)

    contact = Contact(on_contact)
    tell = _teller(parts)
    recorder = Recorder(parts.rows, contact.of('recorder'), hear=parts.hear)
    runner = Runner(parts.app, parts.services, parts.guest_config, schedule)

    def capacity() -> tuple[int, int]:
        taking = switch.consuming and not desk.leaving
        return (desk.hands.count if taking else 0, desk.hands.lost)

    def on_hands() -> None:
        switch.set_hands(desk.hands.count - desk.hands.lost)
        parts.on_lost_hand()

    desk = Desk(
        clock,
        Hands(hands, on_hands),
        runner,
        recorder,
        parts.rows,
        parts.life,
        limit_of=parts.limit_of,
        tell=tell,
    )
    desk.pause()
    desks.append(desk)
    keeper = _keeper(parts, clock, contact, capacity, parts.hear)
    keeper.watch(desk)
    switch.on_change = keeper.look
    return Runtime(
        parts.config, parts.guest_config, parts.services, parts.http, schedule, parts.rows, recorder, clock, parts.life,
        keeper, front=Front(desk, loop, switch),
    )  # fmt: skip


def solitary(parts: Parts, on_overdue: Callable[[], None]) -> Runtime:
    """For a process of the prefork pool."""
    clock, schedule = Clock(), Schedule.from_config(parts.config)
    contact = Contact(lambda away: None)
    recorder = Recorder(parts.rows, contact.of('recorder'), hear=parts.hear)
    runner = Runner(parts.app, parts.services, parts.guest_config, schedule)
    solo = Solo(
        clock,
        runner,
        recorder,
        parts.rows,
        parts.life,
        limit_of=parts.limit_of,
        tell=_teller(parts),
        on_overdue=on_overdue,
    )
    keeper = _keeper(parts, clock, contact, lambda: (0, 0), parts.hear)
    keeper.watch(solo)
    return Runtime(
        parts.config, parts.guest_config, parts.services, parts.http, schedule, parts.rows, recorder, clock, parts.life,
        keeper, solo=solo,
    )  # fmt: skip


def _keeper(
    parts: Parts, clock: Clock, contact: Contact, capacity: Callable[[], tuple[int, int]], hear: Hear | None
) -> Life:
    return Life(
        parts.life,
        parts.register,
        parts.rows,
        clock,
        contact.of('life'),
        capacity=capacity,
        on_misfit=parts.on_misfit,
        tell=hear or (lambda words: None),
    )


def _teller(parts: Parts) -> Hear:
    """For words that come without a row."""

    def tell(words: Sequence[Word]) -> None:
        if parts.hear is not None:
            parts.hear(words)
            return
        with contextlib.suppress(DatabaseUnavailable):  # they are hints: the admitter reads the rows again anyway
            parts.rows.tell(words)

    return tell
