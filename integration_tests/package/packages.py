"""Packages for the test: a guest's, the one that Wazo servers have today (as far as files go), our next release."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

from tests.database import adopted

CONTROL = """\
Package: {name}
Version: {version}
Architecture: all
Maintainer: nobody <nobody@example.com>
Depends: {depends}
Description: for a test
"""

GUEST = '''\
"""Delivers to the path that the subscription names."""

import requests


class Service:
    def load(self, dependencies):
        pass

    @classmethod
    def run(cls, task, config, subscription, event):
        url = 'http://127.0.0.1:8000' + subscription['config']['path']
        requests.post(url, json={'name': event['name']}, headers={'webhook-id': task.request.id}, timeout=5)
        return {'library': requests.__file__}
'''

OLD_UNIT = """\
[Unit]
Description=wazo-webhookd
After=network.target

[Service]
ExecStart=/usr/bin/wazo-webhookd

[Install]
WantedBy=multi-user.target
"""


OLD_ROWS = """
CREATE TABLE alembic_version_webhookd (version_num varchar(32) PRIMARY KEY);
INSERT INTO alembic_version_webhookd VALUES ('3eb8e3fa4537');
INSERT INTO webhookd_subscription (uuid, name, service, owner_tenant_uuid)
VALUES ('11111111-0000-4000-8000-000000000001', 'of old', 'http', 'aaaaaaaa-0000-4000-8000-000000000001');
INSERT INTO webhookd_subscription_event (subscription_uuid, event_name)
VALUES ('11111111-0000-4000-8000-000000000001', 'old_event');
INSERT INTO webhookd_subscription_option (subscription_uuid, name, value)
VALUES ('11111111-0000-4000-8000-000000000001', 'method', 'post'),
       ('11111111-0000-4000-8000-000000000001', 'url', 'http://127.0.0.1:8000/old');
"""


def old_database() -> str:
    """Statements that make the tables of today's program, with one subscription in them."""
    return ';\n'.join(['SET ROLE asterisk', adopted.UUID_FUNCTION, *adopted.STEPS.values(), OLD_ROWS])


def guest(folder: Path) -> Path:
    """A service ``guestly``, as a package of Debian's Python."""
    packages = folder / 'guest' / 'usr/lib/python3/dist-packages'
    _write(packages / 'guestly/__init__.py', '')
    _write(packages / 'guestly/plugin.py', GUEST)
    _write(packages / 'guestly-1.0.dist-info/METADATA', 'Metadata-Version: 2.1\nName: guestly\nVersion: 1.0\n')
    _write(
        packages / 'guestly-1.0.dist-info/entry_points.txt',
        '[wazo_webhookd.services]\nguestly = guestly.plugin:Service\n',
    )
    return _build(folder / 'guest', 'python3-guestly', '1.0', 'python3, wazo-webhookd')


def pip_guest(folder: Path) -> Path:
    """The source of a service ``piped``, to be installed by pip."""
    source = folder / 'piped'
    _write(source / 'piped/__init__.py', '')
    _write(source / 'piped/plugin.py', GUEST)
    _write(
        source / 'setup.py',
        "from setuptools import setup\n\nsetup(name='piped', version='1.0', packages=['piped'],\n"
        "      entry_points={'wazo_webhookd.services': ['piped = piped.plugin:Service']})\n",
    )
    return source


def todays(folder: Path, etc: Path) -> Path:
    """What the package of today installs that ours also does, or takes away. ``etc``: ours, for the names."""
    tree = folder / 'todays'
    shutil.copytree(etc, tree / 'etc')
    shutil.rmtree(tree / 'etc/default')
    _write(tree / 'etc/wazo-webhookd/config.yml', 'log_level: info\n')
    _write(tree / 'etc/logrotate.d/wazo-webhookd', '# of old\n')
    (tree / 'etc/nginx/locations/https-enabled').mkdir(parents=True)
    _write(tree / 'lib/systemd/system/wazo-webhookd.service', OLD_UNIT)
    _write(tree / 'usr/bin/wazo-webhookd', '#!/bin/sh\nexec sleep infinity\n')
    (tree / 'usr/bin/wazo-webhookd').chmod(0o755)
    _write(tree / 'usr/share/wazo-webhookd/alembic/versions/old.py', '')
    packages = tree / 'usr/lib/python3/dist-packages'
    for name in ('__init__', 'controller', 'database/__init__', 'database/purger'):
        _write(packages / f'wazo_webhookd/{name}.py', 'raise RuntimeError("of old")\n')
    about = 'Metadata-Version: 1.0\nName: wazo-webhookd\nVersion: 26.5\n'
    _write(packages / 'wazo_webhookd-26.5.egg-info/PKG-INFO', about)
    files = sorted(str(file.relative_to(tree)) for file in (tree / 'etc').rglob('*') if file.is_file())
    _write(tree / 'DEBIAN/conffiles', ''.join(f'/{name}\n' for name in files))
    _write(
        tree / 'DEBIAN/postinst',
        '#!/bin/sh\nset -e\nadduser --quiet --system --group --no-create-home --home /var/lib/wazo-webhookd '
        '--disabled-login wazo-webhookd\ntouch /var/log/wazo-webhookd.log\n'
        'chown wazo-webhookd:wazo-webhookd /var/log/wazo-webhookd.log\n'
        'ln -sf ../https-available/wazo-webhookd /etc/nginx/locations/https-enabled/wazo-webhookd\n'
        'systemctl daemon-reload\nsystemctl enable --now wazo-webhookd\n',
    )
    _write(tree / 'DEBIAN/prerm', '#!/bin/sh\nset -e\nsystemctl stop wazo-webhookd\n')
    for name in ('postinst', 'prerm'):
        (tree / 'DEBIAN' / name).chmod(0o755)
    return _build(tree, 'wazo-webhookd', '26.05~20260428.120000.0a1b2c3', 'adduser')


def next_release(package: Path, folder: Path) -> Path:
    """The same package with a higher version."""
    tree = folder / 'next'
    subprocess.run(['dpkg-deb', '-R', str(package), str(tree)], check=True)
    control = tree / 'DEBIAN/control'
    text, count = re.subn(r'^Version: (.+)$', r'Version: \1+next', control.read_text(), flags=re.MULTILINE)
    assert count == 1
    control.write_text(text)
    return _deb(tree, folder / 'next.deb')


def _build(tree: Path, name: str, version: str, depends: str) -> Path:
    _write(tree / 'DEBIAN/control', CONTROL.format(name=name, version=version, depends=depends))
    return _deb(tree, tree.with_suffix('.deb'))


def _deb(tree: Path, target: Path) -> Path:
    command = ['dpkg-deb', '--root-owner-group', '-Zgzip', '-z1', '-b', str(tree), str(target)]
    subprocess.run(command, check=True, capture_output=True)
    return target


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding='utf-8')
