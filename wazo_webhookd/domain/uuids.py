"""Random uuids as text.

The system's randomness is read for many at once: each read lets other threads of a busy process have their turn first,
which took longer than everything else about an event.
"""

from __future__ import annotations

import os
import threading
from typing import Final

_AT_ONCE: Final = 256
_DIGITS: Final = 32
_VARIANTS: Final = '89ab'


class _Drawn(threading.local):
    """Hexadecimal digits that nobody used yet; each thread has its own."""

    digits = ''
    at = 0


_drawn = _Drawn()


def new_uuid() -> str:
    """A random uuid (version 4, RFC 9562), 36 characters in lower case."""
    at = _drawn.at
    if at >= len(_drawn.digits):
        _drawn.digits, at = os.urandom(16 * _AT_ONCE).hex(), 0
    _drawn.at = at + _DIGITS
    digits = _drawn.digits[at : at + _DIGITS]
    variant = _VARIANTS[int(digits[16], 16) & 3]
    return f'{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:]}'


def _forget() -> None:
    _drawn.digits, _drawn.at = '', 0


os.register_at_fork(after_in_child=_forget)  # or parent and child would draw the same
