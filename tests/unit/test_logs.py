import io
import logging
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from integration_tests.support.until import until
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


# -- many threads


class Slow:
    """A stream that writes nothing until it may."""

    def __init__(self):
        self.asked = threading.Event()
        self.may = threading.Event()
        self.written = []

    def write(self, text):
        self.asked.set()
        assert self.may.wait(10)
        self.written.append(text)

    def flush(self):
        pass


@pytest.fixture
def slow():
    logger = logging.Logger('slow')
    handler = logs._Stream(Slow())
    handler.setFormatter(logs.Redacting('%(message)s'))
    logger.addHandler(handler)
    yield logger, handler.stream
    handler.stream.may.set()


def in_a_thread(call, *args):
    thread = threading.Thread(target=call, args=args, daemon=True)
    thread.start()
    return thread


def test_nobody_waits_for_the_lines_of_others(slow):
    logger, stream = slow
    writer = in_a_thread(logger.info, 'first')
    assert stream.asked.wait(10)

    for number in range(3):
        in_a_thread(logger.info, 'more %d', number).join(10)  # comes back although nothing is written

    assert stream.written == []
    stream.may.set()
    writer.join(10)
    assert stream.written == ['first\n', 'more 0\nmore 1\nmore 2\n']


def test_a_warning_is_written_when_its_call_returns(slow):
    logger, stream = slow
    writer = in_a_thread(logger.info, 'first')
    assert stream.asked.wait(10)
    warner = in_a_thread(logger.warning, 'the end is near')
    warner.join(0.05)

    assert warner.is_alive()
    stream.may.set()
    warner.join(10)
    assert ''.join(stream.written) == 'first\nthe end is near\n'
    writer.join(10)


def test_a_thread_is_not_kept_for_long_by_what_others_say(slow):
    logger, stream = slow
    writers = []

    def write_while_another_says_more(text):
        writers.append(threading.current_thread())
        if len(writers) < 200:
            in_a_thread(logger.info, 'more').join(10)

    stream.write = write_while_another_says_more
    logger.info('first')
    until(lambda: len(writers) == 200, 10)

    assert 2 <= writers.count(threading.current_thread()) <= 21


def test_lines_of_many_threads_all_arrive_each_whole_and_in_its_order(tmp_path):
    logger = logging.Logger('many')
    handler = logs._File(str(tmp_path / 'log'))
    handler.setFormatter(logs.Redacting('%(message)s'))
    logger.addHandler(handler)

    def say(who):
        for number in range(300):
            logger.info('%d %d', who, number)

    threads = [in_a_thread(say, who) for who in range(8)]
    for thread in threads:
        thread.join(60)
    handler.close()
    lines = [tuple(map(int, line.split())) for line in (tmp_path / 'log').read_text().splitlines()]

    assert len(lines) == 8 * 300
    for who in range(8):
        assert [number for by, number in lines if by == who] == list(range(300))


def test_a_line_that_cannot_be_made_does_not_keep_others_from_the_log(capsys):
    logger = logging.Logger('bad')
    stream = io.StringIO()
    handler = logs._Stream(stream)
    handler.setFormatter(logs.Redacting('%(message)s'))
    logger.addHandler(handler)
    logger.info('%d', 'no number')
    logger.info('next')

    assert stream.getvalue() == 'next\n'
    assert 'cannot write the log' in capsys.readouterr().err


def test_a_log_file_whose_folder_went_away_is_written_again_when_it_is_back(tmp_path, capsys):
    folder = tmp_path / 'folder'
    folder.mkdir()
    logger = logging.Logger('file')
    handler = logs._File(str(folder / 'log'))
    handler.setFormatter(logs.Redacting('%(message)s'))
    logger.addHandler(handler)
    logger.info('before')
    folder.rename(tmp_path / 'away')
    logger.info('nowhere')
    folder.mkdir()
    logger.info('after')
    handler.close()

    assert (folder / 'log').read_text() == 'after\n'
    assert (tmp_path / 'away' / 'log').read_text() == 'before\n'
    assert 'cannot write the log' in capsys.readouterr().err
