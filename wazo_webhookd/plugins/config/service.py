"""The configuration as people may see it; the one thing that can be changed while running is debugging."""

from __future__ import annotations

import copy
import logging
import threading
from collections.abc import Callable
from typing import Any

from ...auth import auth_verifier
from ...config import Config
from ...masking import masked


class ConfigService:
    def __init__(
        self,
        config: Config,
        logger: logging.Logger | None = None,
        *,
        on_debug: Callable[[bool], object] = lambda debug: None,
    ) -> None:
        """``on_debug`` is told when debugging is switched on or off here, for other processes."""
        self._config = config
        self._on_debug = on_debug
        self._logger = logger or logging.getLogger()
        self._debug = config.debug
        self._quiet = config.quiet_log_level
        self._lock = threading.Lock()

    def show(self) -> dict[str, Any]:
        """The whole tree with every secret masked; ``log_level`` is the number in force."""
        tree = copy.deepcopy(self._config.tree)
        tree['debug'] = self._debug
        tree['log_level'] = self._level()
        master_tenant_uuid = auth_verifier.master_tenant.confirmed
        if master_tenant_uuid is not None:
            tree.setdefault('auth', {})['master_tenant_uuid'] = master_tenant_uuid
        return masked(tree)

    def set_debug(self, debug: bool) -> None:
        """Log at DEBUG or, also when the daemon was started with it, at the configured level again."""
        with self._lock:
            self._debug = debug
            self._logger.setLevel(self._level())
        self._on_debug(debug)

    def reload(self, config: Config) -> None:
        """The files were read again: what they say of the log counts, whatever was set here before."""
        with self._lock:
            self._debug, self._quiet = config.debug, config.quiet_log_level

    def _level(self) -> int:
        return logging.DEBUG if self._debug else self._quiet
