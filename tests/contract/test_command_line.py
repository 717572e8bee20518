"""What the command ``wazo-webhookd`` promises to operators and scripts."""

import os
import subprocess
import sys
import time

import pytest

from wazo_webhookd import __version__
from wazo_webhookd.bin import daemon

UUID = '54e9c1b3-f9a6-43ba-8e6b-bd2d2c21c7bb'


def run(*words, uuid=UUID):
    environment = {key: value for key, value in os.environ.items() if key != 'XIVO_UUID'} | (
        {'XIVO_UUID': uuid} if uuid else {}
    )
    command = [sys.executable, '-m', 'wazo_webhookd.bin.daemon', *words]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60, check=False)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / 'config.yml'
    (tmp_path / 'conf.d').mkdir()

    def write(text=''):
        places = f'extra_config_files: {tmp_path}/conf.d\nlog_file: {tmp_path}/log\n'
        path.write_text(f'{places}auth: {{username: a, password: hunter2}}\n{text}\n')
        return str(path)

    return write


def test_help_and_version_end_with_zero_and_the_help_has_examples_and_exit_codes():
    told, version = run('--help'), run('--version')

    assert told.returncode == version.returncode == 0
    assert 'examples:' in told.stdout
    assert 'exit codes:' in told.stdout
    assert version.stdout == f'wazo-webhookd {__version__}\n'


def test_printing_the_help_imports_nothing_heavy():
    code = (
        'import sys; from wazo_webhookd.bin import daemon; daemon.parser().format_help(); '
        'print(sorted({"celery", "flask", "sqlalchemy", "pydantic", "kombu", "requests"} & set(sys.modules)))'
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, timeout=30, check=True)

    assert done.stdout.strip() == '[]'


@pytest.mark.parametrize(
    'words',
    [['--nonsense'], ['--port', 'x'], ['--port', '70000'], ['--port', '-1'], ['--data-dir', '/tmp'], ['surplus']],
)
def test_bad_command_line_ends_with_two_and_the_usage(words):
    done = run(*words)

    assert done.returncode == daemon.BAD_COMMAND_LINE
    assert done.stderr.startswith('usage: wazo-webhookd')


def test_check_config_prints_what_is_in_force_without_secrets(file):
    done = run('--check-config', '-c', file('rest_api: {port: 9301}'))

    assert done.returncode == 0
    assert 'port: 9301' in done.stdout
    assert 'hunter2' not in done.stdout + done.stderr
    assert done.stderr == ''


def test_check_config_tells_every_fault_and_ends_with_one(file):
    done = run('--check-config', '-c', file('rest_api: {port: x}\ncelery: {pool: y}'), uuid=None)

    assert done.returncode == 1
    assert done.stdout == ''
    assert len(done.stderr.splitlines()) == 3


def test_check_config_notices_slips_and_unusable_files(file, tmp_path):
    slip = run('--check-config', '-c', file('celry: {}'))
    (tmp_path / 'conf.d' / 'a.yml').write_text('a: [')
    skipped = run('--check-config', '-c', file())
    (tmp_path / 'conf.d' / 'a.yml').unlink()
    (tmp_path / 'conf.d' / 'a.yml').symlink_to('/no/such/file.yml')
    dangling = run('--check-config', '-c', file())
    absent = run('--check-config', '-c', '/no/such/file.yml')

    elsewhere = tmp_path / 'elsewhere.yml'
    elsewhere.write_text('extra_config_files: /no/such/folder\nauth: {username: a, password: hunter2}')
    no_folder = run('--check-config', '-c', str(elsewhere))

    assert slip.returncode == 0
    assert 'did you mean celery?' in slip.stderr
    assert skipped.returncode == dangling.returncode == absent.returncode == no_folder.returncode == 1
    assert 'file skipped' in skipped.stderr
    assert 'a.yml: cannot read this file: No such file or directory (file skipped)' in dangling.stderr
    assert '/no/such/file.yml: cannot read this file' in absent.stderr
    assert '/no/such/folder: cannot read this directory of configuration files' in no_folder.stderr


@pytest.mark.parametrize(
    ('text', 'words', 'uuid', 'told'),
    [
        ('', [], None, 'XIVO_UUID'),
        ('rest_api: [', [], UUID, 'expected YAML'),
        ('', ['-u', 'no-such-user'], UUID, 'Unknown user no-such-user'),
        ("user: ''\nlog_file: /no/such/folder/log", [], UUID, 'log_file: cannot open /no/such/folder/log'),
    ],
)
def test_foreseeable_failure_is_one_line_that_names_the_cause(file, text, words, uuid, told):
    done = run('-c', file(text), *words, uuid=uuid)

    assert done.returncode == daemon.CANNOT_START
    (line,) = done.stderr.splitlines()
    assert line.startswith('wazo-webhookd: ')
    assert told in line


def test_nobody_waits_for_the_help():
    started = time.perf_counter()
    run('--help')
    helping = time.perf_counter() - started
    started = time.perf_counter()
    subprocess.run([sys.executable, '-c', 'import celery, flask, sqlalchemy'], timeout=60, check=True)
    importing = time.perf_counter() - started

    assert helping < 0.6 * importing
