"""Nothing else installed or running: standalone by itself, and the demonstration."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import time

import pytest

from integration_tests.support.auth_double import AuthDouble
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


def test_the_first_delivery_does_not_wait(alone: Site, receiver: Receiver) -> None:
    program = alone.standalone()
    program.rest.subscribe(receiver.url('/x'), ['hello'])
    began = time.time()
    program.rest.send('hello')
    (request,) = receiver.wait_for(1)

    print(f'[first delivery {1000 * (request.at - began):.0f} ms after its event]')
    assert request.at - began < 0.4


def test_start_prints_where_it_listens_the_token_and_lines_to_copy(alone: Site) -> None:
    program = alone.standalone()

    assert f':{program.port}' in program.output
    assert program.rest.token in program.output
    assert program.output.count('curl') >= 2
    assert stat.S_IMODE(os.stat(alone.folder / 'data' / 'token').st_mode) == 0o600


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


def test_demonstration_shows_the_request_and_ends() -> None:
    done = subprocess.run(
        [str(COMMANDS / 'wazo-webhookd-demo'), '--once'], capture_output=True, text=True, timeout=60, check=False
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert 'POST /hello HTTP/1.1' in done.stdout
    assert '"Lovelace"' in done.stdout
    assert '\x1b' not in done.stdout
