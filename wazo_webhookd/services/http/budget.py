"""How much one rendering of a template may do, and how that is counted.

Every loop turn, call, filter and operator pays for what it makes before it makes it, in characters; nested
containers pay for what they would be written out, because a container may hold another one many times.
"""

from __future__ import annotations

import re
import time
from collections.abc import ItemsView, Iterable, Iterator, KeysView, ValuesView
from string import Formatter
from typing import Any, Final

CHARACTERS: Final = 32 * 1024 * 1024
"""Characters that one rendering may make, intermediate results included."""
SECONDS: Final = 0.2
"""Processor time of one rendering."""
MAX_INT_BITS: Final = 16384
MAX_WIDTH: Final = 1000

_WIDE = re.compile(r'\*|[0-9]{4}')
_FLAT: Final = (str, bytes, int, float, bool, type(None))


class LimitExceeded(Exception):
    """The template asks for too much."""


class Budget:
    """What is left of one rendering. ``turn``: what a loop turn or a call costs at least."""

    __slots__ = ('_ends', '_left', '_looks', '_turn')

    def __init__(self, turn: int) -> None:
        self._left = CHARACTERS
        self._looks = 0
        self._turn = turn
        self._ends = time.thread_time() + SECONDS

    def spend(self, characters: int) -> None:
        self._left -= characters
        if self._left < 0:
            raise LimitExceeded('the template makes too much text')

    def tick(self) -> None:
        """One step more. Time is the thread's own: waiting for others costs nothing."""
        self.spend(self._turn)
        if time.thread_time() > self._ends:
            raise LimitExceeded('the template takes too long')

    def look(self) -> None:
        """Time goes by in what costs little each time and is done often."""
        self._looks += 1
        if self._looks % 32 == 0 and time.thread_time() > self._ends:
            raise LimitExceeded('the template takes too long')

    def weigh(self, value: Any) -> int:
        """Pay for a value as if it were written out; its weight in characters."""
        if isinstance(value, _FLAT):
            weight = _flat_weight(value)
            self.spend(weight)
            return weight
        before = self._left
        todo = [value]
        seen = 0
        while todo:
            item = todo.pop()
            seen += 1
            if seen % 1024 == 0 and time.thread_time() > self._ends:
                raise LimitExceeded('the template takes too long')
            if isinstance(item, _FLAT):
                self.spend(_flat_weight(item))
            elif isinstance(item, (list, tuple, set, frozenset, KeysView, ValuesView, ItemsView)):
                self.spend(1 + len(item))
                todo.extend(item)
            elif isinstance(item, dict):
                self.spend(1 + len(item))
                todo.extend(item.keys())
                todo.extend(item.values())
            else:
                self.spend(16)
        return before - self._left

    def paid(self, value: Any) -> Any:
        self.weigh(value)
        return value


class Limited:
    """An iterable whose every turn is paid for."""

    def __init__(self, iterable: Iterable[Any], budget: Budget) -> None:
        self._iterable = iterable
        self._budget = budget

    def __iter__(self) -> Iterator[Any]:
        for item in self._iterable:
            self._budget.tick()
            yield item

    def __len__(self) -> int:
        return len(self._iterable)  # type: ignore[arg-type]  # a TypeError is what callers expect then


def _flat_weight(value: Any) -> int:
    if isinstance(value, (str, bytes)):
        return 1 + len(value)
    if isinstance(value, int) and value.bit_length() > MAX_INT_BITS:
        raise LimitExceeded('a number of the template is too large')
    return 8


def check_width(*values: Any) -> None:
    """Numbers that say how wide or how many something shall be."""
    if any(isinstance(value, (int, float)) and abs(value) > MAX_WIDTH for value in values):
        raise LimitExceeded(f'a width or count above {MAX_WIDTH} in the template')


def check_percent_format(text: Any, arguments: Any, budget: Budget) -> None:
    """Pay for ``text % arguments``: each place might take all of them."""
    if isinstance(text, (str, bytes)):
        plain = text if isinstance(text, str) else text.decode('latin-1')
        if '%' in plain and _WIDE.search(plain):
            raise LimitExceeded('a width of four digits or a variable one in a format of the template')
        budget.spend(plain.count('%') * budget.weigh(arguments))


def check_brace_format(text: str, arguments: Any, budget: Budget) -> None:
    """Pay for ``text.format(arguments)``: each place might take all of them."""
    for _, field, spec, _ in Formatter().parse(text):
        if field is not None and spec and ('{' in spec or _WIDE.search(spec)):
            raise LimitExceeded('a width of four digits or a variable one in a format of the template')
    budget.spend(text.count('{') * budget.weigh(arguments))


def check_replace(text: str, old: str, new: str, budget: Budget) -> None:
    places = text.count(old) if old else len(text) + 1
    budget.spend(len(text) + places * len(new))


def check_binary(operator: str, left: Any, right: Any, budget: Budget) -> None:
    """Pay for ``left operator right``."""
    budget.tick()
    if operator == '%':
        check_percent_format(left, right, budget)
    weights = budget.weigh(left), budget.weigh(right)
    if operator == '*':
        for (one, other), weight in (((left, right), weights[0]), ((right, left), weights[1])):
            if isinstance(other, int) and not isinstance(one, (int, float)):
                budget.spend(weight * max(0, other))
    elif operator == '**' and isinstance(left, int) and isinstance(right, int):
        check_power(left, right)


def check_power(base: int, exponent: int) -> None:
    if abs(exponent) * max(1, base.bit_length()) > MAX_INT_BITS:
        raise LimitExceeded('a number of the template is too large')


def check_comparison(operator: str, left: Any, right: Any, budget: Budget) -> None:
    """Pay for ``left operator right`` (``in``: as many comparisons as ``right`` has members)."""
    if operator in ('in', 'notin'):
        budget.spend(len(right) if hasattr(right, '__len__') else 16)
        if not isinstance(left, _FLAT):
            budget.weigh(left)
            budget.weigh(right)
    elif isinstance(left, (str, bytes)) and isinstance(right, (str, bytes)):
        budget.spend(min(len(left), len(right)))
    elif not isinstance(left, _FLAT) and not isinstance(right, _FLAT):
        budget.weigh(left)
        budget.weigh(right)
