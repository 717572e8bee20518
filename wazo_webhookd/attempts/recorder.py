"""Writes what became of attempts: grouped, committed, and only then acknowledged."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from typing import Final, NamedTuple, Protocol

from wazo_webhookd.database.attempts import Ended, RowRefused
from wazo_webhookd.domain.delivery import Word
from wazo_webhookd.domain.detail import remembered
from wazo_webhookd.exceptions import DatabaseUnavailable

logger = logging.getLogger(__name__)

COLLECT_SECONDS: Final = 0.002
GROUP: Final = 200
IDLE_SECONDS: Final = 5.0
AGAIN_SECONDS: Final = (0.05, 0.1, 0.25, 0.5, 1.0)


class Record(NamedTuple):
    """A row to write, the word that tells the admitter, and whom to call when both are committed."""

    row: Ended
    word: Word | None
    done: Callable[[], None]
    service: str = ''


class Rows(Protocol):
    def record(self, group: Sequence[Ended], words: Sequence[Word]) -> None: ...
    def close(self) -> None: ...


class Contact(Protocol):
    """Told whether the database answers."""

    def lost(self) -> None: ...
    def found(self) -> None: ...


class Recorder(threading.Thread):
    """One per process. ``hear``: called with the words after the commit (where no notification carries them)."""

    def __init__(
        self,
        rows: Rows,
        contact: Contact,
        *,
        hear: Callable[[Sequence[Word]], None] | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        super().__init__(name='recorder', daemon=True)
        self._rows = rows
        self._contact = contact
        self._hear = hear
        self._sleep = sleep
        self._queue: SimpleQueue[Record | None] = SimpleQueue()
        self._left_over: list[Record] = []
        self._added = 0
        self._recorded = 0
        self._progress = threading.Condition()
        self._stopping = False
        self.beat = time.monotonic()
        """When its loop last came round."""

    def add(self, record: Record) -> None:
        """From any thread; returns at once."""
        with self._progress:
            self._added += 1
        self._queue.put(record)

    @property
    def pending(self) -> int:
        return self._added - self._recorded

    def flush(self, timeout: float) -> bool:
        """Wait until everything added before is committed; False when that took too long."""
        with self._progress:
            target = self._added
            return self._progress.wait_for(lambda: self._recorded >= target, timeout)

    def stop(self, timeout: float) -> bool:
        """Flush and end the thread; False when the database did not take everything in time (it stays to be redone)."""
        flushed = self.flush(timeout)
        self._stopping = True
        self._queue.put(None)
        if self.is_alive():
            self.join(timeout=1.0 if flushed else 0.1)
        return flushed

    def run(self) -> None:
        while not self._stopping:
            self.beat = time.monotonic()
            group = self._collect()
            if group:
                self.write(group)
        self._rows.close()

    def write(self, group: list[Record]) -> None:
        """Write the group, whatever it takes; returns early only when stopped."""
        if self._repeat(group):
            self._finish(group)
        elif not self._stopping:
            for record in group:
                self._write_alone(record)

    def _collect(self) -> list[Record]:
        """The records waiting, not two of one delivery; the second of them is for the next group."""
        waiting, self._left_over = self._left_over, []
        if not waiting:
            try:
                first = self._queue.get(timeout=IDLE_SECONDS)
            except Empty:
                return []
            if first is None:
                return []
            waiting = [first]
            self._sleep(COLLECT_SECONDS)
        try:
            while len(waiting) < GROUP:
                record = self._queue.get_nowait()
                if record is None:
                    self._queue.put(None)
                    break
                waiting.append(record)
        except Empty:
            pass
        group: dict[str, Record] = {}
        for record in waiting:
            if record.row.delivery in group:
                self._left_over.append(record)
            else:
                group[record.row.delivery] = record
        return list(group.values())

    def _repeat(self, group: list[Record]) -> bool:
        """Write until it is in; False when the database does not take some of the data, or we stop."""
        rows = [record.row for record in group]
        words = [record.word for record in group if record.word is not None]
        times = 0
        while not self._stopping:
            self.beat = time.monotonic()
            try:
                self._rows.record(rows, words)
            except DatabaseUnavailable as error:
                if times == 0:
                    logger.warning('%d attempts wait to be recorded: %s', len(group), error)
                self._contact.lost()
                self._sleep(AGAIN_SECONDS[min(times, len(AGAIN_SECONDS) - 1)])
                times += 1
            except RowRefused as error:
                logger.debug('refused: %s', error)
                return False
            else:
                if times:
                    logger.info('%d attempts recorded, the database is back', len(group))
                self._contact.found()
                return True
        return False

    def _write_alone(self, record: Record) -> None:
        """With less and less of what the row says; the delivery itself moves in any case."""
        reason = {'error': 'What this attempt left could not be stored.'}
        plain = record.row._replace(detail=remembered(reason), reason=record.row.reason and reason['error'])
        for row in (record.row, plain, plain._replace(event=None)):
            if row is not record.row:
                logger.warning('the row of delivery %s was refused; storing less of it', row.delivery)
            attempt = record._replace(row=row)
            if self._repeat([attempt]):
                self._finish([attempt])
                return
            if self._stopping:
                return
        logger.error('delivery %s cannot be recorded', record.row.delivery)
        self._finish([record._replace(word=None)])

    def _finish(self, group: list[Record]) -> None:
        for record in group:
            try:
                record.done()
            except Exception:
                logger.exception('after recording delivery %s', record.row.delivery)
        if self._hear is not None:
            self._hear([record.word for record in group if record.word is not None])
        if logger.isEnabledFor(logging.INFO):
            for record in group:
                _say(record)
        with self._progress:
            self._recorded += len(group)
            self._progress.notify_all()


def _say(record: Record) -> None:
    row = record.row
    logger.info(
        'attempt %s: delivery=%s attempt=%d/%d service=%s subscription=%s seconds=%.3f',
        row.status, row.delivery, row.attempt, row.max_attempts, record.service, row.subscription,
        row.ended_at - row.started_at,
    )  # fmt: skip
