"""What falls due when."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from typing import Literal

Kind = Literal['lane', 'health']


class Timers:
    """Times are Unix seconds. Whoever is told that a time has come has to see whether it still means anything."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Kind, str]] = []
        self._number = 0

    def __len__(self) -> int:
        return len(self._heap)

    def set(self, at: float, kind: Kind, key: str) -> None:
        self._number += 1
        heapq.heappush(self._heap, (at, self._number, kind, key))

    def due(self, now: float) -> Iterator[tuple[Kind, str]]:
        """Those whose time has come; they are gone then."""
        while self._heap and self._heap[0][0] <= now:
            _, _, kind, key = heapq.heappop(self._heap)
            yield kind, key

    @property
    def next(self) -> float | None:
        return self._heap[0][0] if self._heap else None

    def clear(self) -> None:
        self._heap.clear()
