"""What arrives at systemd's journal for a log record, and when we send there."""

import logging
import os
import socket
import struct
import sys
from types import SimpleNamespace

import pytest

from wazo_webhookd.journald import MESSAGE_BYTES, JournalHandler, goes_to_journal


@pytest.fixture
def journal(tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journal:
        journal.bind(str(tmp_path / 'journal'))
        journal.settimeout(2)
        yield journal


@pytest.fixture
def handler(journal):
    handler = JournalHandler('wazo-webhookd', journal.getsockname())
    yield handler
    handler.close()


def entry(journal):
    """The fields, read as the journal reads them."""
    data, fields = journal.recv(1 << 20), {}
    while data:
        line, _, rest = data.partition(b'\n')
        name, sign, value = line.partition(b'=')
        if not sign:
            (length,) = struct.unpack_from('<Q', rest)
            value, rest = rest[8 : 8 + length], rest[9 + length :]
        fields[name.decode()] = value.decode()
        data = rest
    return fields


def record(level=logging.INFO, message='hello %s', *args):
    return logging.LogRecord('wazo_webhookd.bus', level, '/x/bus.py', 12, message, args or ('you',), None, '_connect')


def test_a_record_has_its_level_logger_and_place(journal, handler):
    handler.emit(record(logging.WARNING))

    assert entry(journal) == {
        'MESSAGE': 'hello you',
        'PRIORITY': '4',
        'SYSLOG_IDENTIFIER': 'wazo-webhookd',
        'LOGGER': 'wazo_webhookd.bus',
        'THREAD_NAME': 'MainThread',
        'CODE_FILE': '/x/bus.py',
        'CODE_LINE': '12',
        'CODE_FUNC': '_connect',
    }


@pytest.mark.parametrize(
    ('level', 'priority'),
    [(logging.DEBUG, '7'), (5, '7'), (logging.INFO, '6'), (logging.ERROR, '3'), (logging.CRITICAL, '2')],
)
def test_levels_become_priorities(journal, handler, level, priority):
    handler.emit(record(level))

    assert entry(journal)['PRIORITY'] == priority


@pytest.mark.parametrize('message', ['two\nlines', 'A=1\nPRIORITY=0\n', '\ud800 half a pair', ''])
def test_a_message_cannot_forge_fields(journal, handler, message):
    handler.emit(record(logging.INFO, '%s', message))

    fields = entry(journal)
    assert fields['PRIORITY'] == '6'
    assert fields['MESSAGE'].encode() == message.encode('utf-8', 'backslashreplace')


def test_a_huge_message_is_cut(journal, handler):
    handler.emit(record(logging.INFO, '%s', 'x' * 10_000_000))

    assert len(entry(journal)['MESSAGE']) < MESSAGE_BYTES + 20


def test_a_journal_that_was_restarted_is_found_again(journal, handler, tmp_path):
    path = journal.getsockname()
    os.unlink(path)
    journal.close()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as second:
        second.bind(path)
        second.settimeout(2)
        handler.emit(record())

        assert entry(second)['MESSAGE'] == 'hello you'


def test_no_journal_is_an_error_of_the_system(tmp_path):
    with pytest.raises(OSError):
        JournalHandler('wazo-webhookd', str(tmp_path / 'nothing'))


def test_the_journal_is_used_only_when_systemd_reads_the_stream(tmp_path):
    with (tmp_path / 'stream').open('w') as stream:
        found = os.fstat(stream.fileno())
        ours = f'{found.st_dev}:{found.st_ino}'

        assert goes_to_journal(stream, {'JOURNAL_STREAM': ours})
        assert not goes_to_journal(stream, {'JOURNAL_STREAM': f'{found.st_dev}:{found.st_ino + 1}'})
        assert not goes_to_journal(stream, {'JOURNAL_STREAM': 'rubbish'})
        assert not goes_to_journal(stream, {})


def test_a_stream_without_descriptor_is_not_the_journal():
    assert not goes_to_journal(SimpleNamespace(fileno=lambda: -1), {'JOURNAL_STREAM': '1:1'})
    assert sys.stderr is not None
