"""Loads the REST rooms: those of ours and guests' that are enabled, in the order of the configuration."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final

logger = logging.getLogger(__name__)

GROUP: Final = 'wazo_webhookd.plugins'


def load_plugins(enabled: Mapping[str, bool], dependencies: Mapping[str, Any]) -> None:
    """Call ``load(dependencies)`` of each enabled plugin; one that fails is named in the log, the house stays up."""
    installed: dict[str, EntryPoint] = {}
    for found in entry_points(group=GROUP):
        installed.setdefault(found.name, found)
    for name, on in enabled.items():
        if not on:
            continue
        if name not in installed:
            logger.error('plugin %s is enabled but not installed', name)
            continue
        try:
            installed[name].load()().load(dependencies)
        except Exception:
            logger.exception('plugin %s (%s) could not be loaded', name, installed[name].value)
