"""What the admitter is told, by whatever thread, until it has time for it."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import TypeVar

from ..database.admission import LANES_CHANNEL
from ..database.listen import Listener
from ..database.processes import HANDS_CHANNEL
from ..database.session import Database
from ..domain.delivery import WORD_CHANNEL, Word, unpack_words
from .desk import heard_lanes

_Said = TypeVar('_Said')


class Ears:
    """``listens()``: is it worth listening (does this daemon admit)? ``on_hands()`` is called when workers came or
    went, ``on_gap()`` when something may have been said while nobody heard it: the rows have to be read."""

    def __init__(
        self,
        database: Database,
        listens: Callable[[], bool],
        on_hands: Callable[[], None],
        on_gap: Callable[[], None],
    ) -> None:
        self._listens = listens
        self._on_hands = on_hands
        self._on_gap = on_gap
        channels = (WORD_CHANNEL, LANES_CHANNEL, HANDS_CHANNEL)
        self._listener = Listener(database, channels, self._on_notify, self._on_listening, name='admitter-listener')
        self._words: deque[Word] = deque()
        self._wrote: deque[str] = deque()
        self._resumed: deque[str] = deque()
        self._edited: deque[str] = deque()
        self._condition = threading.Condition()
        self._woken = False
        self._stopping = False

    def start(self) -> None:
        self._listener.start()

    def stop(self) -> None:
        self._listener.stop()

    @property
    def listening(self) -> bool:
        return self._listener.listening

    # -- being told --------------------------------------------------------------------------------

    def hear(self, words: Iterable[Word]) -> None:
        """Attempts ended."""
        self._words.extend(words)
        self.wake()

    def wrote(self, subscriptions: Iterable[str]) -> None:
        """There are rows of these subscriptions that were not here before."""
        self._wrote.extend(subscriptions)
        self.wake()

    def edited(self, subscriptions: Iterable[str]) -> None:
        """Somebody changed these subscriptions."""
        self._edited.extend(subscriptions)
        self.wrote(subscriptions)

    def wake(self) -> None:
        """There is something to do."""
        with self._condition:
            self._woken = True
            self._condition.notify()

    def end(self) -> None:
        """It is time to stop."""
        with self._condition:
            self._stopping = True
            self._condition.notify()

    def _on_notify(self, channel: str, payload: str) -> None:
        if not self._listens():
            return
        if channel == WORD_CHANNEL:
            self.hear(unpack_words(payload))
            return
        if channel == HANDS_CHANNEL:
            self._on_hands()
            return
        wrote, resumed = heard_lanes(payload)
        self._resumed.extend(resumed)
        self.wrote(wrote)

    def _on_listening(self) -> None:
        self._on_gap()
        self.wake()

    # -- for the admitter's thread -----------------------------------------------------------------

    def take_words(self) -> list[Word]:
        return _emptied(self._words)

    def take_wrote(self) -> list[str]:
        return _emptied(self._wrote)

    def take_resumed(self) -> list[str]:
        return _emptied(self._resumed)

    def take_edited(self) -> list[str]:
        return _emptied(self._edited)

    def forget(self) -> None:
        """Whatever was said, the rows are about to be read."""
        for said in (self._words, self._wrote, self._resumed, self._edited):
            said.clear()

    def wait(
        self, seconds: float, at_least: float = 0.0, quiet_until: Callable[[], float | None] = lambda: None
    ) -> bool:
        """Until something is said, at most ``seconds``; at least ``at_least``, and while ``quiet_until()`` names a time
        to come (monotonic; asked again whenever something is said). False when it is time to stop."""
        with self._condition:
            if at_least > 0:
                self._condition.wait_for(lambda: self._stopping, at_least)
            while not self._stopping and (rest := (quiet_until() or 0.0) - time.monotonic()) > 0:
                self._condition.wait(rest)
            if not self._woken and not self._stopping and seconds > 0:
                self._condition.wait(seconds)
            self._woken = False
            return not self._stopping


def _emptied(said: deque[_Said]) -> list[_Said]:
    taken: list[_Said] = []
    while said:
        taken.append(said.popleft())
    return taken
