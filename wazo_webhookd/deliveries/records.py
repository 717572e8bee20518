"""What admission learnt, written down and told to the bus; and resumes, which go the other way."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from sqlalchemy import Connection

from ..database import endpoints, facts
from ..domain.admission import News
from .announce import Announcer, Kind
from .desk import Desk, say_resumed

_STATES: Final = {'resting': 'resting', 'recovered': 'healthy', 'disabling': 'degraded', 'disabled': 'disabled'}


class Told(NamedTuple):
    """News for one subscription, as it was when it was new."""

    kind: Kind
    subscription: str
    state: str
    reason: str | None
    since: float | None

    @classmethod
    def all_of(cls, news: News) -> list[Told]:
        health, reason, since = news.health, news.health.reason, news.health.since
        if news.kind == 'disabling':
            reason, since = 'nothing but failures: it will be disabled unless a delivery succeeds', health.failing_since
        return [cls(news.kind, uuid, _STATES[news.kind], reason, since) for uuid in news.subscriptions]


class Records:
    """Everything raises DatabaseUnavailable; ``write_down`` also NotHeld."""

    def __init__(self, desk: Desk, announcer: Announcer) -> None:
        self._desk = desk
        self._announcer = announcer

    def write_down(self) -> None:
        """Circuits and standings that changed class, and what people want to know. For the admitter's thread."""
        desk = self._desk
        with desk.lock:
            admission = desk.admission
            changed, admission.changed = admission.changed, {}
            news = admission.take_news()
            lines = self._lines(list(changed))
            told = [item for some in news for item in Told.all_of(some)]
        if not lines and not told:
            return
        disabled = {some.health.key[4:] for some in news if some.kind == 'disabled'}
        try:
            with desk.lease.turn(), desk.lease.transaction() as (connection, state):
                desk.see(connection, state)
                endpoints.save(connection, lines)
                for item in told:
                    self._announce(connection, item)
                if disabled:
                    facts.bump(connection, endpoints.DISABLED_VERSION)
        except BaseException:
            with desk.lock:
                admission.changed = changed | admission.changed
                admission.untake_news(news)
            raise
        if told:
            self._announcer.wake()
        if disabled:
            desk.disabled = desk.disabled | disabled

    def _lines(self, keys: list[str]) -> list[dict[str, Any]]:
        admission, now = self._desk.admission, self._desk.clock.now()
        known = [key for key in keys if key in admission.healths]
        return [endpoints.as_row(admission.healths[key], admission.standing_of(key), now) for key in known]

    def _announce(self, connection: Connection, item: Told) -> None:
        card = self._desk.catalog.card(item.subscription)
        if card is not None:
            self._announcer.write(connection, item.kind, card.document, item.state, item.reason, item.since)

    def resume(self, subscription: str) -> None:
        """Somebody says that it works again: rows, memory, the admitting daemon and the bus hear of it. Any thread."""
        desk = self._desk
        card = desk.catalog.card(subscription)
        self.resumed(subscription)  # first, or what memory knows might be written over it
        with desk.database.transaction() as connection:
            trouble = endpoints.resume(connection, subscription, card.endpoint if card is not None else None)
            if trouble and card is not None:
                self._announcer.write(connection, 'resumed', card.document, 'healthy', None, None)
            say_resumed(connection, subscription)
        self.resumed(subscription)
        if trouble:
            self._announcer.wake()

    def resumed(self, subscription: str) -> None:
        """Somebody resumed it: memory follows."""
        desk = self._desk
        with desk.lock:
            desk.disabled = desk.disabled - {subscription}
            card = desk.catalog.card(subscription)
            desk.admission.resume(subscription, card.endpoint if card is not None else None)
            desk.admission.wrote(desk.lane(subscription))
