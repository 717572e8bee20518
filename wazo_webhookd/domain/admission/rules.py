"""The numbers that admission goes by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol

DAY: Final = 86_400.0

SHARED_DEATHS: Final = 2
"""After so many deaths of workers that held it, a delivery is a suspect and goes alone."""

DEATHS: Final = SHARED_DEATHS + 3
"""After so many it is given up."""


class CircuitConfig(Protocol):
    """``config.circuit``."""

    @property
    def open_after(self) -> int: ...
    @property
    def rest(self) -> float: ...
    @property
    def rest_max(self) -> float: ...
    @property
    def disable_after_days(self) -> float: ...


@dataclass(frozen=True, slots=True)
class Rules:
    """Durations are seconds. ``disable_after`` 0 means never.

    ``caps_per_process``: how many deliveries one endpoint may have out per worker process; speed needs no more, a
    higher cap only makes the line before others longer. ``handful``: what a lane sends in one turn. ``slow_after``:
    answers that take longer make an endpoint poor. ``most_held``: uuids of waiting deliveries in memory, in all.
    """

    open_after: int = 5
    rest: float = 30.0
    rest_max: float = 3600.0
    disable_after: float = 5 * DAY
    caps_per_process: int = 32
    handful: int = 5
    slow_after: float = 1.0
    most_held: int = 20_000
    proof: int = 4
    """Quick answers in a row after which a poor endpoint counts as proven again."""

    longest_pause: float = DAY
    """What a receiver asks for with Retry-After is honoured up to here."""

    @classmethod
    def from_config(cls, circuit: CircuitConfig) -> Rules:
        return cls(
            open_after=int(circuit.open_after),
            rest=float(circuit.rest),
            rest_max=max(float(circuit.rest), float(circuit.rest_max)),
            disable_after=float(circuit.disable_after_days) * DAY,
        )

    def most_out(self, processes: int) -> int:
        """The highest cap of an endpoint."""
        return max(2, self.caps_per_process * processes)
