"""The table of what was lost: one row per fault, printed at the end of the session."""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass, field

SEED = os.environ.get('WEBHOOKD_TEST_SEED') or secrets.token_hex(3)
"""Every moment and every victim is drawn from it: set the variable to repeat a run."""


@dataclass
class Row:
    """``slowest``: the longest time from an event's acceptance to its arrival, in seconds."""

    fault: str
    events: int
    lost: int
    doubled: int
    in_flight: int
    seconds: float
    slowest: float
    seed: str = SEED

    def __str__(self) -> str:
        numbers = f'{self.events:>6} | {self.lost:>4} | {self.doubled:>7} | {self.in_flight:>9}'
        return f'{self.fault:<58} | {numbers} | {self.seconds:>7.1f} | {self.slowest:>7.1f} | {self.seed}'


HEAD = (
    f'{"fault":<58} | events | lost | doubled | in flight | seconds | slowest | seed   '
    '(WEBHOOKD_TEST_SEED=… repeats it)'
)


@dataclass
class Table:
    rows: list[Row] = field(default_factory=list)


TABLE = Table()
