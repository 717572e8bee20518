"""What is learnt from how an attempt ended: standings, circuits, warnings."""

from __future__ import annotations

from typing import Literal, NamedTuple

from ..delivery import Word
from .board import Board, Out
from .health import OPEN, Health
from .lanes import Lane

NewsKind = Literal['resting', 'recovered', 'disabling', 'disabled']


class News(NamedTuple):
    """Something that people want to hear about. ``subscriptions``: those concerned, as far as they are in memory."""

    kind: NewsKind
    health: Health
    subscriptions: tuple[str, ...]


class Lessons:
    """Silence and slowness count against the endpoint, failing status codes against the subscription alone, and what
    went wrong on our side (``crashed``) against nobody. ``news`` grows until somebody takes it."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self.news: list[News] = []

    def learn(self, out: Out, word: Word, now: float) -> None:
        """An attempt that was out ended so."""
        if word.verdict == 'success':
            self._succeeded(out, word, now)
        elif word.verdict == 'silent':
            self._silent(out, now)
        elif word.verdict == 'refused':
            self._refused(out, word, now)
        self._board.stand(out.endpoint)
        self._board.consider(out.lane)

    def _succeeded(self, out: Out, word: Word, now: float) -> None:
        board, endpoint, own = self._board, out.endpoint, out.lane.health
        board.set_standing(endpoint, endpoint.after_success(word.seconds, board.rules, board.most_out))
        self._well(endpoint.health, now)
        if own is not None and own is not endpoint.health:
            self._well(own, now)

    def _silent(self, out: Out, now: float) -> None:
        board, endpoint, lane = self._board, out.endpoint, out.lane
        board.set_standing(endpoint, endpoint.after_silence())
        board.trim(lane)
        self._ill(endpoint.health, now, 'no proper answer')
        own = board.own_health(lane)
        if own is not endpoint.health:
            if own.failing_since is None:
                board.changed[own.key] = None
            own.suffered(now)
        self._doom(own, lane, now)

    def _refused(self, out: Out, word: Word, now: float) -> None:
        board, endpoint, lane = self._board, out.endpoint, out.lane
        own = board.own_health(lane)
        if own is not endpoint.health and endpoint.health.answered():
            self._tell('recovered', endpoint.health)
            board.consider_all(endpoint.key)
        self._ill(own, now, 'answered with an error')
        if word.rest:
            if own.pause(now, word.rest, 'the receiver asked to be left alone', board.rules):
                self._tell('resting', own)
            self._rested(own)
        self._doom(own, lane, now)

    def _well(self, health: Health, now: float) -> None:
        was_failing = health.failing_since is not None
        if health.succeeded(now):
            self._tell('recovered', health)
            self._board.consider_all(health.key)
        elif was_failing:
            self._board.changed[health.key] = None

    def _ill(self, health: Health, now: float, reason: str) -> None:
        if health.failing_since is None:
            self._board.changed[health.key] = None
        before = health.circuit
        if health.failed(now, reason, self._board.rules):
            self._tell('resting', health)
        if health.circuit != before:
            self._rested(health)

    def _rested(self, health: Health) -> None:
        """Its circuit is open: what its lanes hold in memory stays rows until the rest is over."""
        self._board.changed[health.key] = None
        if health.circuit == OPEN and health.until is not None:
            self._board.timers.set(health.until, 'health', health.key)
        self._board.consider_all(health.key)

    def _doom(self, health: Health, lane: Lane, now: float) -> None:
        kind = health.doom(now, self._board.rules)
        if kind is not None:
            self._board.changed[health.key] = None
            self.news.append(News(kind, health, (lane.subscription,)))
            self._board.consider_all(health.key)

    def _tell(self, kind: NewsKind, health: Health) -> None:
        key = health.key
        self._board.changed[key] = None
        endpoint = self._board.endpoints.get(key)
        concerned = tuple(endpoint.lanes) if endpoint is not None else ()
        if not concerned and key.startswith('sub:'):
            concerned = (key[4:],)
        self.news.append(News(kind, health, concerned))
