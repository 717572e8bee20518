"""The parts of the pages that are made from the program, so that they cannot be wrong.

A page says ``<!-- generated: NAME -->``, or ``<!-- generated: NAME argument -->``, where one of them goes.
"""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel

_PLACE = re.compile(r'^<!-- generated: ([a-z-]+)(?: (.+?))? -->$', re.MULTILINE)


def filled_in(text: str) -> str:
    """The text with its generated parts. Raises KeyError for one that is not known."""
    return _PLACE.sub(lambda match: PARTS[match[1]](*([match[2]] if match[2] else [])), text)


# -- settings --------------------------------------------------------------------------------------


def settings() -> str:
    """Every configuration key: a table for what stands at the top, then one for each section."""
    from wazo_webhookd.settings import Settings

    parts = [_table('', Settings)]
    for path, model in _sections('', Settings):
        parts.append(f'## `{path}`\n\n{_sentence(model)}\n\n{_table(path, model)}')
    return '\n'.join(parts)


def setting_names() -> set[str]:
    """Dotted names of all keys that are not sections."""
    from wazo_webhookd.settings import Settings

    models = [('', Settings), *_sections('', Settings)]
    return {
        f'{path}.{name}'.lstrip('.')
        for path, model in models
        for name, field in model.model_fields.items()
        if not _is_section(field)
    }


def _sections(path: str, model: type[BaseModel]) -> Iterator[tuple[str, type[BaseModel]]]:
    from wazo_webhookd.settings import Service

    for name, field in model.model_fields.items():
        here = f'{path}.{name}'.lstrip('.')
        inner: Any = field.annotation
        if _is_section(field):
            yield here, inner
            yield from _sections(here, inner)
        elif name == 'services':
            yield f'{here}.<name>', Service


def _is_section(field: Any) -> bool:
    return isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)


def _table(path: str, model: type[BaseModel]) -> str:
    rows = []
    for name, field in model.model_fields.items():
        if _is_section(field):
            continue
        full = f'{path}.{name}'.lstrip('.')
        takes = TAKES.get(full) or _takes(field.annotation, field.metadata)
        default = _code(_default(full, field.get_default()))
        rows.append((f'`{full}`', takes, default, field.description or ''))
    return table(('key', 'takes', 'default', 'meaning'), rows) if rows else ''


TAKES = {
    'log_level': '`critical`, `error`, `warning`, `info`, `debug`',
    'db_uri': 'a PostgreSQL URI',
    'egress.proxy': 'a URL `http://…`, or `null`',
    'egress.user.allow': 'list of networks',
    'egress.user.deny': 'list of networks',
    'egress.admin.allow': 'list of networks',
    'egress.admin.deny': 'list of networks',
    'auth.verify_certificate': '`true`, `false`, or a path',
    'consul.verify': '`true`, `false`, or a path',
    'services': 'a section per service',
}
"""What the types do not tell."""


def _default(name: str, value: Any) -> Any:
    if name == 'log_level':
        return 'info'
    if isinstance(value, tuple):
        return list(value)
    if isinstance(value, dict) and value and all(value.values()):
        return ', '.join(value)
    return value


def _code(value: Any) -> str:
    if value is None:
        return 'none'
    text = value if isinstance(value, str) and value else json.dumps(value)
    return f'`{text}`' if value != '' else 'none'


def _takes(annotation: Any, metadata: Iterable[Any]) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _takes(arguments[0], [*arguments[1:], *metadata])
    if origin in (UnionType, Union):
        return ' or '.join(_takes(one, ()) for one in sorted(arguments, key=lambda one: one is not NoneType))
    if origin is Literal:
        return ', '.join(f'`{value}`' for value in arguments)
    if origin is tuple:
        return f'list ({_takes(arguments[0], ())})'
    if origin is dict:
        return 'names, each `true` or `false`'
    if annotation is NoneType:
        return '`null`'
    if annotation is bool:
        return '`true`, `false`'
    if annotation in (int, float):
        return ('whole number' if annotation is int else 'number') + _bounds(metadata)
    return 'text'


def _bounds(metadata: Iterable[Any]) -> str:
    said: dict[str, Any] = {}
    for item in metadata:
        for one in (item, *getattr(item, 'metadata', ())):
            said |= {name: getattr(one, name) for name in ('gt', 'ge', 'le') if hasattr(one, name)}
    parts = [f'above {said["gt"]:,}'] if 'gt' in said else []
    if 'ge' in said and 'le' in said:
        return f', {said["ge"]:,} to {said["le"]:,}'
    parts += [f'at least {said["ge"]:,}'] if 'ge' in said else []
    parts += [f'at most {said["le"]:,}'] if 'le' in said else []
    return ''.join(f', {part}' for part in parts)


def _sentence(model: type[BaseModel]) -> str:
    return ' '.join((model.__doc__ or '').split())


# -- commands --------------------------------------------------------------------------------------

COMMANDS = {
    'wazo-webhookd': 'daemon',
    'wazo-webhookd-worker': 'worker',
    'wazo-webhookd-init-db': 'init_db',
    'wazo-webhookd-init-amqp': 'init_amqp',
    'wazo-webhookd-sync-db': 'sync_db',
    'wazo-webhookd-demo': 'demo',
}


def command(name: str) -> str:
    """What ``--help`` prints."""
    parser = importlib.import_module(f'wazo_webhookd.bin.{COMMANDS[name]}').parser()
    return f'```text\n{parser.format_help().strip()}\n```'


# -- REST ------------------------------------------------------------------------------------------


def rest() -> str:
    """Every route of the API document."""
    rows = [
        (f'`{method.upper()} {path}`', route.get('summary', ''), f'`{access}`' if access else 'anybody')
        for path, method, route, access in routes()
    ]
    return table(('method and path', 'what for', 'access that the token needs'), rows)


def routes() -> Iterator[tuple[str, str, Mapping[str, Any], str]]:
    """Path, method, the document's entry and the access, sorted by path."""
    from wazo_webhookd.plugins.api.document import served_document

    document: Any = served_document(None)
    for path in sorted(document['paths']):
        for method, route in document['paths'][path].items():
            if method != 'parameters':
                found = re.search(r'Required ACL:\*\* `([^`]+)`', route.get('description', ''))
                yield path, method, route, found[1] if found else ''


# -- egress ----------------------------------------------------------------------------------------


def shut_networks() -> str:
    """The ranges that are shut for users by default, and who can open them."""
    from wazo_webhookd.egress import addresses

    rows = []
    for network, kind in {**addresses.SHUT_V4, **addresses.SHUT_V6, **addresses.NAMED_V6}.items():
        never = network in addresses.NEVER
        admin = network in (*addresses.PRIVATE, *addresses.LOOPBACK)
        opens = 'cannot be opened' if never else 'shut, `egress.user.allow` opens it'
        others = 'open' if admin else opens.replace('user', 'admin')
        rows.append((f'`{network}`', kind, opens, others))
    extra = [
        (f'`{network}`', kind, 'cannot be opened', 'cannot be opened')
        for network, kind in addresses.NEVER.items()
        if network not in {**addresses.SHUT_V4, **addresses.SHUT_V6, **addresses.NAMED_V6}
    ]
    return table(('network', 'class', "users' subscriptions", "administrators' subscriptions"), rows + extra)


def shut_ports() -> str:
    from wazo_webhookd.egress.guard import SHUT_PORTS

    return ', '.join(f'{port}' for port in sorted(SHUT_PORTS))


def shut_names() -> str:
    from wazo_webhookd.egress.guard import SHUT_NAMES, SHUT_SUFFIXES

    names = ', '.join(f'`{name}`' for name in sorted(SHUT_NAMES))
    endings = ', '.join(f'`{ending}`' for ending in SHUT_SUFFIXES)
    return f'- names without a dot\n- {names}\n- names that end in {endings}'


# -- both ------------------------------------------------------------------------------------------


def table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table of Markdown."""
    lines = [list(heads)]
    lines += [['---'] * len(lines[0]), *map(list, rows)]
    return '\n'.join(f'| {" | ".join(cell.replace("|", chr(92) + "|") for cell in line)} |' for line in lines) + '\n'


PARTS: dict[str, Callable[..., str]] = {
    'settings': settings,
    'command': command,
    'rest': rest,
    'shut-networks': shut_networks,
    'shut-ports': shut_ports,
    'shut-names': shut_names,
}
