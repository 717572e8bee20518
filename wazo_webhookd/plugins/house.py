"""What our own REST rooms are handed beside the dependencies that guests get."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..config import Config
    from ..database.session import Database
    from ..deliveries.admitter import Admitter
    from ..deliveries.intake import Intake
    from ..domain.event import Event
    from ..reload import Reload
    from ..status import StatusAggregator
    from ..subscriptions.catalog import Catalog
    from ..subscriptions.service import SubscriptionService


@dataclass(frozen=True, slots=True, kw_only=True)
class House:
    """``dependencies['house']``: the living parts of this daemon.

    ``life`` is the id of this run in the table of processes. ``tell_guests`` hands an event to the
    callbacks of guests (and to them only). ``on_debug`` tells our workers that debugging was switched on or off.
    """

    config: Config
    database: Database
    catalog: Catalog
    intake: Intake
    admitter: Admitter
    service: SubscriptionService
    status: StatusAggregator
    tell_guests: Callable[[Event], Any]
    life: str
    reload: Reload | None = None
    on_debug: Callable[[bool], object] = lambda debug: None
