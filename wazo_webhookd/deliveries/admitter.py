"""The one loop that admits deliveries: words, due retries, orphans, recount, admit, send."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from typing import Final

from ..domain.admission import Admission
from ..domain.delivery import Word
from ..exceptions import DatabaseUnavailable
from .announce import Announcer
from .desk import Desk
from .ears import Ears
from .lease import NotHeld
from .message import Parcel
from .outgoing import Outgoing
from .records import Records
from .sender import Sender
from .status import DeliveriesStatus
from .suspects import Suspects
from .timetable import NEVER, Timetable
from .upkeep import Upkeep

logger = logging.getLogger(__name__)

COLLECT_SECONDS: Final = 0.005
"""Words come in groups; the next round waits this long after the last one, so that rows are marked in groups too."""

FLOODED_SECONDS: Final = 0.5
"""The same while more comes in than is taken in (see Intake)."""

LEASE_SECONDS: Final = 2.0
HANDS_SECONDS: Final = 5.0
NO_HANDS_SECONDS: Final = 0.5
RECOUNT_SECONDS: Final = 5.0
SCAN_SECONDS: Final = 10.0
WRITE_SECONDS: Final = 2.0
EXPIRE_SECONDS: Final = 60.0
EXPIRE_ALL_SECONDS: Final = 3600.0
FORGET_SECONDS: Final = 60.0
WAITS: Final = (0.2, 0.5, 1.0, 2.0)


class Admitter:
    """Admits while this daemon has the lease; otherwise waits for it. Everything public is thread-safe.

    ``on_suspects(n)``: told how many deliveries have to go alone (the supervisor runs a process for them).
    ``on_outbox()``: told that bus events were left in the outbox. ``status()``: see DeliveriesStatus.
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
        self._due = Timetable()
        self._ears = Ears(desk.database, lambda: desk.lease.held, self.workers_changed, self._on_gap)
        self._suspects = Suspects(on_suspects, standalone=desk.database.is_sqlite)
        self._records = Records(desk, Announcer(origin_uuid, desk.life, on_outbox))
        self._outgoing = Outgoing(desk, sender)
        self._upkeep = Upkeep(desk, self._suspects, self._records, retention_days)
        self.status = DeliveriesStatus(desk.database, lambda: sender.ready or not desk.lease.held)
        self._thread: threading.Thread | None = None
        self.beat = time.monotonic()
        """When its loop last came round."""
        self._admitting = False
        self._last_admission = 0.0
        desk.wake = self._ears.wake
        sender.on_unsent = self._on_unsent
        sender.on_change = self._ears.wake

    def start(self) -> None:
        self._ears.start()
        self._thread = threading.Thread(target=self._run, name='admitter', daemon=True)
        self._thread.start()

    def stop(self, grace: float = 5.0) -> None:
        """Admit no more; what is out stays out. Lets another daemon take over at once."""
        self._ears.end()
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.join(grace)
        self._ears.stop()

    def give_all_back(self) -> None:
        """Standalone, after the worker has stopped and before the admitter does: nothing is in anybody's hands."""
        try:
            self._upkeep.give_all_back()
        except (DatabaseUnavailable, NotHeld) as error:
            logger.info('what is out stays so until the next start: %s', error)

    # -- what others tell --------------------------------------------------------------------------

    def hear(self, words: Iterable[Word]) -> None:
        """Attempts ended."""
        self._ears.hear(words)

    def kick(self, subscriptions: Iterable[str]) -> None:
        """Look at these subscriptions, which came, went or changed, and their rows."""
        self._ears.edited(list(subscriptions))

    def wake(self) -> None:
        """Look now whether there is something to do: this daemon may be able to admit since a moment ago."""
        self._ears.wake()

    def workers_changed(self) -> None:
        """A worker came or went, or has other hands."""
        self._due.soon('hands')
        self._ears.wake()

    def resume(self, subscription: str) -> None:
        """End a disabling and close the circuits; what waits goes on. Raises DatabaseUnavailable."""
        self._records.resume(subscription)
        self._ears.wake()

    def _on_gap(self) -> None:
        self._due.soon('recount', 'scan everything', 'hands')

    def _on_unsent(self, parcels: Iterable[Parcel]) -> None:
        self._desk.not_sent((parcel.uuid, parcel.attempt, parcel.send) for parcel in parcels)

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
                (logger.warning if failures == 0 else logger.debug)('nothing is admitted: %s', error)
                wait = WAITS[min(failures, len(WAITS) - 1)]
                failures += 1
            except Exception:
                logger.exception('the admitter failed and goes on')
                wait = WAITS[min(failures, len(WAITS) - 1)]
                failures += 1
            at_least = wait if failures else self._last_admission + COLLECT_SECONDS - time.monotonic()
            if not self._ears.wait(wait, at_least, self._dry_at):
                break
        self._end()

    def _dry_at(self) -> float | None:
        """Until when to leave the processors to intake (monotonic), if there is reason to."""
        return self._last_admission + FLOODED_SECONDS if self._desk.flooded else None

    def _round(self) -> float:
        """Everything that there is to do now; returns the seconds until there is more."""
        desk, due = self._desk, self._due
        if not desk.lease.held:
            self._stand_aside()
            if not desk.lease.take():
                return LEASE_SECONDS
        if not self._admitting:
            self._take_over()
        self._keep_up()
        self._outgoing.put_back()
        wake_at = self._learn()
        if self._outgoing.admit():
            self._last_admission = time.monotonic()
        self._send_suspect()
        if desk.admission.has_news and due.is_due('write', WRITE_SECONDS):
            self._records.write_down()
        wait = due.seconds_until('recount', 'hands', 'scan', 'expire')
        if desk.admission.has_news:
            wait = min(wait, due.seconds_until('write'))
        return wait if wake_at is None else max(0.0, min(wait, wake_at - desk.clock.now()))

    def _keep_up(self) -> None:
        """Periodic work."""
        due, upkeep = self._due, self._upkeep
        if due.is_due('recount', RECOUNT_SECONDS):
            upkeep.recount()
        if due.is_due('scan everything', NEVER):
            upkeep.scan(everything=True)
        if due.is_due('hands', HANDS_SECONDS if self._desk.admission.window.size else NO_HANDS_SECONDS):
            upkeep.see_hands()
        if due.is_due('scan', SCAN_SECONDS):
            upkeep.scan()
        if due.is_due('expire', EXPIRE_SECONDS):
            upkeep.expire()
        if due.is_due('expire all', EXPIRE_ALL_SECONDS):
            upkeep.expire(everything=True)
        if due.is_due('forget', FORGET_SECONDS):
            upkeep.forget()

    def _learn(self) -> float | None:
        """Take in what was said; returns the time (Unix seconds) of the next thing that falls due."""
        desk = self._desk
        for subscription in self._ears.take_resumed():
            self._records.resumed(subscription)
        self._upkeep.wrote(set(self._ears.take_wrote()))
        now = desk.clock.now()
        with desk.lock:
            admission = desk.admission
            for subscription in self._ears.take_edited():
                admission.edited(subscription)
            admission.open = self._sender.ready and not desk.unsent and not self._suspects.want_silence()
            for word in self._ears.take_words():
                if word.verdict not in ('running', 'dropped') and self._suspects.ended(word.delivery):
                    self._due.soon('scan')  # its lane may have something due
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

    # -- who admits --------------------------------------------------------------------------------

    def _take_over(self) -> None:
        self._ears.forget()
        self._upkeep.take_over()
        self._admitting = True
        for name, seconds in (
            ('recount', RECOUNT_SECONDS),
            ('scan', SCAN_SECONDS),
            ('hands', NO_HANDS_SECONDS),  # workers that start with this daemon come a moment later
            ('scan everything', NEVER),
            ('expire', 1.0),
            ('expire all', EXPIRE_ALL_SECONDS),
            ('forget', FORGET_SECONDS),
        ):
            self._due.later(name, seconds)
        logger.info(
            'admitting: %d deliveries are out, %d subscriptions have some waiting',
            len(self._desk.admission.out),
            len(self._desk.admission.lanes),
        )

    def _stand_aside(self) -> None:
        self._ears.forget()
        if self._admitting:
            self._admitting = False
            with self._desk.lock:
                self._desk.admission = Admission(self._desk.rules)
            self._suspects.forget()

    def _end(self) -> None:
        try:
            if self._desk.lease.held and self._admitting:
                self._outgoing.put_back()
                self._records.write_down()
        except Exception as error:
            logger.info('circuits could not be written down: %s', error)
        self._desk.lease.close()
