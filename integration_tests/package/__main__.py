"""Install the package in a fresh Debian and do with it what operators do: one line per step, 1 at the first failure."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from integration_tests.package import debian
from integration_tests.package.machine import Machine
from integration_tests.package.steps import REPOSITORY, STEPS, Stay

NEEDED = {'debootstrap': 'debootstrap', 'systemd-nspawn': 'systemd-container', 'dpkg-deb': 'dpkg'}


def main() -> int:
    options = argparse.ArgumentParser(prog='python -m integration_tests.package', description=__doc__)
    options.add_argument('package', type=Path, help='the .deb file')
    options.add_argument('--debian', type=Path, metavar='FOLDER', help='use a copy of this one instead of a fresh one')
    options.add_argument('--keep', action='store_true', help='leave the folder with the Debian there')
    asked = options.parse_args()
    if os.geteuid() != 0:
        print('make test/package: needs root (debootstrap, systemd-nspawn)', file=sys.stderr)
        return 1
    _install_tools()
    folder = Path(tempfile.mkdtemp(prefix='webhookd-package-'))
    machine = Machine(folder / 'debian', folder / 'machine.log')
    stay = Stay(machine, asked.package.resolve(), folder)
    began = time.monotonic()
    try:
        if asked.debian:
            _step('a copy of a Debian', lambda: debian.copy(asked.debian, machine.root))
        else:
            _step('a fresh Debian', lambda: debian.make(machine.root, REPOSITORY / '.cache' / 'debootstrap'))
            _step('what will be installed in it is downloaded', lambda: debian.download(machine.root))
        _step('it boots, without any network', machine.boot)
        for step in STEPS:
            _step(step.__doc__ or step.__name__, lambda step=step: step(stay))
    except Exception as error:
        print(f'\n{type(error).__name__}: {error}\n', file=sys.stderr)
        for unit in ('wazo-webhookd', 'wazo-webhookd-worker@1'):
            if machine.booted:
                print(machine.journal(unit, 60), file=sys.stderr)
        return 1
    finally:
        machine.shut_down()
        if asked.keep:
            print(f'kept: {folder}')
        else:
            shutil.rmtree(folder)
    print(f'{len(STEPS)} steps in {time.monotonic() - began:.0f} s')
    return 0


def _step(what, work) -> None:
    began = time.monotonic()
    try:
        seen = work()
    except BaseException:
        print(f'FAILED {time.monotonic() - began:6.1f} s  {what}', flush=True)
        raise
    print(f'ok     {time.monotonic() - began:6.1f} s  {what}' + (f': {seen}' if seen else ''), flush=True)


def _install_tools() -> None:
    missing = [package for command, package in NEEDED.items() if shutil.which(command) is None]
    if missing:
        environment = {**os.environ, 'DEBIAN_FRONTEND': 'noninteractive'}
        for command in (['update', '-q'], ['install', '-qy', '--no-install-recommends', *missing]):
            subprocess.run(['apt-get', *command], check=True, stdout=subprocess.DEVNULL, env=environment)


if __name__ == '__main__':
    sys.exit(main())
