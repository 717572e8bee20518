"""The command ``wazo-webhookd``: read the command line, then start the daemon or standalone."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from wazo_webhookd import __version__
from wazo_webhookd.exceptions import ConfigError, SchemaBehind, WebhookdError

if TYPE_CHECKING:
    from wazo_webhookd.config import Config

STOPPED = 0
CANNOT_START = 1
BAD_COMMAND_LINE = 2
SCHEMA_BEHIND = 3
CANNOT_LISTEN = 4
BUG = 70

_EPILOG = """\
examples:
  wazo-webhookd                                    as on a Wazo server, with /etc/wazo-webhookd/config.yml
  wazo-webhookd -c my.yml --check-config           show what is in force, and every mistake at once
  wazo-webhookd --standalone                       try it out: needs nothing else, prints a token
  wazo-webhookd --standalone --port 0 --data-dir /tmp/hooks

exit codes:
  0   stopped in order (SIGTERM, SIGINT)
  1   cannot start: configuration, system user, log file
  2   bad command line
  3   the database's schema does not fit: run wazo-webhookd-init-db
  4   cannot listen: the address is taken, unknown or not permitted
  70  a bug: see the log
  71  the listening socket broke while running
"""


def parser() -> argparse.ArgumentParser:
    """The options; nothing heavy is imported to print the help."""
    options = argparse.ArgumentParser(
        prog='wazo-webhookd',
        description='Tell other systems when something happens on a Wazo server.',
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    options.add_argument('-c', '--config-file', metavar='FILE', help='main configuration file')
    options.add_argument('-d', '--debug', action='store_true', help='log everything')
    options.add_argument('-u', '--user', metavar='USER', help='system user to become')
    options.add_argument('--host', metavar='ADDRESS', help='address to listen on (rest_api.listen)')
    options.add_argument('--port', metavar='N', type=_port, help='port to listen on (rest_api.port); 0: any free one')
    options.add_argument('--standalone', action='store_true', help='run without PostgreSQL, RabbitMQ and wazo-auth')
    options.add_argument('--data-dir', metavar='DIR', help='where standalone keeps its data')
    options.add_argument('--check-config', action='store_true', help='print the configuration in force and end')
    options.add_argument('--version', action='version', version=f'wazo-webhookd {__version__}')
    return options


def main(argv: Sequence[str] | None = None) -> int:
    """Run until stopped; return the exit code."""
    options = parser()
    asked = options.parse_args(argv)
    if asked.data_dir and not asked.standalone:
        options.error('--data-dir goes with --standalone')
    if asked.check_config:
        return _check(asked)
    try:
        return _run(_load(asked), lambda: _load(asked))
    except ConfigError as error:
        _tell(*error.faults)
    except SchemaBehind as error:
        _tell(str(error))
        return SCHEMA_BEHIND
    except WebhookdError as error:
        _tell(str(error))
    return CANNOT_START


def _run(config: Config, reread: Callable[[], Config]) -> int:
    from wazo_webhookd import logs, users

    users.become(config.user, config.log_file)
    logs.set_up(config)
    try:
        if config.standalone:
            from wazo_webhookd import standalone

            return _code(standalone.run(config))
        from wazo_webhookd.controller import Controller

        return _code(Controller(config, reread).run())
    except KeyboardInterrupt:
        return STOPPED
    except WebhookdError:
        raise
    except OSError as error:
        if error.filename:
            _tell(f'{error.filename}: {error.strerror}')
            return CANNOT_START
        _tell(f'cannot listen on {config.rest_api.listen}, port {config.rest_api.port}: {error.strerror or error}')
        return CANNOT_LISTEN
    except Exception as error:
        import logging

        logging.getLogger('wazo-webhookd').critical('Ended by a bug', exc_info=True)
        _tell(f'ended by a bug ({type(error).__name__}): see the log')
        return BUG


def _load(asked: argparse.Namespace, **more: Any) -> Config:
    from wazo_webhookd import config

    return config.load(_overrides(asked), standalone=asked.standalone, data_dir=asked.data_dir, **more)


def _overrides(asked: argparse.Namespace) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    if asked.config_file:
        tree['config_file'] = asked.config_file
    if asked.debug:
        tree['debug'] = True
    if asked.user is not None:
        tree['user'] = asked.user
    rest_api = {'listen': asked.host, 'port': asked.port}
    rest_api = {key: value for key, value in rest_api.items() if value is not None}
    return tree | ({'rest_api': rest_api} if rest_api else {})


def _check(asked: argparse.Namespace) -> int:
    """Print the effective configuration, secrets masked; 1 when something in it is wrong."""
    from wazo_webhookd import config

    told: list[str] = []
    try:
        effective = _load(asked, say=told.append)
    except ConfigError as error:
        _tell(*told, *error.faults)
        return CANNOT_START
    print(config.as_yaml(effective), end='')
    _tell(*told, *config.unknown_keys(effective))
    named = (f'{asked.config_file}: ', f'{_own_folder(effective)}: ')
    wrong = any(line.endswith('(file skipped)') or line.startswith(named) for line in told)
    return CANNOT_START if wrong else STOPPED


def _own_folder(effective: Config) -> str | None:
    """The folder of further files when the configuration names one; the usual one may be absent."""
    from wazo_webhookd import config

    folder = effective.extra_config_files
    return None if folder == config.default_tree()['extra_config_files'] else folder


def _port(text: str) -> int:
    number = int(text) if text.isascii() and text.isdigit() else -1
    if not 0 <= number <= 65535:
        raise argparse.ArgumentTypeError(f'{text!r} is not a number from 0 to 65535')
    return number


def _code(result: int | None) -> int:
    return STOPPED if result is None else result


def _tell(*lines: str) -> None:
    for line in lines:
        print(f'wazo-webhookd: {line}', file=sys.stderr, flush=True)


if __name__ == '__main__':
    sys.exit(main())
