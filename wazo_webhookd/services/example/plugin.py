"""The example service: waits as long as the subscription says, which shows a delivery that takes its time."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Final

from wazo_webhookd.services.helpers import HookExpectedError

KEYS: Final = ('sleep_time', 'time_sleep')
LONGEST: Final = 30.0
"""Seconds; more is cut, so that an example cannot keep a worker."""


class Service:
    """``config``: ``sleep_time`` or ``time_sleep``, seconds (a number, or a text that is one)."""

    def load(self, dependencies: Mapping[str, Any]) -> None:
        pass

    @classmethod
    def run(
        cls, task: Any, config: Mapping[str, Any], subscription: Mapping[str, Any], event: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Returns ``{"slept": seconds}``. Raises HookExpectedError when the subscription does not say how long."""
        seconds = sleep_seconds(subscription['config'])
        time.sleep(seconds)
        return {'slept': seconds}


def sleep_seconds(config: Mapping[str, Any]) -> float:
    """The seconds asked for, between 0 and LONGEST."""
    asked = next((config[key] for key in KEYS if key in config), None)
    if asked is None:
        raise HookExpectedError({'error': f'missing key: config needs {KEYS[0]!r} (or {KEYS[1]!r}), in seconds'})
    try:
        seconds = float(asked)
    except (TypeError, ValueError):
        raise HookExpectedError({'error': f'{KEYS[0]} is not a number of seconds: {asked!r}'}) from None
    return min(max(seconds, 0.0), LONGEST) if seconds == seconds else 0.0
