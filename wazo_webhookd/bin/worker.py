"""The command ``wazo-webhookd-worker``: read the command line, then work until stopped."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from wazo_webhookd import __version__
from wazo_webhookd.exceptions import ConfigError, SchemaBehind, WebhookdError

CANNOT_START = 1
SCHEMA_BEHIND = 3

_EPILOG = """\
examples:
  wazo-webhookd-worker                        as beside a daemon, with /etc/wazo-webhookd/config.yml
  wazo-webhookd-worker -c my.yml --hands 64   with 64 threads instead of celery.hands
  wazo-webhookd-worker --suspects             one hand, for deliveries that were in workers that died

Any number may run, on any machine that reaches the database and the task broker. The daemon starts its own
unless celery.start_workers is false.

exit codes:
  0   stopped in order (SIGTERM, SIGINT; a second one cuts the grace period short)
  1   cannot start: configuration, system user, log file
  2   bad command line
  3   the database's schema does not fit: run wazo-webhookd-init-db
  75  to be replaced: too many attempts never returned
"""


def parser() -> argparse.ArgumentParser:
    """The options; nothing heavy is imported to print the help."""
    options = argparse.ArgumentParser(
        prog='wazo-webhookd-worker',
        description='Carry out the deliveries of wazo-webhookd.',
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    options.add_argument('-c', '--config-file', metavar='FILE', help='main configuration file')
    options.add_argument('-d', '--debug', action='store_true', help='log everything')
    options.add_argument('-u', '--user', metavar='USER', help='system user to become')
    options.add_argument('--hands', metavar='N', type=_hands, help='threads (celery.hands)')
    options.add_argument('--suspects', action='store_true', help='take only deliveries that were in workers that died')
    options.add_argument('--line', metavar='FD', type=int, help=argparse.SUPPRESS)  # to the daemon that started it
    options.add_argument('--version', action='version', version=f'wazo-webhookd-worker {__version__}')
    return options


def main(argv: Sequence[str] | None = None) -> int:
    """Run until stopped; return the exit code."""
    asked = parser().parse_args(argv)
    try:
        return _run(asked)
    except ConfigError as error:
        _tell(*error.faults)
    except SchemaBehind as error:
        _tell(str(error))
        return SCHEMA_BEHIND
    except WebhookdError as error:
        _tell(str(error))
    return CANNOT_START


def _run(asked: argparse.Namespace) -> int:
    from wazo_webhookd import config, logs, users, worker

    overrides: dict[str, Any] = {'config_file': asked.config_file, 'debug': asked.debug or None, 'user': asked.user}

    def read() -> config.Config:
        return config.load({key: value for key, value in overrides.items() if value is not None})

    settings = read()
    users.become(settings.user, settings.log_file)
    logs.set_up(settings)
    return worker.run(settings, hands=asked.hands, suspects=asked.suspects, line=asked.line, reread=read)


def _hands(text: str) -> int:
    number = int(text) if text.isascii() and text.isdigit() else 0
    if not 1 <= number <= 1024:
        raise argparse.ArgumentTypeError(f'{text!r} is not a number from 1 to 1024')
    return number


def _tell(*lines: str) -> None:
    for line in lines:
        print(f'wazo-webhookd-worker: {line}', file=sys.stderr, flush=True)


if __name__ == '__main__':
    sys.exit(main())
