"""Read the YAML files that configure the program, and lay them over one another."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml
from yaml.constructor import ConstructorError

from wazo_webhookd.exceptions import ConfigError

Tree = dict[str, Any]
Say = Callable[[str], None]

EXEC_SECONDS = 30


def merge(high: Mapping[str, Any], low: Mapping[str, Any]) -> Tree:
    """Both trees in one, ``high`` winning; only mappings are merged, lists and scalars are taken whole."""
    merged = dict(low)
    for key, value in high.items():
        below = merged.get(key)
        merged[key] = merge(value, below) if isinstance(value, Mapping) and isinstance(below, Mapping) else value
    return merged


def read_main(path: Path, say: Say) -> Tree:
    """The main file. Unreadable: told and taken as empty. Raises ConfigError when it is not a YAML mapping."""
    text = _text(path, say)
    return {} if text is None else _parse(path, text)


def read_directory(path: Path, say: Say) -> Tree:
    """All ``*.yml`` of the directory, the alphabetically first winning; what cannot be used is told and skipped."""
    try:
        names = sorted(entry.name for entry in path.iterdir() if entry.name.endswith('.yml') and entry.name[0] != '.')
    except OSError as error:
        say(f'{path}: cannot read this directory of configuration files: {error.strerror}')
        return {}
    tree: Tree = {}
    for name in names:
        text = _text(path / name, lambda fault: say(f'{fault} (file skipped)'))
        if text is not None:
            try:
                tree = merge(tree, _parse(path / name, text))
            except ConfigError as error:
                say(f'{error} (file skipped)')
    return tree


def read_key_file(path: Path, say: Say) -> Tree:
    """``auth.username`` and ``auth.password`` from wazo-auth's key file; told when there is none.

    Raises ConfigError when the file is there and a key is missing.
    """
    told: list[str] = []
    text = _text(path, told.append)
    if text is None:
        say(f'{told[0]}: no service account: wazo-auth makes this file, or set auth.username and auth.password')
        return {}
    content = _parse(path, text)
    missing = [name for name in ('service_id', 'service_key') if not isinstance(content.get(name), str)]
    if missing:
        raise ConfigError([f'{path}: missing {" and ".join(missing)}: expected two keys, service_id and service_key'])
    return {'auth': {'username': content['service_id'], 'password': content['service_key']}}


class _Loader(yaml.SafeLoader):
    """Safe YAML with ``!exec``; dates stay text, since guests turn the tree into JSON."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != 'tag:yaml.org,2002:timestamp']
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


class _CommandFailed(ConstructorError):
    """The YAML is right; what it asks for cannot be had."""


def _exec(loader: _Loader, node: yaml.Node) -> Any:
    """``!exec {command: …}``: what the command prints, read as YAML."""
    content = loader.construct_mapping(node) if isinstance(node, yaml.MappingNode) else {}
    command = content.get('command')
    if not isinstance(command, str) or not command.split():
        raise ConstructorError(None, None, '!exec expects a mapping with the key command', node.start_mark)
    problem = None
    try:
        done = subprocess.run(command.split(), capture_output=True, timeout=EXEC_SECONDS, check=False)
        if done.returncode:
            said = done.stderr.decode(errors='replace').strip().splitlines()
            problem = f'ended with code {done.returncode}' + (f' ({said[-1][:200]})' if said else '')
    except subprocess.TimeoutExpired:
        problem = f'did not end within {EXEC_SECONDS} s'
    except OSError as error:
        problem = f'cannot be run: {error.strerror}'
    if problem:
        raise _CommandFailed(None, None, f'!exec: {command.split()[0]} {problem}', node.start_mark)
    return yaml.load(done.stdout, Loader=_Loader)  # a safe loader, see above


_Loader.add_constructor('!exec', _exec)


def _text(path: Path, say: Say) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError as error:
        say(f'{path}: cannot read this file: {error.strerror}')
        return None


def _parse(path: Path, text: bytes) -> Tree:
    try:
        content = yaml.load(text, Loader=_Loader)  # a safe loader, see above
        json.dumps(content, default=str, skipkeys=True)  # refuses what contains itself
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f'line {mark.line + 1}, column {mark.column + 1}: ' if mark else ''
        expected = '' if isinstance(error, _CommandFailed) else ': expected YAML'
        raise ConfigError([f'{path}: {place}{error.problem or error.context}{expected}']) from None
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        problem = ' '.join(str(error).split()) or 'nested too deeply'
        raise ConfigError([f'{path}: {problem}: expected YAML']) from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigError([f'{path}: expected a mapping of keys to values, not a {type(content).__name__}'])
    return content
