"""Which waiting delivery goes next, and how many may be out: the rules of admission.

``Admission`` is the whole of it, made of ``rules`` (the numbers), ``health`` (circuits and what is remembered of
failures), ``lanes`` (standings, caps and lanes), ``shelves`` (turns). Times are Unix seconds and always passed in.
"""

from .admission import Admission, News, Out, Pick, Waiting
from .health import CLOSED, HALF_OPEN, OPEN, Health
from .lanes import FRESH, POOR, PROVEN, Endpoint, Lane
from .rules import Rules

__all__ = [
    'CLOSED',
    'FRESH',
    'HALF_OPEN',
    'OPEN',
    'POOR',
    'PROVEN',
    'Admission',
    'Endpoint',
    'Health',
    'Lane',
    'News',
    'Out',
    'Pick',
    'Rules',
    'Waiting',
]
