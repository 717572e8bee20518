"""Wait for something to become true, with a deadline and a message that says what was seen last."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar('T')


def until(
    condition: Callable[[], T],
    seconds: float = 15,
    *,
    every: float = 0.03,
    what: str = '',
    catching: type[Exception] = OSError,
) -> T:
    """The first truthy value of ``condition``; AssertionError after so many seconds.

    AssertionErrors of the condition, and exceptions of ``catching``, count as "not yet".
    """
    deadline = time.monotonic() + seconds
    while True:
        seen: object
        try:
            seen = value = condition()
            if value:
                return value
        except (AssertionError, catching) as error:
            seen = error
        if time.monotonic() >= deadline:
            raise AssertionError(f'not within {seconds:g} s: {what or condition}; last seen: {seen!r}')
        time.sleep(every)


def for_a_while(condition: Callable[[], object], seconds: float, *, every: float = 0.05, what: str = '') -> None:
    """Assert that ``condition`` stays true for so long."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert condition(), what or condition
        time.sleep(every)
