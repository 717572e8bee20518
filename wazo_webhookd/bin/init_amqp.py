"""The command ``wazo-webhookd-init-amqp``: declare the exchanges, and on request the bus queue anew."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from wazo_webhookd import __version__
from wazo_webhookd.exceptions import ConfigError, WebhookdError

if TYPE_CHECKING:
    from wazo_webhookd.config import Config

DONE = 0
FAILED = 1

_EPILOG = """\
examples:
  wazo-webhookd-init-amqp                                    the RabbitMQ of this machine, as guest
  wazo-webhookd-init-amqp --host mq.example.com --username wazo --password secret
  wazo-webhookd-init-amqp -c /etc/wazo-webhookd/config.yml   the RabbitMQ of the configuration
  systemctl stop wazo-webhookd
  wazo-webhookd-init-amqp --recreate-queue                   give the queue the configured limits
  systemctl start wazo-webhookd

Declaring what is there already changes nothing. --recreate-queue reads the configuration (the usual
file unless -c names one) and the database, needs the daemon to be stopped, and moves the events
that wait into the new queue. Nothing is lost when it is interrupted: run it again. An event
that comes in while the queues change places may be delivered twice.
"""


def parser() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(
        prog='wazo-webhookd-init-amqp',
        description='Declare the exchanges of the Wazo bus on RabbitMQ.',
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    options.add_argument(
        '-c', '--config-file', metavar='FILE', help='take what is not given here from the configuration'
    )
    options.add_argument('--username', help='name for RabbitMQ (guest)')
    options.add_argument('--password', help='password for RabbitMQ (guest)')
    options.add_argument('--host', help='name or address of RabbitMQ (localhost)')
    options.add_argument('--port', type=int, help='port of RabbitMQ (5672)')
    options.add_argument('--vhost', help='virtual host (/)')
    options.add_argument('--upstream_exchange_name', default='xivo', help='exchange of old publishers (xivo)')
    options.add_argument('--upstream_exchange_type', default='topic', help='its type (topic)')
    options.add_argument('--exchange_name', help='exchange of the events (wazo-headers)')
    options.add_argument('--exchange_type', help='its type (headers)')
    options.add_argument('--recreate-queue', action='store_true', help='declare the queue of waiting events anew')
    options.add_argument('--version', action='version', version=f'wazo-webhookd {__version__}')
    return options


def main(argv: Sequence[str] | None = None) -> int:
    """Silent when nothing was moved; the exit code is 0, or 1 after a line on standard error."""
    asked = parser().parse_args(argv)
    try:
        config = _config(asked) if asked.config_file or asked.recreate_queue else None
    except ConfigError as error:
        return _fail(*error.faults)
    bus = _bus(asked, config)

    from wazo_webhookd.bus import broker

    connection = None
    try:
        connection = broker.connect(broker.BrokerAddress.from_config(bus), 'wazo-webhookd-init-amqp')
        broker.declare_exchange(connection, asked.upstream_exchange_name, asked.upstream_exchange_type)
        broker.declare_exchange(connection, bus.exchange_name, bus.exchange_type)
        broker.bind_exchange(connection, bus.exchange_name, asked.upstream_exchange_name)
        if config is not None and asked.recreate_queue:
            _recreate(connection, config, bus)
    except broker.TROUBLE as error:
        return _fail(f'RabbitMQ at {bus.host}:{bus.port}: {error}')
    except WebhookdError as error:
        return _fail(str(error))
    finally:
        broker.close(connection)
    return DONE


def _config(asked: argparse.Namespace) -> Config:
    from wazo_webhookd import config

    overrides = {'config_file': asked.config_file} if asked.config_file else {}
    return config.load(overrides, uuid_required=False)


def _bus(asked: argparse.Namespace, config: Config | None) -> Any:
    """The command line, else the configuration, else the defaults."""
    from wazo_webhookd.settings import Bus

    settings = config.bus if config is not None else Bus()
    names = ('username', 'password', 'host', 'port', 'vhost', 'exchange_name', 'exchange_type')
    return SimpleNamespace(
        **{name: getattr(settings, name) if getattr(asked, name) is None else getattr(asked, name) for name in names}
    )


def _recreate(connection: Any, config: Config, bus: Any) -> None:
    from wazo_webhookd.bus.broker import QueueSettings
    from wazo_webhookd.bus.recreate import recreate
    from wazo_webhookd.database import schema
    from wazo_webhookd.database.bindings import names_to_bind
    from wazo_webhookd.database.session import Database

    database = Database.from_uri(config.db_uri, pool_size=1, application_name='wazo-webhookd-init-amqp')
    try:
        schema.check(database)
        with database.reading() as reading:
            names = names_to_bind(reading)
    finally:
        database.dispose()
    queue = QueueSettings(config.bus.queue.name, config.bus.queue.max_age, config.bus.queue.max_length)
    moved = recreate(connection, queue, bus.exchange_name, names)
    print(f'{queue.name}: declared anew, {moved} events moved')


def _fail(*lines: str) -> int:
    for line in lines:
        print(f'wazo-webhookd-init-amqp: {line}', file=sys.stderr)
    return FAILED


if __name__ == '__main__':
    sys.exit(main())
