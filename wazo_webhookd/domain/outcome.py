"""How a service says that an attempt failed; guests find these names in ``wazo_webhookd.services.helpers``.

Exception
├── HookRetry           try again later (until the attempts are used up)
└── HookExpectedError   failed for good
"""

from __future__ import annotations

from typing import Any, Literal

Blame = Literal['endpoint', 'subscription']
"""Against whom a failure counts: ``endpoint`` gave no proper answer, ``subscription`` got a failing status."""


class HookRetry(Exception):
    """The attempt failed; another one may succeed.

    ``detail``: what to remember (any JSON, by custom an object or a text). ``delay``: seconds until the next
    attempt instead of the schedule's. ``rest``: seconds that the receiver asked to be left alone (Retry-After):
    the next attempt comes no sooner, and other deliveries of the subscription wait as well.
    """

    def __init__(
        self, detail: Any = None, delay: float | None = None, blame: Blame | None = None, rest: float | None = None
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.delay = delay
        self.blame = blame
        self.rest = rest


class HookExpectedError(Exception):
    """The attempt failed in a way that another one would not mend. ``detail`` and ``blame`` as above."""

    def __init__(self, detail: Any = None, blame: Blame | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.blame = blame
