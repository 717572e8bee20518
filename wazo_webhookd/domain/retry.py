"""When is the next attempt?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final, Protocol

LONGEST_REST: Final = 86_400.0
"""Seconds; what a receiver asks for in Retry-After is honoured up to a day."""

LONGEST_WAIT: Final = 30 * 86_400.0
"""Seconds; the formula of the reference grows without end, deliveries are kept for a month."""

REFERENCE_ATTEMPTS: Final = 10
REFERENCE_FACTOR: Final = 2.0


class RetryConfig(Protocol):
    """The settings that decide (config.Config has them)."""

    @property
    def hook_retry_schedule(self) -> Sequence[float]: ...
    @property
    def hook_retry_jitter(self) -> float: ...
    @property
    def hook_max_attempts(self) -> int | None: ...
    @property
    def hook_http_retry_countdown_factor(self) -> float | None: ...


@dataclass(frozen=True, slots=True)
class Schedule:
    """Seconds waited before attempts 1, 2, 3 …; ``jitter`` is the share by which each is made longer or shorter."""

    waits: tuple[float, ...]
    jitter: float = 0.0

    @classmethod
    def from_config(cls, config: RetryConfig) -> Schedule:
        """The list of the settings, or the formula of the reference (delivery, 4.2) when one of its keys is set."""
        attempts, factor = config.hook_max_attempts, config.hook_http_retry_countdown_factor
        if attempts is None and factor is None:
            return cls(tuple(float(wait) for wait in config.hook_retry_schedule), config.hook_retry_jitter)
        attempts = REFERENCE_ATTEMPTS if attempts is None else attempts
        factor = REFERENCE_FACTOR if factor is None else factor
        return cls((0.0, *(_countdown(factor, failed) for failed in range(1, attempts))))

    @property
    def max_attempts(self) -> int:
        return len(self.waits)

    def wait_before(self, attempt: int, random: float) -> float:
        """Seconds before this attempt (counted from 1); ``random`` is between 0 and 1, 0.5 changing nothing.

        Attempts beyond the schedule (a delivery of yesterday's longer one) wait as long as the last.
        """
        wait = self.waits[min(max(attempt, 1), len(self.waits)) - 1]
        return wait * (1.0 + self.jitter * (2.0 * random - 1.0))

    def wait_after_failure(
        self, attempt: int, random: float, *, delay: float | None = None, rest: float | None = None
    ) -> float:
        """Seconds before the attempt that follows the failed ``attempt``.

        ``delay`` (a service's own wish) replaces the schedule; ``rest`` (Retry-After) can only make it longer,
        so that a receiver saying "in one second" for ever does not use up all attempts at once.
        """
        wait = self.wait_before(attempt + 1, random) if delay is None else min(max(delay, 0.0), LONGEST_WAIT)
        return max(wait, min(rest, LONGEST_REST)) if rest is not None else wait


def _countdown(factor: float, failed: int) -> float:
    try:
        return float(min(int(factor ** (failed - 1)), LONGEST_WAIT))
    except OverflowError:
        return LONGEST_WAIT


def retry_after(value: str | None, now: datetime) -> float | None:
    """Seconds asked for by a Retry-After header (RFC 9110, 10.2.3), at most a day; None if there is no sense in it.

    ``now``: aware; a date is taken relative to it, one that has passed is 0.
    """
    text = (value or '').strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:12]), LONGEST_REST)
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    try:
        seconds = (moment - now).total_seconds()
    except OverflowError:
        return None
    return min(max(seconds, 0.0), LONGEST_REST)
