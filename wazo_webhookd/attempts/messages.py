"""A message of kombu as the desk sees it: acknowledged or given back on the right thread, without a fuss."""

from __future__ import annotations

import logging
from typing import Any

from .loop import Loop

logger = logging.getLogger(__name__)


class BrokerMessage:
    """``loop`` None: the transport lets any thread acknowledge (kombu's in-memory one)."""

    __slots__ = ('_loop', '_message')

    def __init__(self, message: Any, loop: Loop | None) -> None:
        self._message = message
        self._loop = loop

    def acknowledge(self) -> None:
        self._call(self._acknowledge)

    def give_back(self) -> None:
        self._call(self._give_back)

    def _call(self, what: Any) -> None:
        if self._loop is None:
            what()
        else:
            self._loop.call(what)

    def _acknowledge(self) -> None:
        try:
            self._message.ack()
        except Exception as error:  # its channel is gone: the broker hands it out again, and it will be dropped then
            logger.debug('cannot acknowledge: %s', error)

    def _give_back(self) -> None:
        try:
            self._message.requeue()
        except Exception as error:  # likewise
            logger.debug('cannot give back: %s', error)
