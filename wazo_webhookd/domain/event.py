"""What happened, as received."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

Source = Literal['bus', 'rest']


@dataclass(frozen=True, slots=True)
class Event:
    """One event on its way into the journal.

    ``name`` decides the matching and is the header's name when there is one; ``headers`` are what
    matching looks at (never the body). ``text`` is the body as JSON text exactly as received,
    which is what the journal stores and the worker gets; ``body`` is its decoded form. ``redelivered``
    and ``fingerprint`` recognise an event that the broker hands over twice (see deliveries.intake).
    """

    uuid: str
    name: str
    headers: Mapping[str, Any]
    body: Mapping[str, Any]
    text: str
    source: Source
    received_at: datetime
    fingerprint: str | None = None
    redelivered: bool = False

    @property
    def tenant_uuid(self) -> str | None:
        tenant = self.headers.get('tenant_uuid')
        return tenant if isinstance(tenant, str) else None
