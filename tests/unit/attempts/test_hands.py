from __future__ import annotations

import threading

from wazo_webhookd.attempts.hands import Hands

SOON = 5.0


def test_jobs_run_side_by_side_on_as_many_threads_as_are_needed() -> None:
    hands = Hands(4)
    barrier = threading.Barrier(4)
    for number in range(4):
        hands.submit(number, lambda: barrier.wait(SOON) and None)

    assert hands.wait_idle(SOON)
    assert not barrier.broken
    names = set[str]()
    for number in range(50):
        hands.submit(number, lambda: names.add(threading.current_thread().name))
    assert hands.wait_idle(SOON)
    assert names <= {f'hand-{number}' for number in range(1, 5)}
    hands.close()


def test_no_more_threads_than_hands() -> None:
    hands = Hands(2)
    gate, running = threading.Event(), threading.Semaphore(0)

    def job() -> None:
        running.release()
        gate.wait(SOON)

    for number in range(5):
        hands.submit(number, job)
    running.acquire()
    running.acquire()

    assert not running.acquire(timeout=0.05)
    assert hands.busy == 5
    gate.set()
    assert hands.wait_idle(SOON)
    hands.close()


def test_failing_job_costs_no_hand() -> None:
    hands = Hands(1)

    def fail() -> None:
        raise SystemExit

    done = threading.Event()
    hands.submit(1, fail)
    hands.submit(2, done.set)

    assert done.wait(SOON)
    assert hands.wait_idle(SOON)
    hands.close()


def test_written_off_hand_is_not_waited_for_and_comes_back() -> None:
    changes: list[int] = []
    hands = Hands(2, lambda: changes.append(hands.lost))
    gate, started = threading.Event(), threading.Event()

    def hang() -> None:
        started.set()
        gate.wait(SOON)

    hands.submit('hanging', hang)
    started.wait(SOON)
    first, second = hands.write_off('hanging'), hands.write_off('hanging')

    assert (first, second) == (True, False)
    assert (hands.lost, hands.busy) == (1, 0)
    assert hands.wait_idle(0.01)
    done = threading.Event()
    hands.submit('next', done.set)
    assert done.wait(SOON)  # on the other hand
    gate.set()
    deadline = threading.Event()
    for _ in range(100):
        if not hands.lost:
            break
        deadline.wait(0.02)
    assert hands.lost == 0
    assert changes == [1, 0]
    barrier = threading.Barrier(2)
    for number in range(2):
        hands.submit(number, lambda: barrier.wait(SOON) and None)
    assert hands.wait_idle(SOON)  # two hands again
    hands.close()


def test_job_that_ended_cannot_be_written_off() -> None:
    hands = Hands(1)
    hands.submit('quick', lambda: None)
    hands.wait_idle(SOON)

    assert hands.write_off('quick') is False
    hands.close()
