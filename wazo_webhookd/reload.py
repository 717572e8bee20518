"""Reads the configuration again while the program runs, for what can change then: the log."""

from __future__ import annotations

import logging
from collections.abc import Callable

from wazo_webhookd.config import Config
from wazo_webhookd.exceptions import WebhookdError

logger = logging.getLogger(__name__)


class Reload:
    """Call it on SIGHUP. A configuration that cannot be used is told and changes nothing."""

    def __init__(self, config: Config, reread: Callable[[], Config] | None = None) -> None:
        """``reread`` reads the files as they were read at the start; it raises ConfigError."""
        self._config = config
        self._reread = reread
        self._observers: list[Callable[[Config], None]] = []

    def subscribe(self, observer: Callable[[Config], None]) -> None:
        """``observer(config)`` is called each time, in the order of subscription; it should not raise."""
        self._observers.append(observer)

    @property
    def config(self) -> Config:
        """What was read last."""
        return self._config

    def __call__(self) -> None:
        if self._reread is not None:
            try:
                self._config = self._reread()
            except WebhookdError as error:
                logger.error('the configuration was not read again: %s', error)
        for observer in self._observers:
            try:
                observer(self._config)
            except Exception:
                logger.exception('while the configuration is read again')
