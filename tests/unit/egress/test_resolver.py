from __future__ import annotations

import ipaddress
import threading
import time
from typing import Any

import pytest

from wazo_webhookd.egress.resolver import LookupFailed, SystemResolver

LOOPBACK = ipaddress.ip_address('127.0.0.1')


def test_callers_that_ask_for_the_same_name_share_one_look_up() -> None:
    asked: list[str] = []
    go = threading.Event()

    def look_up(name: str) -> list[Any]:
        asked.append(name)
        go.wait(5)
        return [LOOPBACK]

    resolver = SystemResolver(look_up)
    answers: list[Any] = []
    threads = [threading.Thread(target=lambda: answers.append(resolver.lookup('a', 5))) for _ in range(10)]
    for thread in threads:
        thread.start()
    time.sleep(0.05)
    go.set()
    for thread in threads:
        thread.join(5)

    assert answers == [[LOOPBACK]] * 10
    assert asked == ['a']


def test_nothing_is_remembered() -> None:
    asked: list[str] = []

    def look_up(name: str) -> list[Any]:
        asked.append(name)
        return [LOOPBACK]

    resolver = SystemResolver(look_up)
    for _ in range(3):
        resolver.lookup('a', 5)

    assert len(asked) == 3


def test_a_look_up_that_hangs_ends_for_its_caller() -> None:
    go = threading.Event()
    resolver = SystemResolver(lambda _: [] * go.wait(5))
    started = time.monotonic()

    with pytest.raises(LookupFailed, match='no answer in time to the look-up of a'):
        resolver.lookup('a', 0.1)

    assert time.monotonic() - started < 1
    go.set()


def test_look_ups_under_way_are_bounded() -> None:
    go = threading.Event()
    resolver = SystemResolver(lambda _: [] * go.wait(5), max_lookups=2)
    for name in ('a', 'b'):
        with pytest.raises(LookupFailed):
            resolver.lookup(name, 0.01)

    with pytest.raises(LookupFailed, match='too many'):
        resolver.lookup('c', 5)
    go.set()


def _fails(error: Exception) -> Any:
    def look_up(name: str) -> list[Any]:
        raise error

    return look_up


@pytest.mark.parametrize(
    ('look_up', 'words'),
    [
        (lambda _: [], 'a has no address'),
        (_fails(OSError(-2, 'Name or service not known')), 'cannot look up a: Name or service not known'),
        (_fails(UnicodeError('label too long')), 'cannot look up a: label too long'),
        (_fails(RuntimeError('broken')), 'broken'),
    ],
)
def test_a_name_without_address_says_why(look_up: Any, words: str) -> None:
    with pytest.raises(LookupFailed, match=words):
        SystemResolver(look_up).lookup('a', 5)


def test_helpers_are_used_again() -> None:
    seen: set[str] = set()

    def look_up(name: str) -> list[Any]:
        seen.add(threading.current_thread().name + str(threading.get_ident()))
        return [LOOPBACK]

    resolver = SystemResolver(look_up)
    for number in range(20):
        resolver.lookup(str(number), 5)
        time.sleep(0.005)

    assert len(seen) < 5
