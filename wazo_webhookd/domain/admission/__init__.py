"""Which waiting delivery goes next, and how many may be out: the rules of admission.

``Admission`` is the whole of it, made of ``rules`` (the numbers), ``health`` (circuits, disabling), ``lanes``
(standings, caps, lanes), ``window`` (how many in all), ``shelves`` (whose turn), ``timers``, ``board`` (all lanes and
what is out of them) and ``lessons`` (what is learnt from how it went). Times are Unix seconds and always passed in.
"""

from .admission import Admission, Pick
from .board import Out, Waiting
from .health import CLOSED, HALF_OPEN, OPEN, Health
from .lanes import FRESH, POOR, PROVEN, Endpoint, Lane
from .lessons import News
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
