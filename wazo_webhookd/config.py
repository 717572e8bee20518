"""What the operator asked for: found, laid over the defaults, checked once and frozen.

Highest to lowest: computed values (log level, uuid), key file, command line, extra files (the
alphabetically first wins), main file, defaults. Mappings are merged, everything else is replaced.
"""

from __future__ import annotations

import difflib
import os
import sys
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, Field, ValidationError

from wazo_webhookd.config_files import Say, Tree, merge, read_directory, read_key_file, read_main
from wazo_webhookd.exceptions import ConfigError
from wazo_webhookd.masking import masked, masked_uri, masked_value
from wazo_webhookd.settings import ABSENT, LOG_LEVELS, Section, Service, Settings

__all__ = ['Config', 'as_yaml', 'default_tree', 'from_tree', 'load', 'masked', 'unknown_keys']


class Config(Settings):
    """The settings, and what else the start decided.

    ``tree`` is the plain nested dict that guests receive: defaults included, unknown keys kept,
    ``db_uri`` as written. It holds secrets: show it through ``masked``. ``quiet_log_level`` is the
    level without ``debug``.
    """

    quiet_log_level: int = 20
    standalone: bool = False
    data_dir: Path | None = None
    tree: dict[str, Any] = Field({}, repr=False)

    @property
    def pool_size(self) -> int:
        """Database connections that the daemon keeps."""
        return self.database.pool_size or self.rest_api.max_threads

    def service_timeout(self, name: str) -> float:
        """Seconds after which an attempt of this service is given up."""
        return self.services.get(name, Service()).timeout

    def __repr__(self) -> str:
        return f'<Config {self.config_file}>'  # nothing that could be a secret

    __str__ = __repr__


def load(
    overrides: Mapping[str, Any] | None = None,
    *,
    standalone: bool = False,
    data_dir: str | os.PathLike[str] | None = None,
    uuid_required: bool = True,
    environ: Mapping[str, str] = os.environ,
    say: Say | None = None,
) -> Config:
    """Read the files, check everything, and return it.

    ``overrides`` is a tree of what the command line said, such as ``{'config_file': …, 'rest_api':
    {'port': 9301}}``. ``say`` is told, a line each, of files that cannot be read (the start goes on
    without them); it prints on standard error by default. Raises ConfigError with every fault.
    """
    say = say or _print
    overrides = dict(overrides or {})
    defaults = default_tree(standalone)
    main: Tree = {}
    main_file = overrides.get('config_file') or defaults['config_file']
    if main_file:
        main = read_main(Path(main_file), say)
    directory = main.get('extra_config_files', defaults['extra_config_files'])
    extra = read_directory(Path(directory), say) if isinstance(directory, str) and directory else {}
    files = merge(extra, main)
    if directory != defaults['extra_config_files']:
        files['extra_config_files'] = directory
    files['config_file'] = main_file
    asked = merge(overrides, files)
    if not standalone:
        asked = merge(_key_file(asked, defaults, say), asked)
    return from_tree(asked, standalone=standalone, data_dir=data_dir, uuid_required=uuid_required, environ=environ)


def from_tree(
    asked: Mapping[str, Any] | None = None,
    *,
    standalone: bool = False,
    data_dir: str | os.PathLike[str] | None = None,
    uuid_required: bool = False,
    environ: Mapping[str, str] | None = None,
) -> Config:
    """The configuration that differs from the defaults by ``asked``; reads no file. Raises ConfigError."""
    environ = environ or {}
    defaults = default_tree(standalone)
    tree = merge(_without_empty_sections(asked or {}, defaults), defaults)
    folder = _data_dir(data_dir, environ) if standalone else None
    if folder is not None:
        tree = merge(_standalone_facts(folder, tree), tree)
    if environ.get('XIVO_UUID'):
        tree['uuid'] = environ['XIVO_UUID']
    faults: list[str] = []
    if uuid_required and not tree.get('uuid'):
        faults.append(
            'uuid: missing: expected the uuid of the Wazo server in the environment variable XIVO_UUID, '
            'or as uuid in the configuration'
        )
    if not standalone and str(tree.get('db_uri')).startswith('sqlite'):
        shown = masked_uri(str(tree['db_uri']))
        faults.append(f'db_uri: {shown!r}: expected a PostgreSQL URI (SQLite is for --standalone only)')
    try:
        settings = Settings.model_validate(tree)
    except ValidationError as error:
        raise ConfigError(faults + _faults(error)) from None
    if settings.celery.worker_min > settings.celery.worker_max:
        faults.append(f'celery.worker_min: {settings.celery.worker_min}: expected at most celery.worker_max')
    if settings.circuit.rest > settings.circuit.rest_max:
        faults.append(f'circuit.rest: {settings.circuit.rest:g}: expected at most circuit.rest_max')
    if faults:
        raise ConfigError(faults)
    level = LOG_LEVELS['DEBUG'] if settings.debug else settings.log_level
    tree['log_level'] = level
    values = {name: getattr(settings, name) for name in Settings.model_fields} | {'log_level': level}
    return Config(**values, quiet_log_level=settings.log_level, standalone=standalone, data_dir=folder, tree=tree)


def default_tree(standalone: bool = False) -> Tree:
    """The defaults as a nested dict, without the keys that are absent unless configured."""
    tree = _defaults_of(Settings)
    return merge(STANDALONE_DEFAULTS, tree) if standalone else tree


STANDALONE_DEFAULTS: Tree = {
    'config_file': '',
    'extra_config_files': '',
    'enabled_services': {'example': True},
}


def as_yaml(config: Config) -> str:
    """The effective configuration, secrets masked, as a YAML text."""
    names = {number: name.lower() for name, number in LOG_LEVELS.items()}
    tree = masked(config.tree) | {'log_level': names[config.log_level]}
    return yaml.safe_dump(tree, sort_keys=False, allow_unicode=True, default_flow_style=False)


def unknown_keys(config: Config) -> list[str]:
    """Sentences about keys in our own sections that look like slips of the pen."""
    return list(_slips(config.tree, Settings, ''))


def _print(line: str) -> None:
    print(f'wazo-webhookd: {line}', file=sys.stderr, flush=True)


def _key_file(asked: Mapping[str, Any], defaults: Tree, say: Say) -> Tree:
    auth = asked.get('auth')
    auth = auth if isinstance(auth, Mapping) else {}
    path = auth.get('key_file', defaults['auth']['key_file'])
    if (auth.get('username') and auth.get('password')) or not isinstance(path, str) or not path:
        return {}
    return read_key_file(Path(path), say)


def _without_empty_sections(asked: Mapping[str, Any], defaults: Tree) -> Tree:
    """A section of ours with nothing below its name (null) says nothing, so its defaults stay."""
    kept = {}
    for key, value in asked.items():
        below = defaults.get(key)
        if not isinstance(below, dict):
            kept[key] = value
        elif value is not None:
            kept[key] = _without_empty_sections(value, below) if isinstance(value, Mapping) else value
    return kept


def _data_dir(given: str | os.PathLike[str] | None, environ: Mapping[str, str]) -> Path:
    if given:
        return Path(given).expanduser().absolute()
    home = environ.get('XDG_DATA_HOME', '')
    base = Path(home) if home.startswith('/') else Path.home() / '.local' / 'share'
    return base / 'wazo-webhookd'


def _standalone_facts(folder: Path, tree: Mapping[str, Any]) -> Tree:
    """What standalone decides by itself, whatever the files say."""
    return {
        'db_uri': f'sqlite:///{folder / "webhookd.sqlite"}',
        'celery': {'broker': 'memory://', 'pool': 'threads'},
        'user': None,
        'log_file': None,
        'uuid': tree.get('uuid') or str(uuid.uuid5(uuid.NAMESPACE_URL, 'wazo-webhookd:standalone')),
    }


def _defaults_of(model: type[BaseModel]) -> Tree:
    tree: Tree = {}
    for name, field in model.model_fields.items():
        if field.json_schema_extra is not ABSENT:
            tree[name] = _plain(field.default)
    return tree | ({'log_level': 'info'} if 'log_level' in tree else {})


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return _defaults_of(type(value))
    if isinstance(value, dict):
        return dict(value)
    return list(value) if isinstance(value, tuple) else value


_EXPECTED = {
    'bool_parsing': 'true or false',
    'bool_type': 'true or false',
    'int_parsing': 'a whole number',
    'int_type': 'a whole number',
    'int_from_float': 'a whole number',
    'int_parsing_size': 'a whole number of a reasonable size',
    'float_parsing': 'a number',
    'float_type': 'a number',
    'finite_number': 'a finite number',
    'string_type': 'a text',
    'string_too_short': 'a text that is not empty',
    'tuple_type': 'a list',
    'list_type': 'a list',
    'dict_type': 'a mapping of keys to values',
    'model_type': 'a mapping of keys to values',
    'model_attributes_type': 'a mapping of keys to values',
    'too_short': 'a list with at least {min_length} item(s)',
    'too_long': 'a list with at most {max_length} items',
    'greater_than': 'a number above {gt}',
    'greater_than_equal': 'a number of at least {ge}',
    'less_than_equal': 'a number of at most {le}',
    'literal_error': 'one of: {expected}',
}


_URIS = frozenset({('db_uri',), ('celery', 'broker'), ('egress', 'proxy')})


def _faults(error: ValidationError) -> list[str]:
    faults = []
    for item in error.errors(include_url=False):
        path = tuple(str(part) for part in item['loc'] if part != '[key]')
        context = item.get('ctx', {})
        if item['type'] == 'value_error':
            expected = str(context['error'])
        else:
            expected = _EXPECTED.get(item['type'], item['msg']).format(**context).replace("'", '')
        given = masked_value(path, item['input'])
        value = repr(masked_uri(given) if path in _URIS and isinstance(given, str) else given)
        faults.append(f'{".".join(path)}: {value if len(value) <= 100 else value[:100] + "…"}: expected {expected}')
    return faults


def _slips(tree: Mapping[str, Any], model: type[BaseModel], path: str) -> Iterator[str]:
    known = model.model_fields
    for key, value in tree.items():
        field = known.get(str(key))
        if field is None:
            near = difflib.get_close_matches(str(key), known, n=1, cutoff=0.75)
            if near and model.model_config.get('extra') != 'allow':
                yield f'{path}{key}: not one of our keys: did you mean {path}{near[0]}?'
        elif isinstance(field.default, Section) and isinstance(value, Mapping):
            yield from _slips(value, type(field.default), f'{path}{key}.')
