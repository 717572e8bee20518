"""A thread that hears PostgreSQL's notifications, and again after every loss of the connection."""

from __future__ import annotations

import logging
import os
import random
import select
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any, Final

from ..exceptions import DatabaseUnavailable
from .session import Database
from .trouble import let_go

logger = logging.getLogger(__name__)

PROBE_SECONDS: Final = 20
"""After so much silence the server is asked whether it is still there."""

FIRST_WAIT: Final = 0.2
LONGEST_WAIT: Final = 5.0


class Listener:
    """LISTENs on channels, on a connection of its own.

    ``on_notify(channel, payload)`` is called for each notification, ``on_reconnect()`` after each time that listening
    began (the first one too): what was sent meanwhile is lost, so read everything again there. Both are called on the
    listener's thread; what they raise is logged and forgotten, except that DatabaseUnavailable from ``on_reconnect``
    begins anew. On SQLite, which has no notifications, ``start`` calls ``on_reconnect`` once and no thread is made.
    """

    def __init__(
        self,
        database: Database,
        channels: Sequence[str],
        on_notify: Callable[[str, str], None],
        on_reconnect: Callable[[], None],
        *,
        name: str = 'listener',
    ) -> None:
        self._database = database
        self._channels = tuple(channels)
        self._on_notify = on_notify
        self._on_reconnect = on_reconnect
        self._name = name
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()
        self._wake: tuple[int, int] | None = None
        self._listening = threading.Event()

    @property
    def listening(self) -> bool:
        """Is the connection up?"""
        return self._listening.is_set()

    def start(self) -> None:
        if self._database.is_sqlite:
            self._listening.set()
            self._on_reconnect()
            return
        self._wake = os.pipe()
        self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
        self._thread.start()

    def stop(self, timeout: float = 5.0) -> None:
        """End the thread. Stopping twice, or what never started, does nothing."""
        self._stopping.set()
        self._listening.clear()
        thread, self._thread = self._thread, None
        if thread is None or self._wake is None:
            return
        os.write(self._wake[1], b'.')
        thread.join(timeout)
        if not thread.is_alive():  # else a callback hangs: leave it its descriptors
            for descriptor in self._wake:
                os.close(descriptor)
            self._wake = None

    def _run(self) -> None:
        wait = FIRST_WAIT
        while not self._stopping.is_set():
            try:
                with ExitStack() as undo:
                    connection = self._database.own_connection(autocommit=True)
                    undo.callback(let_go, connection)
                    for channel in self._channels:
                        connection.exec_driver_sql(f'LISTEN "{channel}"')
                    self._listening.set()
                    self._on_reconnect()
                    wait = FIRST_WAIT
                    self._hear(connection.connection.dbapi_connection)
            except DatabaseUnavailable as error:
                logger.debug('Not listening on %s: %s', ', '.join(self._channels), error)
            except Exception:
                logger.exception('Listening on %s failed.', ', '.join(self._channels))
            self._listening.clear()
            self._stopping.wait(wait * random.uniform(0.5, 1.5))  # spreads reconnects, guards nothing
            wait = min(wait * 2, LONGEST_WAIT)

    def _hear(self, driver: Any) -> None:
        """Hand notifications on until told to stop; DatabaseUnavailable when the connection is lost."""
        assert self._wake is not None
        poll = select.poll()
        poll.register(driver.fileno(), select.POLLIN)
        poll.register(self._wake[0], select.POLLIN)
        while not self._stopping.is_set():
            ready = poll.poll(PROBE_SECONDS * 1000)
            try:
                if ready:
                    driver.poll()
                else:
                    with driver.cursor() as cursor:
                        cursor.execute('SELECT 1')
            except driver.Error as error:
                raise DatabaseUnavailable('The connection to the database was lost.') from error
            while driver.notifies and not self._stopping.is_set():
                notification = driver.notifies.pop(0)
                try:
                    self._on_notify(notification.channel, notification.payload)
                except Exception:
                    logger.exception('A notification on %s could not be handled.', notification.channel)
