"""The one loop that admits deliveries: words, due retries, orphans, recount, admit, send."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Final

from ..database import deliveries as rows
from ..database import endpoints, processes
from ..database.admission import LANES_CHANNEL
from ..database.listen import Listener
from ..domain.delivery import OUT, WORD_CHANNEL, Word, unpack_words
from ..exceptions import DatabaseUnavailable
from .announce import Announcer
from .desk import Desk, heard_lanes, say_resumed
from .lease import NotHeld
from .message import Parcel
from .outgoing import Outgoing
from .sender import Sender
from .suspects import Suspects
from .upkeep import WORKER, Upkeep

logger = logging.getLogger(__name__)

COLLECT_SECONDS: Final = 0.002
"""Words come in groups; the next round waits this long after the last one, so that rows are marked in groups too."""

LEASE_SECONDS: Final = 2.0
HANDS_SECONDS: Final = 5.0
NO_HANDS_SECONDS: Final = 0.5
RECOUNT_SECONDS: Final = 5.0
SCAN_SECONDS: Final = 10.0
WRITE_SECONDS: Final = 2.0
EXPIRE_SECONDS: Final = 60.0
EXPIRE_ALL_SECONDS: Final = 3600.0
FORGET_SECONDS: Final = 60.0
STATUS_SECONDS: Final = 1.0
WAITS: Final = (0.2, 0.5, 1.0, 2.0)


class Admitter:
    """Admits while this daemon has the lease; otherwise waits for it. Everything public is thread-safe.

    ``on_suspects(n)``: told how many deliveries have to go alone (the supervisor runs a process for them).
    ``on_outbox()``: told that bus events were left in the outbox.
    """

    def __init__(
        self,
        desk: Desk,
        sender: Sender,
        *,
        origin_uuid: str,
        retention_days: float,
        on_suspects: Callable[[int], None] = lambda number: None,
        on_outbox: Callable[[], None] = lambda: None,
    ) -> None:
        self._desk = desk
        self._sender = sender
        standalone = desk.database.is_sqlite
        self._announcer = Announcer(origin_uuid, desk.life, on_outbox)
        self._suspects = Suspects(on_suspects, standalone=standalone)
        self._outgoing = Outgoing(desk, sender)
        self._upkeep = Upkeep(desk, self._suspects, self._announcer, retention_days)
        self._listener = Listener(
            desk.database, (WORD_CHANNEL, LANES_CHANNEL), self._on_notify, self._on_listening, name='admitter-listener'
        )
        self._words: deque[Word] = deque()
        self._wrote: deque[str] = deque()
        self._resumed: deque[str] = deque()
        self._condition = threading.Condition()
        self._woken = False
        self._stopping = False
        self._thread: threading.Thread | None = None
        self.beat = time.monotonic()
        """When its loop last came round."""
        self._admitting = False
        self._due: dict[str, float] = {}
        self._last_round = 0.0
        self._last_status: tuple[float, dict[str, Any]] | None = None
        desk.wake = self.wake
        sender.on_unsent = self._on_unsent
        sender.on_change = self._on_broker

    def start(self) -> None:
        self._listener.start()
        self._thread = threading.Thread(target=self._run, name='admitter', daemon=True)
        self._thread.start()

    def stop(self, grace: float = 5.0) -> None:
        """Admit no more; what is out stays out. Lets another daemon take over at once."""
        with self._condition:
            self._stopping = True
            self._condition.notify()
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.join(grace)
        self._listener.stop()

    def give_all_back(self) -> None:
        """Standalone, after the worker has stopped and before the admitter does: nothing is in anybody's hands."""
        try:
            self._upkeep.give_all_back()
        except (DatabaseUnavailable, NotHeld) as error:
            logger.info('what is out stays so until the next start: %s', error)

    # -- what others tell --------------------------------------------------------------------------

    def hear(self, words: Iterable[Word]) -> None:
        """Attempts ended."""
        self._words.extend(words)
        self.wake()

    def kick(self, subscription: str) -> None:
        """Look at the rows of this subscription."""
        self._wrote.append(subscription)
        self.wake()

    def workers_changed(self) -> None:
        """A worker came or went."""
        self._due['hands'] = 0.0
        self.wake()

    def wake(self) -> None:
        with self._condition:
            self._woken = True
            self._condition.notify()

    def resume(self, subscription: str) -> None:
        """End a disabling and close the circuits; what waits goes on. Raises DatabaseUnavailable."""
        desk = self._desk
        card = desk.catalog.card(subscription)
        self._upkeep.resumed(subscription)
        with desk.database.transaction() as connection:
            trouble = endpoints.resume(connection, subscription, card.endpoint if card is not None else None)
            if trouble and card is not None:
                self._announcer.write(connection, 'resumed', card.document, 'healthy', None, None)
            say_resumed(connection, subscription)
        self._upkeep.resumed(subscription)
        if trouble:
            self._announcer.wake()
        self.wake()

    def status(self) -> dict[str, Any]:
        """``status`` (ok, fail), ``waiting``, ``out``, ``window``, ``oldest_waiting_seconds``; counts are null when the
        database is away."""
        now = time.monotonic()
        if self._last_status is not None and now - self._last_status[0] < STATUS_SECONDS:
            return dict(self._last_status[1])
        try:
            with self._desk.database.reading() as connection:
                waiting, oldest = rows.waiting(connection)
                out = rows.count(connection, OUT)
                living = processes.living(connection)
        except DatabaseUnavailable:
            return dict.fromkeys(('waiting', 'out', 'window', 'oldest_waiting_seconds')) | {'status': 'fail'}
        window = sum(max(0, row.hands - row.written_off) for row in living if row.kind == WORKER)
        works = window > 0 and (self._sender.ready or not self._desk.lease.held)
        answer = {
            'status': 'ok' if works else 'fail',
            'waiting': waiting,
            'out': out,
            'window': window,
            'oldest_waiting_seconds': None if oldest is None else round(oldest, 3),
        }
        self._last_status = (now, answer)
        return dict(answer)

    def _on_notify(self, channel: str, payload: str) -> None:
        if not self._desk.lease.held:
            return
        if channel == WORD_CHANNEL:
            self.hear(unpack_words(payload))
            return
        wrote, resumed = heard_lanes(payload)
        self._wrote.extend(wrote)
        self._resumed.extend(resumed)
        self.wake()

    def _on_listening(self) -> None:
        """What was said while nobody listened is lost: read the rows."""
        self._due['recount'] = self._due['scan everything'] = 0.0
        self.wake()

    def _on_unsent(self, parcels: Iterable[Parcel]) -> None:
        self._desk.not_sent((parcel.uuid, parcel.attempt, parcel.send) for parcel in parcels)

    def _on_broker(self) -> None:
        self.wake()

    # -- the loop ----------------------------------------------------------------------------------

    def _run(self) -> None:
        failures = 0
        while True:
            self.beat = time.monotonic()
            try:
                wait = self._round()
                failures = 0
            except NotHeld:
                wait = 0.0
            except DatabaseUnavailable as error:
                self._desk.outage.began()
                wait = self._troubled(failures, 'nothing is admitted: %s', error)
                failures += 1
            except Exception as error:
                logger.exception('the admitter failed and goes on')
                wait = self._troubled(failures, 'after %r', error)
                failures += 1
            if not self._pause(wait):
                break
        self._end()

    def _troubled(self, failures: int, message: str, error: Exception) -> float:
        (logger.warning if failures == 0 else logger.debug)(message, error)
        return WAITS[min(failures, len(WAITS) - 1)]

    def _pause(self, wait: float) -> bool:
        """Wait until something happens, at most ``wait`` seconds. False when it is time to end."""
        with self._condition:
            if not self._woken and not self._stopping and wait > 0:
                self._condition.wait(wait)
            early = self._last_round + COLLECT_SECONDS - time.monotonic()
            if early > 0 and not self._stopping:
                self._condition.wait_for(lambda: self._stopping, early)
            self._woken = False
            return not self._stopping

    def _round(self) -> float:
        """Everything that there is to do now; returns the seconds until there is more."""
        desk = self._desk
        if not desk.lease.held:
            self._stand_aside()
            if not desk.lease.take():
                return LEASE_SECONDS
        if not self._admitting:
            self._take_over()
        if self._is_due('recount', RECOUNT_SECONDS):
            self._upkeep.recount()
        if self._is_due('scan everything', float('inf')):
            self._upkeep.scan(everything=True)
        if self._is_due('hands', HANDS_SECONDS if desk.admission.window else NO_HANDS_SECONDS):
            self._upkeep.see_hands()
        if self._is_due('scan', SCAN_SECONDS):
            self._upkeep.scan()
        self._outgoing.put_back()
        wake_at = self._learn()
        if self._outgoing.admit():
            self._last_round = time.monotonic()
        self._send_suspect()
        if (desk.admission.changed or desk.admission.news) and self._is_due('write', WRITE_SECONDS):
            self._upkeep.write_down()
        if self._is_due('expire', EXPIRE_SECONDS):
            self._upkeep.expire()
        if self._is_due('expire all', EXPIRE_ALL_SECONDS):
            self._upkeep.expire(everything=True)
        if self._is_due('forget', FORGET_SECONDS):
            self._upkeep.forget()
        return self._next_time(wake_at)

    def _learn(self) -> float | None:
        """Hear what was said; returns the time (Unix seconds) of the next thing that falls due."""
        desk = self._desk
        while self._resumed:
            self._upkeep.resumed(self._resumed.popleft())
        wrote = set()
        while self._wrote:
            wrote.add(self._wrote.popleft())
        if wrote:
            self._upkeep.wrote(wrote)
        now = desk.clock.now()
        with desk.lock:
            admission = desk.admission
            admission.open = self._sender.ready and not desk.unsent and not self._suspects.want_silence()
            while self._words:
                word = self._words.popleft()
                if word.verdict not in ('running', 'dropped') and self._suspects.ended(word.delivery):
                    self._due['scan'] = 0.0  # its lane may have something due
                else:
                    admission.heard(word, now)
            return admission.tick(now)

    def _send_suspect(self) -> None:
        admission = self._desk.admission
        with self._desk.lock:
            uuid = self._suspects.next(len(admission.out)) if self._sender.ready else None
            if uuid is not None and self._suspects.alone:
                admission.open = False  # until it has ended
        if uuid is not None:
            self._suspects.sent(uuid, self._outgoing.send_suspect(uuid))
        self._suspects.tell()

    def _take_over(self) -> None:
        now = time.monotonic()
        self._words.clear()
        self._upkeep.take_over()
        self._admitting = True
        for name, seconds in (
            ('recount', RECOUNT_SECONDS),
            ('scan', SCAN_SECONDS),
            ('hands', 0.0),
            ('scan everything', float('inf')),
            ('expire', 1.0),
            ('expire all', EXPIRE_ALL_SECONDS),
            ('forget', FORGET_SECONDS),
        ):
            self._due[name] = now + seconds
        logger.info(
            'admitting: %d deliveries are out, %d subscriptions have some waiting',
            len(self._desk.admission.out),
            len(self._desk.admission.lanes),
        )

    def _stand_aside(self) -> None:
        self._words.clear()
        self._wrote.clear()
        self._resumed.clear()
        if self._admitting:
            self._admitting = False
            with self._desk.lock:
                self._desk.admission = type(self._desk.admission)(self._desk.rules)
            self._suspects.waiting.clear()
            self._suspects.out.clear()
            self._suspects.tell()

    def _is_due(self, name: str, every: float) -> bool:
        now = time.monotonic()
        if self._due.get(name, 0.0) > now:
            return False
        self._due[name] = now + every
        return True

    def _next_time(self, wake_at: float | None) -> float:
        now = time.monotonic()
        times = [self._due[name] - now for name in ('recount', 'hands', 'scan', 'expire')]
        if self._desk.admission.changed or self._desk.admission.news:
            times.append(self._due.get('write', 0.0) - now)
        if wake_at is not None:
            times.append(wake_at - self._desk.clock.now())
        return max(0.0, min(times))

    def _end(self) -> None:
        try:
            if self._desk.lease.held and self._admitting:
                self._outgoing.put_back()
                self._upkeep.write_down()
        except Exception as error:
            logger.info('circuits could not be written down: %s', error)
        self._desk.lease.close()
