"""Deliveries that were in workers when these died: one at a time, alone."""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable
from typing import Final

from ..database.deliveries import Marked
from ..database.returns import OutRow
from ..domain.admission.rules import DEATHS, SHARED_DEATHS

logger = logging.getLogger(__name__)

PATIENCE_SECONDS: Final = 5.0
"""Standalone: how long suspects wait for a moment when nothing else is out before nothing else is let out."""


class Suspects:
    """Which ones wait, and the one that is out. ``on_number(n)`` is told how many there are when that changes.

    ``runs``: is there somebody to run them? In standalone the only worker does, while nothing else is out.
    """

    def __init__(self, on_number: Callable[[int], None], *, standalone: bool) -> None:
        self._on_number = on_number
        self.alone = standalone
        """Nothing else may be out beside them."""

        self._told = 0
        self._since = 0.0
        self.runs = False
        self.waiting: OrderedDict[str, str] = OrderedDict()
        self.out: dict[str, tuple[int, int]] = {}

    def __len__(self) -> int:
        return len(self.waiting) + len(self.out)

    def found(self, suspects: Iterable[tuple[str, str]]) -> None:
        """These wait (uuid, subscription)."""
        for uuid, subscription in suspects:
            if uuid not in self.out:
                if not self.waiting:
                    self._since = time.monotonic()
                self.waiting.setdefault(uuid, subscription)

    def came_back(self, orphans: Iterable[OutRow], condemned: Collection[str]) -> None:
        """These were in nobody's hands any more."""
        for row in orphans:
            self.out.pop(row.uuid, None)
            if row.uuid not in condemned and SHARED_DEATHS <= row.deaths < DEATHS:
                logger.warning('delivery %s was in %d worker processes that died: it goes alone', row.uuid, row.deaths)
                self.found([(row.uuid, row.subscription_uuid)])

    def are_out(self, out: Iterable[OutRow]) -> None:
        """These are out, as the rows say."""
        self.out = {row.uuid: (row.attempt, row.send) for row in out}
        for uuid in self.out:
            self.waiting.pop(uuid, None)

    def sent(self, uuid: str, marked: Marked | None) -> None:
        self.waiting.pop(uuid, None)
        if marked is not None:
            self.out[uuid] = (marked.attempt, marked.send)

    def ended(self, uuid: str) -> bool:
        """An attempt of it ended. True if it was one of them."""
        return self.out.pop(uuid, None) is not None

    def next(self, others_out: int) -> str | None:
        """The one to send now, if any."""
        if self.out or not self.waiting or not self.runs or (self.alone and others_out):
            return None
        return next(iter(self.waiting))

    def want_silence(self) -> bool:
        """Standalone: let nothing else out."""
        if not self.alone:
            return False
        return bool(self.out) or (bool(self.waiting) and time.monotonic() - self._since > PATIENCE_SECONDS)

    def forget(self) -> None:
        """This daemon does not admit any more."""
        self.waiting.clear()
        self.out.clear()
        self.tell()

    def tell(self) -> None:
        """Tell how many there are, if that changed."""
        number = len(self)
        if number != self._told:
            self._told = number
            self._on_number(number)
