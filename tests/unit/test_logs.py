import io
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wazo_webhookd import logs
from wazo_webhookd.masking import MASK

TOKEN = '5b1f6c5e-3f0f-4e5b-9d55-0c4c5a9d7f11'


@pytest.mark.parametrize(
    'line',
    [
        f'X-Auth-Token: {TOKEN}',
        f"headers {{'X-Auth-Token': '{TOKEN}', 'Accept': 'x'}}",
        f'GET /1.0/subscriptions?token={TOKEN}&limit=1',
        f'404 Client Error for url: http://localhost:9497/0.1/token/{TOKEN}?scope=webhookd.status.read',
        f"Unauthorized: {{'invalid_token': '{TOKEN}', 'reason': 'x'}}",
        f'{{"data": {{"token": "{TOKEN}"}}}}',
        f'Authorization: Bearer {TOKEN}',
        f'Authorization: Basic {TOKEN}',
        f'authorization=b"{TOKEN}"',
        f'service_key: {TOKEN}',
        f'cannot connect to amqp://guest:{TOKEN}@localhost',
    ],
)
def test_token_never_gets_into_a_line(line):
    assert TOKEN not in logs.redacted(line)
    assert MASK in logs.redacted(line)


@pytest.mark.parametrize(
    'line',
    [
        'No service token: retry in 4 s',
        'token renewed',
        'Subscription 5b1f6c5e-3f0f-4e5b-9d55-0c4c5a9d7f11 created',
        'service_token: None',
        '{"service_token": {"status": "ok"}, "database": {"status": "ok"}}',
        'GET http://localhost:9300/1.0/subscriptions?limit=5 200',
    ],
)
def test_harmless_line_stays_as_it_is(line):
    assert logs.redacted(line) == line


@given(secret=st.text('abcdefghijkl0123456789-', min_size=16, max_size=40), before=st.text(), after=st.text())
def test_what_was_hidden_is_never_printed(secret, before, after):
    logs.hide(secret)

    assert secret not in logs.redacted(f'{before}{secret}{after}')


def test_short_secrets_do_not_black_out_words():
    logs.hide('guest')

    assert logs.redacted('guest failed to load') == 'guest failed to load'


def test_only_the_latest_secrets_are_remembered():
    for number in range(200):
        logs.hide(f'secret-{number:04}')

    assert len(logs._hidden) == 64


def test_arguments_and_tracebacks_are_covered():
    handler = logging.StreamHandler(io.StringIO())
    handler.setFormatter(logs.Redacting('%(message)s'))
    try:
        raise ValueError(f'token={TOKEN}')
    except ValueError:
        record = logging.getLogger('x').makeRecord('x', 40, '', 1, 'sent %s', ({'token': TOKEN},), exc_info=None)
        import sys

        record.exc_info = sys.exc_info()
    handler.handle(record)
    text = handler.stream.getvalue()

    assert TOKEN not in text
    assert 'ValueError' in text
