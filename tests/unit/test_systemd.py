"""What systemd is told (sd_notify), and when it is told nothing any more."""

import os
import socket

import pytest

from wazo_webhookd.systemd import Manager, Watchdog


@pytest.fixture
def ear(tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear:
        ear.bind(str(tmp_path / 'notify'))
        ear.setblocking(False)
        yield ear


def heard(ear):
    said = []
    while True:
        try:
            said.append(ear.recv(4096).decode().split('\n'))
        except BlockingIOError:
            return said


def test_nobody_listening_is_no_trouble():
    manager = Manager.from_environment({})
    manager.ready('fine')

    assert manager.watchdog_seconds is None


def test_a_listener_that_is_gone_is_no_trouble(tmp_path):
    Manager(str(tmp_path / 'gone')).ready('fine')


def test_variables_are_not_left_for_child_processes():
    environ = {'NOTIFY_SOCKET': '@x', 'WATCHDOG_USEC': '9000000', 'WATCHDOG_PID': str(os.getpid()), 'HOME': '/'}
    manager = Manager.from_environment(environ)

    assert environ == {'HOME': '/'}
    assert manager.watchdog_seconds == 9


@pytest.mark.parametrize(
    'environ',
    [
        {'NOTIFY_SOCKET': '@x', 'WATCHDOG_USEC': '9000000', 'WATCHDOG_PID': '1'},
        {'NOTIFY_SOCKET': '@x', 'WATCHDOG_USEC': '0'},
        {'NOTIFY_SOCKET': '@x', 'WATCHDOG_USEC': 'much'},
        {'WATCHDOG_USEC': '9000000'},
    ],
    ids=['of another process', 'off', 'unreadable', 'nobody to tell'],
)
def test_no_watchdog(environ):
    assert Manager.from_environment(environ).watchdog_seconds is None


def test_ready_comes_with_a_line_for_people(ear):
    Manager(ear.getsockname()).ready('12 subscriptions,\nbus connected')

    assert heard(ear) == [['READY=1', 'STATUS=12 subscriptions, bus connected']]


def test_the_same_status_is_sent_once(ear):
    manager = Manager(ear.getsockname())
    manager.ready('one')
    manager.status('one')
    manager.status('two')
    manager.status('two')

    assert heard(ear) == [['READY=1', 'STATUS=one'], ['STATUS=two']]


def test_reloading_says_when_it_began(ear):
    Manager(ear.getsockname()).reloading()

    ((what, when),) = heard(ear)
    assert what == 'RELOADING=1'
    assert when.startswith('MONOTONIC_USEC=')


def test_stopping_asks_for_the_time_it_needs(ear):
    Manager(ear.getsockname()).stopping(40)

    assert heard(ear)[0][:2] == ['STOPPING=1', 'EXTEND_TIMEOUT_USEC=40000000']


def test_an_abstract_address_is_understood():
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear:
        ear.bind(f'\0webhookd-test-{os.getpid()}')
        ear.setblocking(False)
        Manager('@' + ear.getsockname().decode()[1:]).alive()

        assert heard(ear) == [['WATCHDOG=1']]


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


def test_alive_is_said_as_long_as_every_loop_comes_round(ear):
    clock = Clock()
    beats = {'intake': 1000.0, 'admitter': 1000.0}
    watchdog = Watchdog(
        Manager(ear.getsockname(), 90), {name: lambda name=name: beats[name] for name in beats}, lambda: '', clock
    )
    watchdog.look()
    assert heard(ear) == [['WATCHDOG=1']]

    clock.now = 1061.0
    beats['intake'] = 1060.0
    watchdog.look()
    assert heard(ear) == []

    beats['admitter'] = 1060.5
    watchdog.look()
    assert heard(ear) == [['WATCHDOG=1']]


def test_a_loop_that_hangs_is_named_once(ear, caplog):
    clock = Clock()
    watchdog = Watchdog(Manager(ear.getsockname(), 90), {'admitter': lambda: 1000.0}, lambda: '', clock)
    clock.now = 1100.0
    watchdog.look()
    watchdog.look()

    assert [record.message for record in caplog.records] == [
        'admitter has not come round for 60 s: systemd will start the program again'
    ]


def test_whoever_ends_may_take_the_time(ear):
    clock = Clock()
    watchdog = Watchdog(Manager(ear.getsockname(), 90), {'admitter': lambda: 1000.0}, lambda: '', clock)
    clock.now = 2000.0
    watchdog.let_end()
    watchdog.look()

    assert heard(ear) == [['WATCHDOG=1']]


def test_without_a_watchdog_nothing_is_said(ear):
    watchdog = Watchdog(Manager(ear.getsockname()), {'admitter': lambda: 0.0}, lambda: '', Clock())
    watchdog.look()

    assert heard(ear) == []
