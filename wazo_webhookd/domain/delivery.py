"""Where a delivery stands, and what crosses the queue between daemon and worker.

The only module that daemon (``deliveries/``) and worker (``attempts/``) share besides the database.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal, NamedTuple

# -- states (architecture, 6.1) ---------------------------------------------------------------

WAITING: Final = 'waiting'
OUT: Final = 'out'
SUCCESS: Final = 'success'
ERROR: Final = 'error'
EXPIRED: Final = 'expired'
CANCELLED: Final = 'cancelled'

STATES: Final = (WAITING, OUT, SUCCESS, ERROR, EXPIRED, CANCELLED)
ENDED: Final = (SUCCESS, ERROR, EXPIRED, CANCELLED)

# -- what goes out ----------------------------------------------------------------------------

TICKET_HEADER: Final = 'webhookd'
"""Name of the Celery message header that makes a task a delivery."""

MESSAGE_SECONDS: Final = 30
"""Messages of deliveries expire in the broker after this long; younger ones start unasked."""

ORPHAN_SECONDS: Final = 45
"""A row out that nobody holds is an orphan this long after it was sent."""


@dataclass(frozen=True, slots=True)
class Ticket:
    """What a worker is told about a delivery, in the message header ``webhookd``.

    ``attempt`` counts from 1; ``send`` counts the messages ever sent for the delivery (the fence
    of late results); ``sent_at`` is Unix seconds by the database's clock; ``endpoint`` is the
    admission key; ``suspect`` says that this delivery was in workers that died.
    """

    delivery: str
    subscription: str
    event: str
    service: str
    endpoint: str
    attempt: int
    send: int
    max_attempts: int
    sent_at: float
    suspect: bool = False

    def to_header(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_header(cls, header: Mapping[str, Any]) -> Ticket:
        """Unknown keys of a newer daemon are ignored. Raises KeyError or TypeError on rubbish."""
        names = cls.__dataclass_fields__
        return cls(**{key: value for key, value in header.items() if key in names})


# -- what comes back --------------------------------------------------------------------------

Verdict = Literal['success', 'silent', 'refused', 'crashed', 'running', 'dropped']
"""How an attempt ended, for admission: ``silent`` (no proper answer: refused connection, time-out,
TLS failure) counts against the endpoint, ``refused`` (an answer with a failing status) against the
subscription alone, ``crashed`` (bad template, bug of a service, refused egress) against nobody.
``running``: still at it after a second. ``dropped``: not started, another send of it counts."""

WORD_CHANNEL: Final = 'webhookd_words'
WORD_BYTES: Final = 7000


class Word(NamedTuple):
    """A hint from a worker to the admitter, never the truth: this delivery's attempt ended so.

    ``again_at``: Unix seconds (database clock) when the next attempt falls due, None if it ended.
    ``rest``: seconds that the receiver asked to be left alone (Retry-After of 429 and 503).
    """

    delivery: str
    attempt: int
    send: int
    verdict: Verdict
    seconds: float
    again_at: float | None = None
    rest: float | None = None


def pack_words(words: Iterable[Word]) -> Iterator[str]:
    """Yield JSON texts, each below WORD_BYTES bytes (PostgreSQL refuses notifications of 8,000)."""
    piece: list[str] = []
    size = 2
    for word in words:
        text = json.dumps(word, separators=(',', ':'))
        if piece and size + len(text) + 1 > WORD_BYTES:
            yield f'[{",".join(piece)}]'
            piece, size = [], 2
        piece.append(text)
        size += len(text) + 1
    if piece:
        yield f'[{",".join(piece)}]'


def unpack_words(text: str) -> list[Word]:
    """The words in a notification; ValueError or TypeError when it is not one of ours."""
    return [Word(*item) for item in json.loads(text)]
