"""Nothing else installed or running: standalone by itself, and the demonstration."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from integration_tests.support.auth_double import AuthDouble
from integration_tests.support.figures import Note
from integration_tests.support.ports import free_port
from integration_tests.support.receiver import Answer, Receiver
from integration_tests.support.site import COMMANDS, Site
from integration_tests.support.until import until


@pytest.fixture
def alone(tmp_path, receiver):
    """A site without any server."""
    from integration_tests.support.servers import Postgres, Rabbit

    site = Site(tmp_path, Postgres(1), '', Rabbit(1), '/', AuthDouble(), receiver)
    yield site
    for program in site.programs:
        program.clean_up()


def test_event_becomes_a_request(alone: Site, receiver: Receiver) -> None:
    program = alone.standalone()
    subscription = program.rest.subscribe(receiver.url('/x'), ['hello'])
    answer = program.rest.send('hello', {'who': 'world'})
    (request,) = receiver.wait_for(1)
    (row,) = until(lambda: program.rest.logs(subscription), what='the attempt is recorded')

    assert answer['deliveries'] == 1
    assert json.loads(request.body) == {'who': 'world'}
    assert row['status'] == 'success'
    assert row['uuid'] == request.delivery
    assert program.stop() == 0


def test_the_first_delivery_does_not_wait(alone: Site, receiver: Receiver, note: Note) -> None:
    program = alone.standalone()
    program.rest.subscribe(receiver.url('/x'), ['hello'])
    began = time.time()
    program.rest.send('hello')
    (request,) = receiver.wait_for(1)

    note(f'standalone: first delivery {1000 * (request.at - began):.0f} ms after its event')
    assert request.at - began < 1.0


def test_start_prints_where_it_listens_the_token_and_lines_to_copy(alone: Site) -> None:
    program = alone.standalone()

    assert f':{program.port}' in program.output
    assert program.rest.token in program.output
    assert program.output.count('curl') >= 2
    assert stat.S_IMODE(os.stat(alone.folder / 'data' / 'token').st_mode) == 0o600


def test_the_lines_to_copy_work_as_they_are(alone: Site) -> None:
    assert shutil.which('curl'), 'apt-get install curl'
    with Receiver(port=free_port()) as receiver:
        program = alone.standalone()
        text = program.output.replace('http://127.0.0.1:8000/', receiver.url('/copied')).replace('\\\n', ' ')
        lines = [line for line in text.splitlines() if line.strip().startswith('curl')]
        said = [json.loads(subprocess.check_output(line, shell=True, text=True, timeout=20)) for line in lines]
        (request,) = receiver.wait_for(1, '/copied')

    assert said[0]['config']['url'] == receiver.url('/copied')
    assert said[1]['deliveries'] == 1
    assert json.loads(request.body)['uuid']


def test_a_configuration_file_enables_a_guest(alone: Site, install: Callable[[str], Path]) -> None:
    alone.python_path.append(install('guests'))
    alone.environment['GUESTS_NOTES'] = str(alone.folder / 'notes')
    settings = {
        'enabled_services': {'by-task': True, 'by-class': True},
        'guest_section': {},
        'hook_retry_schedule': [0, 1],
    }
    path = alone.folder / 'mine.yml'
    path.write_text(json.dumps(settings))
    rest = alone.standalone('standalone', '-c', str(path)).rest
    wish = {'name': 'n', 'events': ['hello']}
    by_task = rest.create({**wish, 'service': 'by-task', 'config': {'how': 'prefix'}})['uuid']
    again = rest.create({**wish, 'service': 'by-task', 'config': {'how': 'native-retry'}})['uuid']
    by_class = rest.create({**wish, 'service': 'by-class', 'config': {'how': 'text'}})['uuid']
    example = rest.create({**wish, 'service': 'example', 'config': {'time_sleep': 0}})['uuid']
    rest.send('hello', 1)
    until(lambda: len(rest.logs(again)) == 2)

    assert rest.logs(by_task)[0]['detail']['prefix'] == 'guest of the tests'
    assert [row['status'] for row in rest.logs(again)] == ['success', 'failure']
    assert rest.logs(by_class)[0]['detail'] == {'error': 'a plain text'}
    assert rest.logs(example)[0]['detail'] == {'slept': 0.0}


def test_wrong_token_is_refused(alone: Site) -> None:
    program = alone.standalone()
    program.rest.token = 'wrong'

    assert program.rest.call('GET', '/subscriptions').status_code == 401


@pytest.mark.timeout(120)
def test_what_was_accepted_is_delivered_after_kill_and_restart(alone: Site, receiver: Receiver) -> None:
    receiver.answer('/x', always=Answer(delay=0.2))
    program = alone.standalone()
    program.rest.subscribe(receiver.url('/x'), ['hello'])
    for number in range(60):
        program.rest.send('hello', {'number': number})
    program.kill()
    token = program.rest.token
    second = alone.standalone('second')
    requests = receiver.wait_for(60, seconds=60, distinct=True)

    assert sorted({json.loads(request.body)['number'] for request in requests}) == list(range(60))
    assert second.rest.token == token


def test_second_one_on_the_same_data_is_refused(alone: Site) -> None:
    alone.standalone()
    command = [str(COMMANDS / 'wazo-webhookd'), '--standalone', '--data-dir', str(alone.folder / 'data'), '--port', '0']
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)

    assert done.returncode != 0
    assert str(alone.folder / 'data') in done.stderr
    assert 'Traceback' not in done.stderr


def test_damaged_database_is_named_without_a_traceback(tmp_path: Path) -> None:
    (tmp_path / 'webhookd.sqlite').write_text('no database')
    command = [str(COMMANDS / 'wazo-webhookd'), '--standalone', '--data-dir', str(tmp_path), '--port', '0']
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)

    assert done.returncode == 1
    assert f'--data-dir: {tmp_path / "webhookd.sqlite"}: file is not a database' in done.stderr
    assert 'Traceback' not in done.stderr


def test_demonstration_names_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / 'file').touch()
    command = [str(COMMANDS / 'wazo-webhookd-demo'), '--once', '--data-dir', str(tmp_path / 'file')]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)

    assert done.returncode == 1
    assert done.stderr == f'wazo-webhookd-demo: --data-dir: {tmp_path / "file"}: File exists\n'


def test_demonstration_shows_the_request_and_ends() -> None:
    done = subprocess.run(
        [str(COMMANDS / 'wazo-webhookd-demo'), '--once'], capture_output=True, text=True, timeout=60, check=False
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert 'POST /hello HTTP/1.1' in done.stdout
    assert '"Lovelace"' in done.stdout
    assert '\x1b' not in done.stdout
