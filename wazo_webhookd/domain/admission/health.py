"""What is remembered of the failures of one endpoint or of one subscription: its circuit, and when it is given up."""

from __future__ import annotations

from typing import Final, Literal

from .rules import Rules

CircuitState = Literal['closed', 'open', 'half-open']

CLOSED: Final = 'closed'
OPEN: Final = 'open'
HALF_OPEN: Final = 'half-open'

WARNINGS: Final = (0.25, 0.5, 0.75)
"""Shares of ``Rules.disable_after`` at which a warning goes out."""


class Health:
    """``key`` is an admission key, or ``sub:<uuid>`` for what counts against a subscription alone.

    ``circuit``: ``open`` until ``until`` (nothing may be out), then ``half-open`` (one probe), closed by an answer;
    ``rest`` is the length of the last rest. ``failures`` are those in a row. ``failing_since`` is the first failure
    after the last success, ``warned`` the number of warnings given since. ``reason`` and ``since`` tell people why
    it is not healthy and since when. All times are Unix seconds.
    """

    __slots__ = (
        'circuit',
        'disabled',
        'failing_since',
        'failures',
        'key',
        'last_failure',
        'last_success',
        'reason',
        'rest',
        'since',
        'tenant',
        'until',
        'warned',
    )

    def __init__(self, key: str, tenant: str) -> None:
        self.key = key
        self.tenant = tenant
        self.circuit: CircuitState = CLOSED
        self.failures = 0
        self.failing_since: float | None = None
        self.until: float | None = None
        self.rest: float | None = None
        self.reason: str | None = None
        self.since: float | None = None
        self.last_success: float | None = None
        self.last_failure: float | None = None
        self.warned = 0
        self.disabled = False

    def limit(self) -> int | None:
        """How many deliveries may be out because of this; None: it sets no limit."""
        if self.disabled or self.circuit == OPEN:
            return 0
        return 1 if self.circuit == HALF_OPEN else None

    @property
    def forgettable(self) -> bool:
        """Nothing is the matter."""
        return self.circuit == CLOSED and not self.disabled and self.failing_since is None and not self.failures

    def wake(self, now: float) -> bool:
        """The rest is over if its time has come: a probe may go. True if so."""
        if self.circuit != OPEN or (self.until is not None and now < self.until):
            return False
        self.circuit = HALF_OPEN
        return True

    def look_again(self) -> bool:
        """What was the matter may be mended: a probe may go now. True if nothing was to go before."""
        if self.circuit != OPEN:
            return False
        self.circuit = HALF_OPEN
        self.until = None
        return True

    def succeeded(self, now: float) -> bool:
        """All is well again. True if the circuit was not closed."""
        self.last_success = now
        self.failing_since = None
        self.warned = 0
        return self.answered()

    def answered(self) -> bool:
        """There is somebody, whatever was said. True if the circuit was not closed."""
        self.failures = 0
        if self.circuit == CLOSED:
            if not self.disabled:
                self.reason = self.since = None
            return False
        self._close()
        return True

    def failed(self, now: float, reason: str, rules: Rules) -> bool:
        """One more failure in a row. True if it opened the circuit, which was closed."""
        self.suffered(now)
        self.failures += 1
        if self.circuit == HALF_OPEN:
            self._open(now, min(2 * (self.rest or rules.rest), rules.rest_max), reason)
        elif self.circuit == CLOSED and self.failures >= rules.open_after:
            self.since = now
            self._open(now, rules.rest, f'{reason}, {self.failures} times in a row')
            return True
        return False

    def suffered(self, now: float) -> None:
        """A delivery failed, which counts against somebody else's circuit."""
        self.last_failure = now
        if self.failing_since is None:
            self.failing_since = now

    def pause(self, now: float, seconds: float, reason: str, rules: Rules) -> bool:
        """The receiver asked for a rest. True if the circuit was closed."""
        until = now + min(max(seconds, 0.0), rules.longest_pause)
        if self.circuit == OPEN and self.until is not None and self.until >= until:
            return False
        was_closed = self.circuit == CLOSED
        if was_closed:
            self.since = now
        self.circuit, self.until, self.reason = OPEN, until, reason
        return was_closed

    def doom(self, now: float, rules: Rules) -> Literal['disabling', 'disabled'] | None:
        """To be asked after a failure: is it time for a warning, or to disable? Notes that it was said.

        However seldom deliveries are, the last warning comes before the end.
        """
        if not rules.disable_after or self.disabled or self.failing_since is None:
            return None
        share = (now - self.failing_since) / rules.disable_after
        if share >= 1.0 and self.warned == len(WARNINGS):
            self.disabled = True
            self.since = now
            days = rules.disable_after / 86_400.0
            self.reason = f'disabled after {days:g} days of nothing but failures'
            return 'disabled'
        level = sum(share >= warning for warning in WARNINGS)
        if level <= self.warned:
            return None
        self.warned = level
        return 'disabling'

    def resume(self) -> None:
        """Somebody says that it works again: forget the failures."""
        self.failures = 0
        self.failing_since = None
        self.warned = 0
        self.disabled = False
        self._close()

    def _open(self, now: float, rest: float, reason: str) -> None:
        self.circuit = OPEN
        self.rest = rest
        self.until = now + rest
        self.reason = reason

    def _close(self) -> None:
        self.circuit = CLOSED
        self.until = self.rest = None
        if not self.disabled:
            self.reason = self.since = None
