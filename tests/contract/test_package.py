"""What the Debian package promises, as far as it can be seen without building it (make test/package does the rest)."""

import configparser
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tools import commands, write_completions, write_debian_changelog, write_manuals
from wazo_webhookd import __version__, controller, worker
from wazo_webhookd.bin import daemon
from wazo_webhookd.bin import worker as worker_command
from wazo_webhookd.settings import Settings

ROOT = Path(__file__).parents[2]
DEBIAN = ROOT / 'debian'
UNITS = ('wazo-webhookd.service', 'wazo-webhookd-worker@.service')
OWN = {'ExecStart', 'RuntimeDirectory'}

every_unit = pytest.mark.parametrize('name', UNITS)
every_command = pytest.mark.parametrize('command', commands.commands(), ids=lambda command: command.name)


def unit(name):
    """Its section Service: the values of each key, in their order."""
    found = {}
    for line in (DEBIAN / 'units' / name).read_text().partition('[Service]')[2].partition('[Install]')[0].splitlines():
        key, sign, value = line.partition('=')
        if sign and not line.startswith('#'):
            found.setdefault(key, []).append(value)
    return found


def test_every_command_is_in_usr_bin():
    parser = configparser.ConfigParser()
    parser.read_string('[links]\n' + (DEBIAN / 'wazo-webhookd.links').read_text().replace(' ', '='))

    assert dict(parser['links']) == {
        f'opt/venvs/wazo-webhookd/bin/{command.name}': f'usr/bin/{command.name}' for command in commands.commands()
    }


@every_command
def test_every_option_is_in_the_manual_and_the_completion(command):
    manual = write_manuals.manual(command, [command.name, 'other']).replace('\\', '')
    completion = write_completions.completion(command)

    for action in command.options:
        for name in action.option_strings:
            assert f'fB{name}fR' in manual
            assert name in completion.split('compgen -W')[-1]
    assert 'SEE ALSO' in manual


@every_command
def test_completions_are_good_bash(command):
    bash = shutil.which('bash')
    assert bash, 'bash is needed'
    done = subprocess.run([bash, '-n'], input=write_completions.completion(command), text=True, check=False)

    assert done.returncode == 0


def test_hidden_options_stay_hidden():
    (command,) = (command for command in commands.commands() if command.name == 'wazo-webhookd-worker')

    assert 'line' not in {action.dest for action in command.options}


def test_the_changelog_of_debian_is_written_from_ours():
    entry = '## 2.0 (2026-11-30)\n\nWords.\n\n### New\n\n- One\n  thing.\n- Another.\n\n'
    text = f'# Changelog\n\n{entry}## 1.0 (2026-01-02)\n\n- First.\n'

    assert write_debian_changelog.entries(text) == [
        ('2.0', '2026-11-30', ['One thing.', 'Another.']),
        ('1.0', '2026-01-02', ['First.']),
    ]
    assert write_debian_changelog.entry('2.0', '2026-11-30', ['One `thing`.'], 'A <a@b.c>', '') == (
        'wazo-webhookd (2.0) bookworm; urgency=medium\n\n  * One thing.\n\n'
        ' -- A <a@b.c>  Mon, 30 Nov 2026 00:00:00 +0000\n'
    )


def test_the_newest_entry_of_the_changelog_is_this_version():
    version, date, changes = write_debian_changelog.entries((ROOT / 'CHANGELOG.md').read_text())[0]

    assert version == __version__
    assert date == 'unreleased' or re.fullmatch(r'\d{4}-\d\d-\d\d', date)
    assert changes


def test_both_units_are_hardened_alike():
    one, other = (unit(name) for name in UNITS)

    assert {key: value for key, value in one.items() if key not in OWN} == {
        key: value for key, value in other.items() if key not in OWN
    }


@every_unit
def test_units_leave_time_to_stop(name):
    grace = Settings().shutdown_grace
    seconds = int(unit(name)['TimeoutStopSec'][0])

    assert seconds > grace + controller.LATE_SECONDS
    assert seconds > grace + worker.LEAVE_SECONDS


@every_unit
def test_units_start_again_unless_that_cannot_help(name):
    settings = unit(name)
    text = (DEBIAN / 'units' / name).read_text()

    assert settings['Restart'] == ['always']
    assert 'StartLimitIntervalSec=0' in text
    assert settings['RestartPreventExitStatus'] == [f'{daemon.CANNOT_START} {daemon.BAD_COMMAND_LINE}']
    assert worker_command.CANNOT_START == daemon.CANNOT_START


@every_unit
def test_units_leave_little_to_attack(name):
    analyze = shutil.which('systemd-analyze')
    if analyze is None:
        pytest.skip('systemd is not installed here')
    done = subprocess.run(
        [analyze, 'security', '--offline=true', '--no-pager', '--threshold=20', DEBIAN / 'units' / name],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout[-500:] + done.stderr


def test_what_is_put_beside_debians_python_is_enough_for_the_purger(tmp_path):
    subprocess.run([DEBIAN / 'install-purger', tmp_path], cwd=ROOT, check=True)
    code = (
        f'import sys; sys.path.insert(0, {str(tmp_path)!r})\n'
        'from importlib.metadata import entry_points\n'
        "(entry,) = {entry.value for entry in entry_points(group='wazo_purge_db.purgers')}\n"
        'module, _, name = entry.partition(":")\n'
        'import importlib\n'
        'module = importlib.import_module(module)\n'
        'print(module.__file__, getattr(module, name)().purge.__name__)\n'
    )
    done = subprocess.run([sys.executable, '-c', code], cwd='/', capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert done.stdout == f'{tmp_path}/wazo_webhookd/database/purger.py purge\n'
    assert (tmp_path / f'wazo_webhookd-{__version__}.dist-info' / 'METADATA').exists()
