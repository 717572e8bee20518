"""Log lines go where operators look for them."""

import contextlib
import logging
import os
import sys
import threading

import pytest

from wazo_webhookd import config, logs, users


@pytest.fixture(autouse=True)
def logging_as_before(monkeypatch):
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    capped = {name: logging.getLogger(name).level for name in logs.CAPPED}
    monkeypatch.setattr(sys, 'excepthook', sys.excepthook)
    monkeypatch.setattr(threading, 'excepthook', threading.excepthook)
    yield
    for handler in root.handlers:
        if handler not in handlers:
            with contextlib.suppress(OSError):  # the full disk
                handler.close()
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, before in capped.items():
        logging.getLogger(name).setLevel(before)


def test_errors_go_to_standard_error_the_rest_to_standard_output_all_to_the_file(tmp_path, capfd):
    logs.set_up(config.from_tree({'log_file': str(tmp_path / 'log')}))
    logging.getLogger('wazo-webhookd').info('all is well')
    logging.getLogger('wazo-webhookd').error('it is not')
    logging.getLogger('wazo-webhookd').debug('nobody asked')
    out, err = capfd.readouterr()

    assert 'all is well' in out
    assert 'it is not' not in out
    assert 'it is not' in err
    assert 'all is well' not in err
    lines = (tmp_path / 'log').read_text().splitlines()
    assert len(lines) == 2
    assert lines[0].endswith(f'[{os.getpid()}] (INFO) (wazo-webhookd): all is well')


def test_libraries_are_heard_from_warning_upwards(capfd):
    logs.set_up(config.from_tree({'log_file': None, 'debug': True}))
    logging.getLogger('urllib3.connectionpool').debug('a connection')
    logging.getLogger('amqp').warning('a warning')
    logging.getLogger('ours').debug('a detail')
    out, _ = capfd.readouterr()

    assert 'a connection' not in out
    assert 'a warning' in out
    assert 'a detail' in out


def test_passwords_of_the_configuration_never_get_into_a_line(tmp_path, capfd):
    logs.set_up(config.from_tree({'log_file': str(tmp_path / 'log'), 'auth': {'password': 'very-secret-word'}}))
    logging.getLogger('x').info('answer was %s', {'x': 'very-secret-word'})

    assert 'very-secret-word' not in capfd.readouterr().out + (tmp_path / 'log').read_text()


def test_file_that_cannot_be_opened_is_named_with_the_cause(tmp_path):
    with pytest.raises(
        logs.LogFileError, match=r'log_file: cannot open /no/such/log as \w+: No such file or directory'
    ):
        logs.set_up(config.from_tree({'log_file': '/no/such/log'}))


def test_full_disk_costs_one_line_a_minute(capfd):
    logs.set_up(config.from_tree({'log_file': '/dev/full'}))
    for _ in range(50):
        logging.getLogger('x').info('hello')
    out, err = capfd.readouterr()

    assert err == 'wazo-webhookd: cannot write the log: [Errno 28] No space left on device\n'
    assert out.count('hello') == 50


def test_uncaught_exception_is_critical(capfd):
    logs.set_up(config.from_tree({'log_file': None}))
    thread = threading.Thread(target=lambda: 1 / 0)
    thread.start()
    thread.join()
    _, err = capfd.readouterr()

    assert '(CRITICAL) (wazo-webhookd): Uncaught exception' in err
    assert 'ZeroDivisionError' in err


def test_unknown_user_is_named():
    with pytest.raises(users.UserError, match='Unknown user no-such-user'):
        users.become('no-such-user')


@pytest.mark.parametrize('name', [None, ''])
def test_no_user_means_stay_who_started_it(name):
    before = os.geteuid()
    users.become(name)

    assert os.geteuid() == before
