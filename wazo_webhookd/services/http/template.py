"""Templates of users, rendered so that none of them harms anybody: Jinja2 in a sandbox with a budget.

Three kinds: ``text`` (bodies, and URLs whose host is templated), ``rest`` (what follows a literal origin,
for administrators: what no URL can carry is percent-encoded) and ``value`` (the same for users: every value
is percent-encoded as one piece, except what ``urlencode`` made).
"""

from __future__ import annotations

import functools
import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal
from urllib.parse import quote

import jinja2
from jinja2.runtime import Undefined

from wazo_webhookd.services.http.sandbox import Encoded, LimitedEnvironment

MAX_TEMPLATE: Final = 16384
MAX_OUTPUT: Final = 2 * 1024 * 1024
"""Characters."""
CACHED_TEMPLATES: Final = 512
CACHED_CHARACTERS: Final = 256 * 1024
"""A compiled template takes up to eighty times as much memory as its text."""

_UNSENDABLE = re.compile(r'[\x00-\x20\x7f\\]')


class TemplateFailed(Exception):
    """The template cannot be rendered with this event."""


def _as_text(value: Any) -> str:
    return str(value)


def _as_rest(value: Any) -> str:
    """Like requests: what a URL cannot carry is encoded, all else may be meant."""
    return _UNSENDABLE.sub(lambda match: quote(match[0], safe=''), str(value))


def _as_value(value: Any) -> str:
    if isinstance(value, Encoded):
        return value
    if isinstance(value, Undefined):
        return str(value)
    text = str(value)
    if text in ('.', '..'):  # a path segment that means another place
        return text.replace('.', '%2E')
    return quote(text, safe='', errors='replace')


class Renderer:
    """Renders texts with what compiling has cost kept for the next time; safe to share between threads."""

    def __init__(self, output: Callable[[Any], str] = _as_text) -> None:
        self._environment = LimitedEnvironment(output, encodes=output is _as_value)
        self._lock = threading.Lock()
        self._compiled: OrderedDict[str, jinja2.Template | str] = OrderedDict()
        self._characters = 0

    def render(self, source: str, names: Mapping[str, Any], max_output: int = MAX_OUTPUT) -> str:
        """The text of a template. Raises TemplateFailed with a sentence for the log."""
        if '{' not in source and '\r' not in source:  # no template; Jinja drops one new line at the end
            text = source.removesuffix('\n')
        else:
            template = self._template(source)
            try:
                text = self._environment.run(template, names, 1 + len(source) // 4)
            except RecursionError:
                raise TemplateFailed('the template calls itself too often') from None
            except MemoryError:
                raise TemplateFailed('the template makes too much text') from None
            except Exception as error:
                raise TemplateFailed(str(error) or type(error).__name__) from None
        if len(text) > max_output:
            raise TemplateFailed(f'the template makes more than {max_output} characters')
        return text

    def _template(self, source: str) -> jinja2.Template:
        kept = self._compiled.get(source)
        if kept is None:
            kept = self._compile(source)
            with self._lock:
                if source not in self._compiled:
                    self._compiled[source] = kept
                    self._characters += len(source)
                while len(self._compiled) > CACHED_TEMPLATES or self._characters > CACHED_CHARACTERS:
                    self._characters -= len(self._compiled.popitem(last=False)[0])
        if isinstance(kept, str):
            raise TemplateFailed(kept)
        return kept

    def _compile(self, source: str) -> jinja2.Template | str:
        """The template, or what is wrong with it."""
        if len(source) > MAX_TEMPLATE:
            return f'the template is longer than {MAX_TEMPLATE} characters'
        try:
            return self._environment.compiled(source)
        except RecursionError:
            return 'the template is nested too deeply'
        except Exception as error:
            return str(error) or type(error).__name__


@functools.cache
def renderer(kind: Literal['text', 'rest', 'value']) -> Renderer:
    """The one renderer of each kind, made when first wanted."""
    return Renderer({'text': _as_text, 'rest': _as_rest, 'value': _as_value}[kind])
