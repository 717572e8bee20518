"""The API document, merged from what every installed plugin says about itself."""

from __future__ import annotations

import copy
import logging
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from importlib import resources
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final

import yaml

from ...rest_api import VERSION

logger = logging.getLogger(__name__)

GROUP: Final = 'wazo_webhookd.plugins'
FILE_NAME: Final = 'api.yml'
SCRIPT_NAME: Final = re.compile(r'(?:/[A-Za-z0-9._~-]+)+')

Document = dict[str, Any]


@lru_cache(maxsize=1)
def installed_document() -> Document:
    """Merged from all installed plugins, enabled or not. Do not change it."""
    ours_first = sorted(entry_points(group=GROUP), key=lambda entry: (not _is_ours(entry), entry.name))
    return merged(_read(entry) for entry in ours_first)


def served_document(script_name: str | None) -> Document | None:
    """As seen by a client of a proxy that strips ``script_name`` (``/api/webhookd``); None if nobody wrote one."""
    document = installed_document()
    if not document.get('info'):
        return None
    prefix = clean_script_name(script_name)
    if not prefix:
        return document
    return {**document, 'schemes': ['https'], 'basePath': f'{prefix}/{VERSION}'}


def clean_script_name(script_name: str | None) -> str:
    """The header's value when it is a path, else an empty text."""
    path = (script_name or '').rstrip('/')
    return path if SCRIPT_NAME.fullmatch(path) else ''


def merged(documents: Iterable[Mapping[str, Any]]) -> Document:
    """Mappings are merged all the way down; elsewhere the first definition wins."""
    result: Document = {}
    for document in documents:
        _merge_into(result, document)
    return result


def _merge_into(target: Document, source: Mapping[str, Any]) -> None:
    for key, value in source.items():
        if key not in target:
            target[key] = copy.deepcopy(value)
        elif isinstance(target[key], dict) and isinstance(value, Mapping):
            _merge_into(target[key], value)


def _is_ours(entry: EntryPoint) -> bool:
    return entry.module.startswith('wazo_webhookd.')


def _read(entry: EntryPoint) -> Mapping[str, Any]:
    """What lies beside the plugin's module. A guest without a document, or with a broken one, has none."""
    package = entry.module.rpartition('.')[0] or entry.module
    try:
        content = yaml.safe_load(resources.files(package).joinpath(FILE_NAME).read_text(encoding='utf-8'))
    except FileNotFoundError:
        return {}
    except Exception:
        logger.exception('The API document of plugin %s cannot be read', entry.name)
        return {}
    return content if isinstance(content, Mapping) else {}
