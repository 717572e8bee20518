"""Collects what the parts of the daemon say about themselves, for ``GET /status``."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable
from typing import Any

logger = logging.getLogger(__name__)


class Status(dict[str, Any]):
    """A dict that grows nested ones: ``status['component']['status'] = 'ok'``."""

    def __missing__(self, key: str) -> Status:
        value = self[key] = Status()
        return value


Provider = Callable[[Status], object]


class StatusAggregator:
    """Kept for guests: ``add_provider(fn)``, where ``fn(status)`` fills in its component."""

    def __init__(self) -> None:
        self._providers: list[Provider] = []
        self._lock = threading.Lock()

    def add_provider(self, provider: Provider) -> None:
        with self._lock:
            if provider not in self._providers:
                self._providers.append(provider)

    def status(self) -> Status:
        """``{component: {"status": "ok" | "fail", …}}``; a provider that fails only costs what it had to say."""
        with self._lock:
            providers = list(self._providers)
        status = Status()
        for provider in providers:
            said = Status()
            try:
                provider(said)
                json.dumps(said)
            except Exception:
                logger.exception('A provider of the status failed: %r', provider)
                continue
            for component, words in said.items():
                if isinstance(words, dict) and isinstance(status[component], dict):
                    status[component].update(words)
                else:
                    status[component] = words
        return status
