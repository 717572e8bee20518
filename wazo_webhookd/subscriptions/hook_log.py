"""One attempt of a delivery, as it is shown."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class HookLog:
    """``uuid`` is the delivery's, the same for each of its attempts; ``attempts`` counts from 1."""

    uuid: str
    subscription_uuid: str
    status: str | None
    started_at: datetime | None
    ended_at: datetime | None
    attempts: int
    max_attempts: int | None
    event: Any
    detail: Any

    @classmethod
    def of(cls, row: Any) -> HookLog:
        """From a row of the table of attempts."""
        return cls(
            row.uuid,
            row.subscription_uuid,
            row.status,
            row.started_at,
            row.ended_at,
            row.attempts,
            row.max_attempts,
            row.event,
            row.detail,
        )

    def to_dict(self) -> dict[str, Any]:
        """The eight keys that REST shows; ``event`` and ``detail`` are objects or null there."""
        return {
            'uuid': self.uuid,
            'status': self.status,
            'started_at': _shown(self.started_at),
            'ended_at': _shown(self.ended_at),
            'attempts': self.attempts,
            'max_attempts': self.max_attempts,
            'event': _as_object(self.event),
            'detail': _as_object(self.detail),
        }


def _shown(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()


def _as_object(value: Any) -> dict[str, Any] | None:
    return value if value is None or isinstance(value, dict) else {'value': value}
