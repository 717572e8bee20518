"""A fresh Debian in a folder: made with debootstrap, with what it will want to install already downloaded."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

RELEASE = 'bookworm'
BASE = ('ca-certificates', 'systemd', 'systemd-sysv', 'dbus', 'procps', 'curl', 'logrotate', 'man-db')
LATER = (
    'postgresql', 'rabbitmq-server', 'python3', 'adduser', 'python3-sqlalchemy', 'python3-psycopg2', 'python3-pip',
    'python3-setuptools', 'python3-wheel', 'bash-completion',
)  # fmt: skip


def site() -> str:
    """Where this machine gets Debian from."""
    done = subprocess.run(
        ['apt-get', 'indextargets', '--format', '$(SITE)'], capture_output=True, text=True, check=True
    )
    sites = [line for line in done.stdout.split() if not line.rstrip('/').endswith('debian-security')]
    if not sites:
        raise SystemExit('apt knows no site of Debian: name one in its sources')
    return max(set(sites), key=sites.count)


def make(root: Path, cache: Path) -> None:
    """Fill an empty folder. ``cache`` keeps what debootstrap downloads. Raises CalledProcessError."""
    cache.mkdir(parents=True, exist_ok=True)
    command = ['debootstrap', '--variant=minbase', f'--cache-dir={cache}', f'--include={",".join(BASE)}']
    _run([*command, RELEASE, str(root), site()])
    for name in ('resolv.conf', 'hosts'):
        shutil.copy(f'/etc/{name}', root / 'etc' / name)
    # The same source of packages, and the same way to it (a proxy, a mirror's time stamps).
    for file in Path('/etc/apt/apt.conf.d').glob('*'):
        if 'docker' not in file.name:
            shutil.copy(file, root / 'etc/apt/apt.conf.d')


def download(root: Path) -> None:
    """Fetch the packages of later, so that they can be installed without a network."""
    for command in (['update', '-q'], ['install', '-qy', '--download-only', '--no-install-recommends', *LATER]):
        _run(['chroot', str(root), 'apt-get', *command])


def copy(debian: Path, root: Path) -> None:
    """Take one that was made before."""
    _run(['cp', '-a', str(debian), str(root)])


def _run(command: list[str]) -> None:
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        raise AssertionError(f'{" ".join(command)} ended with {done.returncode}\n{done.stdout[-3000:]}')
