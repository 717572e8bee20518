"""Which messages the broker waits for us to acknowledge, and what to tell it next."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, NamedTuple


class Ack(NamedTuple):
    """``multiple``: this tag and all before it."""

    tag: int
    multiple: bool


class Ledger:
    """The delivery tags of one channel, in order. Not thread-safe: it belongs to the consumer's thread."""

    def __init__(self) -> None:
        self._open: dict[int, Literal['open', 'done', 'failed']] = {}

    def __len__(self) -> int:
        return len(self._open)

    def add(self, tag: int) -> None:
        self._open[tag] = 'open'

    def done(self, tag: int) -> None:
        """Unknown tags (told twice) are no error; nor in ``failed``."""
        if tag in self._open:
            self._open[tag] = 'done'

    def failed(self, tag: int) -> None:
        """Not stored: the broker gets it back."""
        if tag in self._open:
            self._open[tag] = 'failed'

    def acks(self) -> list[Ack]:
        """What can be acknowledged now, once: the finished beginning in one go, stragglers behind it one by one."""
        acks: list[Ack] = []
        beginning = []
        for tag, state in self._open.items():
            if state != 'done':
                break
            beginning.append(tag)
        if beginning:
            acks.append(Ack(beginning[-1], True))
            self._forget(beginning)
        stragglers = [tag for tag, state in self._open.items() if state == 'done']
        self._forget(stragglers)
        return acks + [Ack(tag, False) for tag in stragglers]

    def returns(self) -> list[int]:
        """What has to be handed back now, once."""
        failed = [tag for tag, state in self._open.items() if state == 'failed']
        self._forget(failed)
        return failed

    def _forget(self, tags: Iterable[int]) -> None:
        for tag in tags:
            del self._open[tag]
