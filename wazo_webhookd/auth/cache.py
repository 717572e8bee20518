"""Remembers for a few seconds what wazo-auth said about tokens.

Only good news is kept. A session deleted on the bus is forgotten at once, together with every token
whose session is not known yet; an answer that was on its way during a deletion is not kept either.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, Final

TOKENS: Final = 2000
ANSWERS_PER_TOKEN: Final = 200


class _Known:
    __slots__ = ('answers', 'session_uuid')

    def __init__(self) -> None:
        self.session_uuid: str | None = None
        self.answers: OrderedDict[Hashable, tuple[float, Any]] = OrderedDict()


class TokenCache:
    """Answers by token and question, for ``seconds`` each (0: nothing is ever kept). Thread safe."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._clock = clock
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._deletions = 0
        self._lock = threading.Lock()

    def get(self, token: str, question: Hashable) -> Any | None:
        """What was answered lately, or None."""
        with self._lock:
            known = self._known.get(token)
            kept = known.answers.get(question) if known else None
            if kept is None or kept[0] <= self._clock():
                return None
            return kept[1]

    def mark(self) -> int:
        """Take one before asking; an answer put with a mark older than the last deletion is dropped."""
        return self._deletions

    def put(self, token: str, question: Hashable, answer: Any, mark: int, session_uuid: str | None = None) -> None:
        if self._seconds <= 0:
            return
        with self._lock:
            if mark != self._deletions:
                return
            known = self._known.setdefault(token, _Known())
            self._known.move_to_end(token)
            known.session_uuid = session_uuid or known.session_uuid
            known.answers[question] = (self._clock() + self._seconds, answer)
            known.answers.move_to_end(question)
            if len(known.answers) > ANSWERS_PER_TOKEN:
                known.answers.popitem(last=False)
            if len(self._known) > TOKENS:
                self._known.popitem(last=False)

    def forget_session(self, session_uuid: str) -> None:
        with self._lock:
            self._deletions += 1
            gone = [token for token, known in self._known.items() if known.session_uuid in (None, session_uuid)]
            for token in gone:
                del self._known[token]

    def clear(self) -> None:
        with self._lock:
            self._deletions += 1
            self._known.clear()
