"""What this process has in hand: attempts from the arrival of their message until it is acknowledged."""

from __future__ import annotations

from threading import Lock
from typing import Any, Protocol

from wazo_webhookd.database.attempts import Send
from wazo_webhookd.domain.delivery import Ticket


class Message(Protocol):
    """A message of the broker. Both calls may come from any thread and never raise."""

    def acknowledge(self) -> None: ...
    def give_back(self) -> None: ...


class Attempt:
    """One attempt in hand. Times are readings of the monotonic clock, ``started_at`` is the database's.

    ``limit``: seconds that the service may take. ``asks``: it may not start before the database said so, and nobody may
    take it for ours. ``claimed``: the database did say so. ``successor``: a newer send, which came when the
    outcome was known already.
    """

    __slots__ = (
        '_once', 'asks', 'body', 'claimed', 'event_text', 'held', 'limit', 'messages', 'received', 'redelivered',
        'started', 'started_at', 'successor', 'task_name', 'ticket',
    )  # fmt: skip

    def __init__(
        self,
        ticket: Ticket,
        task_name: str,
        body: Any,
        message: Message,
        redelivered: bool,
        received: float,
        limit: float,
    ) -> None:
        self.ticket = ticket
        self.task_name = task_name
        self.body = body
        self.messages = [message]
        self.redelivered = redelivered
        self.received = received
        self.limit = limit
        self.started: float | None = None
        self.started_at = 0.0
        self.event_text: str | None = None
        self.held = False
        self.asks = False
        self.claimed = False
        self.successor: Attempt | None = None
        self._once = Lock()

    @property
    def key(self) -> tuple[str, int]:
        return (self.ticket.delivery, self.ticket.attempt)

    @property
    def send(self) -> Send:
        return Send(self.ticket.delivery, self.ticket.attempt, self.ticket.send)

    def settle(self) -> bool:
        """True for the first caller: its outcome counts. Later ones (a service that returns after its limit) do not."""
        return self._once.acquire(blocking=False)

    @property
    def settled(self) -> bool:
        return self._once.locked()


class InHand:
    """The attempts of this process by delivery and number; for any thread."""

    def __init__(self) -> None:
        self._attempts: dict[tuple[str, int], Attempt] = {}
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._attempts)

    def take(self, attempt: Attempt) -> bool:
        """Take it in hand. False when it is in hand already: its message then joins that of the first arrival.

        (After a lost broker connection the same message comes again; only the copy can be acknowledged then.) From then
        on it stands for the newest send: the database takes no failure of another (a process that was frozen may find
        an old and a new one).
        """
        with self._lock:
            present = self._attempts.setdefault(attempt.key, attempt)
            if present is not attempt:
                newer = attempt.ticket.send > present.ticket.send
                if newer and present.settled:
                    attempt.messages += [] if present.successor is None else present.successor.messages
                    present.successor = attempt
                    return False
                present.messages += attempt.messages
                if newer:
                    present.ticket = attempt.ticket
                    present.held = False
            return present is attempt

    def let_go(self, attempt: Attempt) -> list[Message]:
        """Out of hand; the messages to acknowledge or give back."""
        with self._lock:
            if self._attempts.get(attempt.key) is attempt:
                del self._attempts[attempt.key]
            messages, attempt.messages = attempt.messages, []
            return messages

    def all(self) -> list[Attempt]:
        with self._lock:
            return list(self._attempts.values())

    def open(self) -> list[Attempt]:
        """Those without an outcome."""
        return [attempt for attempt in self.all() if not attempt.settled]
