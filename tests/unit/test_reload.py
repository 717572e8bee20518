"""SIGHUP: the log level is read again and the log file opened again."""

import logging
import os
import signal

import pytest

from wazo_webhookd import logs
from wazo_webhookd.config import from_tree
from wazo_webhookd.exceptions import ConfigError
from wazo_webhookd.reload import Reload
from wazo_webhookd.signals import Stop


@pytest.fixture
def root():
    """The root logger, given back as it was."""
    root = logging.getLogger()
    before = root.level, root.handlers[:]
    yield root
    for handler in root.handlers:
        if handler not in before[1]:
            handler.close()
    root.handlers[:] = before[1]
    root.setLevel(before[0])


@pytest.fixture
def handlers_kept():
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_everybody_gets_the_configuration_read_again():
    old, new, heard = from_tree(), from_tree({'log_level': 'debug'}), []
    reload = Reload(old, lambda: new)
    reload.subscribe(heard.append)
    reload()

    assert heard == [new]


def test_a_configuration_that_cannot_be_used_changes_nothing(caplog):
    def reread():
        raise ConfigError(['log_level: loud: expected one of …'])

    old, heard = from_tree(), []
    reload = Reload(old, reread)
    reload.subscribe(heard.append)
    reload()

    assert heard == [old]
    assert 'log_level: loud' in caplog.text


def test_one_that_fails_does_not_keep_it_from_the_others(caplog):
    heard = []
    reload = Reload(from_tree())
    reload.subscribe(lambda config: 1 / 0)
    reload.subscribe(heard.append)
    reload()

    assert len(heard) == 1
    assert 'ZeroDivisionError' in caplog.text


def test_level_and_file_of_the_log_are_taken_on(tmp_path, root):
    path = tmp_path / 'log'
    logs.set_up(from_tree({'log_file': str(path)}))
    logging.getLogger('test').info('one')
    path.rename(tmp_path / 'log.1')
    path.touch()
    logs.reload(from_tree({'log_file': str(path), 'log_level': 'warning'}))
    logging.getLogger('test').info('two')
    logging.getLogger('test').warning('three')

    assert 'one' in (tmp_path / 'log.1').read_text()
    assert 'two' not in path.read_text()
    assert 'three' in path.read_text()


def test_a_log_file_that_cannot_be_opened_again_stays_open(tmp_path, root, capfd):
    folder = tmp_path / 'folder'
    folder.mkdir()
    config = from_tree({'log_file': str(folder / 'log')})
    logs.set_up(config)
    folder.rename(tmp_path / 'moved')
    logs.reload(config)

    assert 'cannot open' in capfd.readouterr().err
    (file,) = (handler for handler in root.handlers if isinstance(handler, logging.FileHandler))
    assert not file.stream.closed


def test_hangup_is_heard_and_does_not_end_the_program(handlers_kept):
    heard = []
    stop = Stop(on_hurry=lambda: None, on_hangup=lambda: heard.append('hangup') or os.kill(os.getpid(), signal.SIGTERM))
    stop.listen()
    os.kill(os.getpid(), signal.SIGHUP)

    assert stop.wait() == 0
    assert heard == ['hangup']


def test_hangup_ends_a_program_that_has_nothing_to_read_again(handlers_kept):
    stop = Stop(on_hurry=lambda: None)
    stop.listen()
    os.kill(os.getpid(), signal.SIGHUP)

    assert stop.wait() == 0


def test_the_first_exit_code_asked_for_counts():
    stop = Stop(on_hurry=lambda: None)
    stop.ask(3)
    stop.ask(71)

    assert stop.wait() == 3
