"""Sends log records to systemd's journal in its own format, so that level, logger and place are fields there.

Protocol: https://systemd.io/JOURNAL_NATIVE_PROTOCOL/
"""

from __future__ import annotations

import logging
import os
import socket
import struct
from collections.abc import Mapping
from typing import IO, Any, Final

SOCKET: Final = '/run/systemd/journal/socket'
MESSAGE_BYTES: Final = 48 * 1024
PRIORITIES: Final = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))
DEBUG_PRIORITY: Final = 7


def goes_to_journal(stream: IO[Any], environ: Mapping[str, str] = os.environ) -> bool:
    """Did systemd connect this stream to its journal? (JOURNAL_STREAM in systemd.exec(5).)"""
    device, _, inode = environ.get('JOURNAL_STREAM', '').partition(':')
    try:
        found = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return (device, inode) == (str(found.st_dev), str(found.st_ino))


class JournalHandler(logging.Handler):
    """Its formatter makes the message; the rest are fields. Raises OSError when there is no journal."""

    def __init__(self, identifier: str, path: str = SOCKET) -> None:
        super().__init__()
        self._identifier = identifier
        self._path = path
        self._socket = _connected(path)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            entry = self._entry(record)
            try:
                self._socket.send(entry)
            except ConnectionError:  # the journal was restarted
                self._socket.close()
                self._socket = _connected(self._path)
                self._socket.send(entry)
        except Exception:
            self.handleError(record)

    def close(self) -> None:
        self._socket.close()
        super().close()

    def _entry(self, record: logging.LogRecord) -> bytes:
        message = self.format(record).encode('utf-8', 'backslashreplace')
        if len(message) > MESSAGE_BYTES:
            message = message[:MESSAGE_BYTES] + b'... (cut)'
        fields = {
            'PRIORITY': priority(record.levelno),
            'SYSLOG_IDENTIFIER': self._identifier,
            'LOGGER': record.name,
            'THREAD_NAME': record.threadName or '',
            'CODE_FILE': record.pathname,
            'CODE_LINE': record.lineno,
            'CODE_FUNC': record.funcName or '',
        }
        return field('MESSAGE', message) + b''.join(field(name, str(value).encode()) for name, value in fields.items())


def _connected(path: str) -> socket.socket:
    line = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        line.connect(path)
    except OSError:
        line.close()
        raise
    return line


def priority(level: int) -> int:
    """syslog(3)'s number for a level of logging."""
    return next((number for least, number in PRIORITIES if level >= least), DEBUG_PRIORITY)


def field(name: str, value: bytes) -> bytes:
    """One field as the protocol wants it: with its length in front when it has several lines."""
    if b'\n' in value:
        return name.encode() + b'\n' + struct.pack('<Q', len(value)) + value + b'\n'
    return name.encode() + b'=' + value + b'\n'
