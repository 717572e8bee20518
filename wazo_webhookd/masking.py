"""Hide the secrets in a configuration tree or a text that people will see."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, Final

MASK: Final = '********'

_SECRET_WORDS = frozenset(
    {'password', 'passwords', 'passwd', 'passphrase', 'passcode', 'pwd', 'secret', 'secrets', 'token', 'tokens'}
    | {'jwt', 'key', 'keys', 'apikey', 'apikeys', 'credential', 'credentials', 'cookie', 'authorization'}
)
_ALWAYS_SECRET = frozenset({'password', 'passwd', 'passphrase', 'secret', 'credential', 'credentials', 'authorization'})
_ONLY_ABOUT_SECRETS = frozenset(
    {'file', 'files', 'path', 'folder', 'directory', 'dir', 'name', 'url', 'uri', 'length', 'policy', 'expiration'}
    | {
        'days',
        'hours',
        'minutes',
        'seconds',
        'timeout',
        'enabled',
        'required',
        'command',
        'type',
        'algorithm',
        'method',
    }
)
_PATHS_OF_FILES = frozenset({('rest_api', 'private_key')})
_WORD_BORDER = re.compile(r'[^a-zA-Z]+|(?<=[a-z])(?=[A-Z])')
_CREDENTIALS = re.compile(r'(?P<scheme>\b[a-zA-Z][a-zA-Z0-9+.-]*://)(?P<userinfo>[^\s@\'"<>]*(?:@[^\s@/?#\'"<>]*)*)@')
_PARAMETER = re.compile(r'(?P<name>[?&;](?P<key>[\w.-]+)=)[^&;\s#\'"<>]+')
_IN_SETTINGS = re.compile(
    r'\b(?P<scheme>(?:Basic|Bearer)\s+)[\w.~+/=-]{6,}'
    r'|(?P<name>\b\w*(?:password|passwd|pwd|secret)\s*=\s*)(?:\'[^\']*\'|[^\s;&]+)'
    r'|(?P<pem>-----BEGIN [A-Z ]*PRIVATE KEY-----).*',
    re.IGNORECASE | re.DOTALL,
)
_TOKEN_IN_PATH = re.compile(r'(?P<start>/token/)[^/?#\s\'"]+')


def is_secret_name(name: str) -> bool:
    """Whether a key of this name holds a secret: its last word says so (``service_key``, ``apiToken``), or another that
    always does (``password_hash``) unless it is only about one (``password_file``)."""
    words = [word.lower() for word in _WORD_BORDER.split(name) if word]
    if not words or words[-1] in _ONLY_ABOUT_SECRETS:
        return False
    return words[-1] in _SECRET_WORDS or not _ALWAYS_SECRET.isdisjoint(words)


def masked_text(text: str) -> str:
    """The text without credentials in URIs, secret URL parameters, and tokens in URLs of wazo-auth."""
    if '://' in text and '@' in text:
        text = _CREDENTIALS.sub(_mask_userinfo, text)
    if '=' in text and ('?' in text or '&' in text or ';' in text):
        text = _PARAMETER.sub(_mask_parameter, text)
    if '/token/' in text:
        text = _TOKEN_IN_PATH.sub(rf'\g<start>{MASK}', text)
    return text


def masked(tree: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of the tree in which every secret (password, key, token, credentials in a URI) is ``********``.

    Null and empty values stay, so that one sees what is not set. What YAML has and JSON has not is shown as text
    (names that are numbers, bytes, NaN) or as a list (sets).
    """
    return {masked_text(str(key)): _masked(value, (str(key),)) for key, value in tree.items()}


def masked_uri(text: str) -> str:
    """A text that should have been a URI and may be a misspelt one: nothing before its last ``@`` is shown."""
    shown = masked_text(text)
    return shown if '://' in text or '@' not in text else f'{MASK}@{text.rpartition("@")[2]}'


def masked_value(path: tuple[str, ...], value: Any) -> Any:
    """One value of a tree, masked when one of the names that lead to it says that it is a secret."""
    hidden = path not in _PATHS_OF_FILES and any(map(is_secret_name, path))
    return value if isinstance(value, float) and not hidden else _masked(value, path, hidden)


def _masked(value: Any, path: tuple[str, ...], hidden: bool = False) -> Any:
    hidden = hidden or (is_secret_name(path[-1]) and path not in _PATHS_OF_FILES)
    if isinstance(value, Mapping):
        return {masked_text(str(key)): _masked(item, (*path, str(key)), hidden) for key, item in value.items()}
    if isinstance(value, list | tuple | set):
        return [_masked(item, (*path, ''), hidden) for item in value]
    if hidden:
        return value if value is None or value == '' or isinstance(value, bool) else MASK
    if isinstance(value, bytes):
        value = value.decode(errors='replace')
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return _IN_SETTINGS.sub(_mask_setting, masked_text(value)) if isinstance(value, str) else value


def _mask_setting(match: re.Match[str]) -> str:
    return f'{match["scheme"] or match["name"] or match["pem"]}{MASK}'


def _mask_userinfo(match: re.Match[str]) -> str:
    name, colon, _ = match['userinfo'].partition(':')
    return f'{match["scheme"]}{name}:{MASK}@' if colon else f'{match["scheme"]}{MASK}@'


def _mask_parameter(match: re.Match[str]) -> str:
    name = match['key'].lower()
    secret = is_secret_name(match['key']) or name.endswith(('password', 'secret', 'token'))
    return f'{match["name"]}{MASK}' if secret else match[0]
