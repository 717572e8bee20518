"""Run a command with a PostgreSQL and a RabbitMQ that its tests may use: ``python -m … COMMAND [ARGUMENT …]``.

Servers that already run on the usual ports of this machine are used, others are started and removed.
What is not installed is installed with apt-get as root; else the message says what to type.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from integration_tests.support.servers import (
    RABBITMQ,
    PrivatePostgres,
    PrivateRabbit,
    find_postgres,
    find_rabbit,
)


def main(command: list[str]) -> int:
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    _install_what_is_missing()
    postgres, rabbit = find_postgres(), None
    try:
        rabbit = find_rabbit()
        environment = dict(os.environ, WEBHOOKD_TEST_POSTGRESQL=postgres.uri('postgres'))
        if isinstance(rabbit, PrivateRabbit):
            environment['WEBHOOKD_TEST_RABBITMQ'] = rabbit.describe()
        return subprocess.run(command, env=environment, check=False).returncode
    except KeyboardInterrupt:
        return 130
    finally:
        for server in (postgres, rabbit):
            if isinstance(server, PrivatePostgres | PrivateRabbit):
                server.remove()


def _install_what_is_missing() -> None:
    missing = []
    if not list(Path('/usr/lib/postgresql').glob('*/bin/postgres')):
        missing.append('postgresql')
    if not RABBITMQ.is_dir():
        missing.append('rabbitmq-server')
    if not missing:
        return
    names = ' '.join(missing)
    if os.geteuid() != 0 or not shutil.which('apt-get'):
        sys.exit(f'The tests need {names}. Please type:\n\n    sudo apt-get install {names}\n')
    print(f'Installing {names} for the tests', flush=True)
    environment = dict(os.environ, DEBIAN_FRONTEND='noninteractive')
    for arguments in (['update', '-q'], ['install', '-qy', '--no-install-recommends', *missing]):
        done = subprocess.run(['apt-get', *arguments], env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(f'apt-get {" ".join(arguments)} failed:\n{done.stdout}{done.stderr}')


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
