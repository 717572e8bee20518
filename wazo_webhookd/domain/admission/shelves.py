"""Whose turn it is: endpoints with something due and room, on three shelves, tenants in turn on each."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

from .lanes import PROVEN, Endpoint

IDLE = 0
"""Proven, nothing out."""

BUSY = 1
"""Proven, something out."""

DOUBTFUL = 2
"""Fresh or poor."""


def shelf_of(endpoint: Endpoint) -> int:
    if endpoint.standing != PROVEN:
        return DOUBTFUL
    return BUSY if endpoint.out else IDLE


class Shelves:
    """Rings of tenants, each a ring of endpoints. Putting, removing and choosing cost the same for any number."""

    def __init__(self) -> None:
        self._shelves: tuple[OrderedDict[str, OrderedDict[str, Endpoint]], ...] = tuple(OrderedDict() for _ in range(3))
        self._served: dict[str, int] = {}
        self._served_on: dict[tuple[int, str], int] = {}
        self._turn = 0

    def put(self, endpoint: Endpoint, shelf: int | None) -> None:
        """Stand it on this shelf (None: on none), at the end of the ring; if it is there already it keeps its place."""
        if endpoint.shelf == shelf:
            return
        if endpoint.shelf is not None:
            self._take(endpoint, endpoint.shelf)
        endpoint.shelf = shelf
        if shelf is not None:
            self._shelves[shelf].setdefault(endpoint.tenant, OrderedDict())[endpoint.key] = endpoint

    def choose(self, shelves: Iterable[int]) -> Endpoint | None:
        """Whose turn it is on these shelves: the tenant that waited longest, of its shelves the one that did."""
        best: tuple[int, int, int] | None = None
        for shelf in shelves:
            for tenant in self._shelves[shelf]:
                rank = (self._served.get(tenant, 0), self._served_on.get((shelf, tenant), 0), shelf)
                if best is None or rank < best:
                    best = rank
                    ring = self._shelves[shelf][tenant]
                break
        return next(iter(ring.values())) if best is not None else None

    def any(self, shelves: Iterable[int]) -> bool:
        return any(self._shelves[shelf] for shelf in shelves)

    def served(self, endpoint: Endpoint, shelf: int) -> None:
        """It had its turn from this shelf: it and its tenant go to the end wherever they stand."""
        self._turn += 1
        self._served[endpoint.tenant] = self._served_on[shelf, endpoint.tenant] = self._turn
        for ring in self._shelves:
            if endpoint.tenant in ring:
                ring.move_to_end(endpoint.tenant)
        if endpoint.shelf is not None:
            self._shelves[endpoint.shelf][endpoint.tenant].move_to_end(endpoint.key)

    def forget_turns(self) -> None:
        """Drop what is remembered of tenants that have nothing to send (they come first when they have)."""
        standing = {tenant for shelf in self._shelves for tenant in shelf}
        self._served = {tenant: turn for tenant, turn in self._served.items() if tenant in standing}
        self._served_on = {key: turn for key, turn in self._served_on.items() if key[1] in standing}

    def _take(self, endpoint: Endpoint, shelf: int) -> None:
        ring = self._shelves[shelf][endpoint.tenant]
        del ring[endpoint.key]
        if not ring:
            del self._shelves[shelf][endpoint.tenant]
