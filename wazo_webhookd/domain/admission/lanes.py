"""Endpoints with their standing and cap, and the lanes that lead to them."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable
from typing import Final, Literal

from .health import Health
from .rules import Rules

Standing = Literal['fresh', 'proven', 'poor']

FRESH: Final = 'fresh'
PROVEN: Final = 'proven'
POOR: Final = 'poor'


class Endpoint:
    """Where lanes lead. ``cap``: how many of its deliveries may be out; ``out``: how many are.

    *fresh*: never tried, one delivery. *proven*: answers quickly. *poor*: slow (``slow_out`` counts what is out for
    longer than ``Rules.slow_after``) or silent. A success lets the cap of each grow, silence sends it back to one.
    ``lanes``: those that lead here; ``ready``: those of them that have something due, in the order of their turns.
    ``shelf``: see Shelves.
    """

    __slots__ = ('cap', 'health', 'key', 'lanes', 'out', 'ready', 'shelf', 'slow_out', 'standing', 'streak', 'tenant')

    def __init__(self, key: str, tenant: str) -> None:
        self.key = key
        self.tenant = tenant
        self.standing: Standing = FRESH
        self.cap = 1
        self.out = 0
        self.slow_out = 0
        self.streak = 0
        self.health = Health(key, tenant)
        self.lanes: dict[str, Lane] = {}
        self.ready: OrderedDict[str, Lane] = OrderedDict()
        self.shelf: int | None = None

    @property
    def room(self) -> int:
        """How many more may go out."""
        limit = self.health.limit()
        return (self.cap if limit is None else min(self.cap, limit)) - self.out

    # What follows returns the standing after it; setting it is the caller's, who counts.

    def after_success(self, seconds: float, rules: Rules, most_out: int) -> Standing:
        quick = seconds <= rules.slow_after
        self.cap = min(self.cap + 1, most_out)
        self.streak = self.streak + 1 if quick else 0
        if self.standing == FRESH:
            return PROVEN if quick else POOR
        if self.standing == PROVEN:
            return PROVEN if quick else self._after_slowness()
        return PROVEN if self.slow_out == 0 and self.streak >= rules.proof else POOR

    def after_silence(self) -> Standing:
        self.cap = 1
        self.streak = 0
        return POOR

    def while_slow(self) -> Standing:
        """Something of it is out for too long."""
        self.streak = 0
        return POOR if self.standing == POOR else self._after_slowness()

    def _after_slowness(self) -> Standing:
        self.cap = max(1, self.cap // 2)
        return POOR


class Lane:
    """The deliveries of one subscription that wait.

    ``waiting``: uuids in memory, in order (None: none). ``unread``: there may be due rows which are not in memory; new
    ones stay rows then. ``hungry``: its rows are being read. ``writes`` counts the commits that wrote rows of it, so
    that reading knows whether it missed some. ``picked``: chosen, not yet marked out. ``next_due``: when the first of
    those that wait for a later time falls due, if known.
    """

    __slots__ = (
        'endpoint',
        'health',
        'hungry',
        'next_due',
        'out',
        'picked',
        'subscription',
        'tenant',
        'unread',
        'waiting',
        'writes',
    )

    def __init__(self, subscription: str, tenant: str, endpoint: Endpoint) -> None:
        self.subscription = subscription
        self.tenant = tenant
        self.endpoint = endpoint
        self.health: Health | None = None
        self.waiting: deque[str] | None = None
        self.unread = False
        self.hungry = False
        self.writes = 0
        self.picked = 0
        self.out = 0
        self.next_due: float | None = None

    @property
    def room(self) -> int | None:
        """How many more of it may go out as far as the subscription is concerned; None: any number."""
        limit = self.health.limit() if self.health is not None else None
        return None if limit is None else limit - self.out

    @property
    def capacity(self) -> int:
        """How many uuids it may hold in memory: twice its cap, nothing while it rests."""
        if self.endpoint.health.limit() == 0 or (self.health is not None and self.health.limit() == 0):
            return 0
        return 2 * self.endpoint.cap

    def keep(self, uuids: Iterable[str]) -> None:
        """Hold these in memory and no others."""
        self.waiting = deque(uuids) or None

    def append(self, uuid: str) -> None:
        if self.waiting is None:
            self.waiting = deque()
        self.waiting.append(uuid)

    def take(self, number: int) -> list[str]:
        """The first ones, which are not held any more."""
        assert self.waiting is not None
        uuids = [self.waiting.popleft() for _ in range(number)]
        if not self.waiting:
            self.waiting = None
        return uuids

    @property
    def idle(self) -> bool:
        """There is nothing to remember about it."""
        return not (self.waiting or self.unread or self.hungry or self.out or self.picked) and self.next_due is None


def own_key(subscription: str) -> str:
    """The admission key of a subscription itself."""
    return f'sub:{subscription}'
