"""Numbers that JSON allows and floats do not (``1e400``): kept as they were written, and written so again."""

from __future__ import annotations

import json
import re
from math import isinf
from typing import Any
from uuid import uuid4


class Immense(float):
    """Infinite to whoever calculates with it, ``text`` to whoever writes it down."""

    text: str

    def __repr__(self) -> str:
        return self.text

    __str__ = __repr__


def read(text: str) -> float:
    """For ``json.loads(…, parse_float=read)``."""
    value = float(text)
    if not isinf(value):
        return value
    immense = Immense(value)
    immense.text = text
    return immense


def dumps(value: Any, **options: Any) -> str:
    """``json.dumps``, with the numbers that were read so."""
    text = json.dumps(value, **options)
    if 'Infinity' not in text:
        return text
    mark = uuid4().hex
    kept: list[str] = []

    def marked(item: Any) -> Any:
        if isinstance(item, Immense):
            kept.append(item.text)
            return f'{mark}{len(kept) - 1}.'
        if isinstance(item, dict):
            return {key: marked(inner) for key, inner in item.items()}
        return [*map(marked, item)] if isinstance(item, (list, tuple)) else item

    text = json.dumps(marked(value), **options)
    return re.sub(rf'"{mark}(\d+)\."', lambda found: kept[int(found[1])], text)
