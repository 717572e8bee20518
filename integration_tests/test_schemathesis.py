"""Bad input of every kind, made from the API document: no 5xx, and no answer that contradicts the document."""

from __future__ import annotations

import subprocess
import sys

import pytest

from integration_tests.support.auth_double import AuthDouble
from integration_tests.support.receiver import Receiver
from integration_tests.support.servers import Postgres, Rabbit
from integration_tests.support.site import Site

SECONDS = 60
NOT_CHECKED = (
    # A document cannot say everything (what depends on `service`, characters that no database stores, who exists).
    'positive_data_acceptance',
    # `/subscriptions/services` is `/subscriptions/{subscription_uuid}` for methods other than GET.
    'allow_header_conformance',
)


@pytest.mark.timeout(240)
def test_no_answer_contradicts_the_api_document(tmp_path, receiver: Receiver) -> None:
    site = Site(tmp_path, Postgres(1), '', Rabbit(1), '/', AuthDouble(), receiver)
    daemon = site.standalone()
    try:
        daemon.rest.subscribe(receiver.url('/x'), ['hello'])
        daemon.rest.send('hello', {'who': 'world'})
        command = [
            sys.executable, '-m', 'schemathesis.cli', 'run',
            f'http://127.0.0.1:{daemon.port}/1.0/api/openapi.json',
            '--header', f'X-Auth-Token: {daemon.rest.token}',
            '--max-time', str(SECONDS),
            '--exclude-checks', ','.join(NOT_CHECKED),
            '--continue-on-failure',
            '--request-timeout', '20',
            '--warnings', 'off',
            '--output-truncate', 'false',
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=200, check=False)
        print(done.stdout[-2000:])

        assert done.returncode == 0, done.stdout + done.stderr
        assert 'Traceback' not in daemon.output
        assert daemon.rest.call('GET', '/status').json()['database'] == {'status': 'ok'}
    finally:
        site.clean_up()
