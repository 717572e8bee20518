"""How many deliveries may be out in all, and which part of that is for whom."""

from __future__ import annotations

from .shelves import BUSY, DOUBTFUL, IDLE


class Window:
    """``size``: the hands of the workers that live. ``out``: how many deliveries are out; of these, ``doubtful`` those
    of fresh and poor endpoints, ``reserved`` those that use the last quarter, which is for proven endpoints with
    nothing out. Fresh and poor ones together get half the window, and at least one.
    """

    __slots__ = ('doubtful', 'out', 'reserved', 'size')

    def __init__(self) -> None:
        self.size = 0
        self.out = 0
        self.doubtful = 0
        self.reserved = 0

    def open_shelves(self, promised: int = 0) -> list[int]:
        """The shelves from which something may go out; ``promised``: to lanes whose rows are being read."""
        quarter = self.size // 4
        general = self.out - self.reserved + promised < self.size - quarter
        shelves = []
        if general or self.reserved + promised < quarter:
            shelves.append(IDLE)
        if general:
            shelves.append(BUSY)
            if self.doubtful + promised < self._half:
                shelves.append(DOUBTFUL)
        return shelves

    def room(self, shelf: int) -> tuple[int, bool]:
        """How many may go out from this shelf in one turn, and whether they use the last quarter."""
        quarter = self.size // 4
        general = self.size - quarter - (self.out - self.reserved)
        if shelf == IDLE and general <= 0:
            return (1 if self.reserved < quarter else 0), True
        if shelf == DOUBTFUL:
            general = min(general, self._half - self.doubtful)
        return max(0, general), False

    @property
    def _half(self) -> int:
        return max(1, self.size // 2) if self.size else 0
