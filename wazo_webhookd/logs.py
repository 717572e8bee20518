"""Where log lines go, how they look, and what never gets into one."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import re
import sys
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Mapping
from logging.handlers import WatchedFileHandler
from types import TracebackType
from typing import Any, Final

from wazo_webhookd.config import Config
from wazo_webhookd.exceptions import WebhookdError
from wazo_webhookd.journald import JournalHandler, goes_to_journal
from wazo_webhookd.masking import MASK, is_secret_name, masked_text

CAPPED: Final = (
    *('Flask-Cors', 'urllib3', 'amqp', 'kombu', 'stevedore', 'asyncio', 'httpx', 'httpcore', 'hpack'),
    'alembic.runtime.plugins',
)
"""Loggers of libraries that are heard from WARNING upwards only, whatever the level."""

IDENTIFIER: Final = 'wazo-webhookd'
"""Of all our processes in the journal; rsyslog is told by it to leave them out."""

_FORMAT = '%(asctime)s [%(process)d] (%(levelname)s) (%(name)s): %(message)s'
_NAMED = re.compile(
    r"""(?ix)
    (?P<start> [\w-]*(?:token|password|secret|service_key|api_key|authorization) (?P<named>['"]?) (?P<sign>\s*[:=]\s*) )
    (?: (?P<quote>b?(?P<mark>['"])) (?P<quoted>.+?) (?P=mark)
      | (?P<bare>(?!\{")(?:(?:basic|bearer)\s+)?[^\s'",;&)}\]]+) )"""
)
_WORTH_A_LOOK: Final = ('token', 'password', 'secret', 'service_key', 'api_key', 'authorization')
_NO_SECRETS = frozenset({'none', 'null', 'true', 'false', MASK, '<hidden>'})


_ROUNDS: Final = 20
"""How often a thread that logs writes what others say meanwhile, before another goes on with it."""


class LogFileError(WebhookdError):
    """The log file cannot be opened."""


def set_up(config: Config) -> None:
    """Log to the configured file, and to standard output (below ERROR) and standard error.

    Where systemd reads those two, log to its journal instead. Raises LogFileError when the file cannot be opened.
    """
    handlers: list[logging.Handler] = []
    if config.log_file:
        try:
            handlers.append(_File(config.log_file))
        except OSError as error:
            raise LogFileError(
                f'log_file: cannot open {config.log_file} as {_who()}: {error.strerror}: '
                'give this user the right to write it, or set log_file in the configuration'
            ) from None
    formatter = Redacting(_FORMAT)
    for handler in handlers:
        handler.setFormatter(formatter)
    handlers += _journal() or _streams(formatter)
    root = logging.getLogger()
    for handler in root.handlers[:]:
        root.removeHandler(handler)
    for handler in handlers:
        root.addHandler(handler)
    root.setLevel(config.log_level)
    for name in CAPPED:
        logging.getLogger(name).setLevel(logging.WARNING)
    hide(*_secrets_of(config.tree))
    sys.excepthook = _uncaught
    threading.excepthook = lambda args: _uncaught(args.exc_type, args.exc_value, args.exc_traceback)


def reload(config: Config) -> None:
    """Take on the level, and open the log file again: somebody may have moved it away."""
    root = logging.getLogger()
    root.setLevel(config.log_level)
    for handler in root.handlers:
        if isinstance(handler, _File):
            handler.open_again()
    hide(*_secrets_of(config.tree))


_hidden: OrderedDict[str, None] = OrderedDict()
_HIDDEN_AT_MOST = 64


def hide(*secrets: str) -> None:
    """Never print these texts (service token, passwords). The 64 latest are remembered."""
    for secret in secrets:
        if len(secret) >= 8:  # shorter ones would black out words
            _hidden[secret] = None
            _hidden.move_to_end(secret)
    while len(_hidden) > _HIDDEN_AT_MOST:
        _hidden.popitem(last=False)


def redacted(text: str) -> str:
    """The text with everything masked that says of itself that it is a secret, or was given to ``hide``."""
    for secret in tuple(_hidden):
        if secret in text:
            text = text.replace(secret, MASK)
    if '://' in text or '/token/' in text:
        text = masked_text(text)
    lower = text.lower()
    if any(word in lower for word in _WORTH_A_LOOK):  # the pattern alone would take longer than the rest of the line
        text = _NAMED.sub(_mask_named, text)
    return text


class Redacting(logging.Formatter):
    """Works on the finished line, so that arguments and tracebacks are covered too; on each record once."""

    _kept = (-1, '')

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:
        """As the library does, but once a second."""
        second, shown = self._kept
        if int(record.created) != second:
            second = int(record.created)
            shown = time.strftime(self.default_time_format, self.converter(second))
            self._kept = (second, shown)
        return f'{shown},{int(record.msecs):03d}'

    def format(self, record: logging.LogRecord) -> str:
        kept = record.__dict__.get('_redacted')
        if kept is None or kept[0] is not self:
            kept = record.__dict__['_redacted'] = (self, redacted(super().format(record)))
        line: str = kept[1]
        return line


class _Quiet(logging.Handler):
    """A handler that keeps no thread waiting for the lines of others, and whose failures (full disk, closed terminal)
    cost one line a minute, not a traceback each.

    Whoever writes also writes what the others say meanwhile, in order. From WARNING upwards a line is out when the
    call that logs it returns: the process may end next.
    """

    _told_at = 0.0

    def createLock(self) -> None:
        super().createLock()
        self._waiting: deque[logging.LogRecord] = deque()

    def handle(self, record: logging.LogRecord) -> Any:
        wanted: Any = self.filter(record)
        if not wanted:
            return wanted
        if isinstance(wanted, logging.LogRecord):  # filters may replace it (Python 3.12)
            record = wanted
        try:
            self.format(record)  # which keeps the line: nobody waits while it is made
        except Exception:
            self.handleError(record)
            return wanted
        self._waiting.append(record)
        if record.levelno >= logging.WARNING and self.lock is not None:
            with self.lock:
                self._write_waiting()
        if not self._drain(_ROUNDS):  # a slow disk shall not keep this thread, which has other things to do
            try:
                threading.Thread(target=self._drain, name='log', daemon=True).start()
            except RuntimeError:  # none can be started: the process ends, or has too many
                self._drain()
        return wanted

    def write(self, records: list[logging.LogRecord]) -> None:
        """One or several; called by one thread at a time."""
        for record in records:
            self.emit(record)

    def _drain(self, rounds: int | None = None) -> bool:
        """Write what waits unless somebody does. False: after so many rounds there is still more."""
        assert self.lock is not None
        while self._waiting and self.lock.acquire(blocking=False):  # asked again: others came in vain meanwhile
            if rounds == 0:
                self.lock.release()
                return False
            try:
                self._write_waiting()
            finally:
                self.lock.release()
            rounds = None if rounds is None else rounds - 1
        return True

    def _write_waiting(self) -> None:
        taken = []
        with contextlib.suppress(IndexError):
            while True:
                taken.append(self._waiting.popleft())
        if taken:
            self.write(taken)

    def handleError(self, record: logging.LogRecord) -> None:
        error = sys.exc_info()[1]
        now = time.monotonic()
        if not self._told_at or now - self._told_at > 60:
            self._told_at = now
            with contextlib.suppress(OSError, ValueError):  # a closed terminal: nobody is left to tell
                print(f'wazo-webhookd: cannot write the log: {error}', file=sys.stderr, flush=True)


class _Stream(_Quiet, logging.StreamHandler[Any]):
    def write(self, records: list[logging.LogRecord]) -> None:
        try:
            self.stream.write(''.join(f'{self.format(record)}{self.terminator}' for record in records))
            self.flush()
        except Exception:
            self.handleError(records[-1])


class _File(_Stream, WatchedFileHandler):
    def __init__(self, path: str) -> None:
        WatchedFileHandler.__init__(self, path, encoding='utf-8', errors='backslashreplace')

    def write(self, records: list[logging.LogRecord]) -> None:
        try:
            self.reopenIfNeeded()
            if self.stream is None:  # it could not be opened when it was looked for last
                self.stream = self._open()
                self._statstream()
        except OSError:
            self.handleError(records[-1])
        else:
            super().write(records)

    def open_again(self) -> None:
        """The old file stays open when there is no other."""
        with self.lock or contextlib.nullcontext():
            try:
                stream = self._open()
            except OSError as error:
                print(f'wazo-webhookd: cannot open {self.baseFilename} again: {error.strerror}', file=sys.stderr)
                return
            old, self.stream = self.stream, stream
            self._statstream()
            if old is not None:
                with contextlib.suppress(OSError):
                    old.close()


class _Journal(_Quiet, JournalHandler):
    pass


def _journal() -> list[logging.Handler]:
    """Nothing when systemd does not read what we print, or its journal cannot be reached."""
    if not goes_to_journal(sys.stderr):
        return []
    try:
        handler = _Journal(IDENTIFIER)
    except OSError:
        return []
    handler.setFormatter(Redacting('%(message)s'))
    return [handler]


def _streams(formatter: logging.Formatter) -> list[logging.Handler]:
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors='backslashreplace')  # standard error does so by itself
    output, problems = _Stream(sys.stdout), _Stream(sys.stderr)
    output.addFilter(lambda record: record.levelno < logging.ERROR)
    problems.setLevel(logging.ERROR)
    for handler in (output, problems):
        handler.setFormatter(formatter)
    return [output, problems]


def _mask_named(match: re.Match[str]) -> str:
    value = match['quoted'] or match['bare']
    a_sentence = match['bare'] is not None and not match['named'] and ' ' in match['sign'] and value.isalpha()
    if a_sentence or value.lower() in _NO_SECRETS:
        return match[0]
    return f'{match["start"]}{match["quote"] or ""}{MASK}{match["mark"] or ""}'


def _secrets_of(tree: Mapping[str, Any]) -> list[str]:
    found: list[str] = []
    for key, value in tree.items():
        if isinstance(value, Mapping):
            found += _secrets_of(value)
        elif isinstance(value, str) and is_secret_name(str(key)):
            found.append(value)
    return found


def _who() -> str:
    import pwd

    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return f'user {os.geteuid()}'


def _uncaught(kind: type[BaseException], error: BaseException | None, traceback: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt | SystemExit):
        return
    details = (kind, error, traceback) if error is not None else None
    logging.getLogger('wazo-webhookd').critical('Uncaught exception', exc_info=details)
