"""One row of the table: events go in, something dies at random moments, everything has to come out."""

from __future__ import annotations

import json
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from random import Random
from typing import Any

import psutil
import psycopg2

from integration_tests.faults.load import Load, Send
from integration_tests.support.losses import SEED, TABLE, Row
from integration_tests.support.receiver import Answer, Received, Receiver
from integration_tests.support.site import Rest, Site
from integration_tests.support.until import until

SETTLING = 2.5
"""Seconds that a message of an attempt already made lies about at most, before its worker asks and drops it."""


@dataclass
class Flight:
    """What was in flight in some processes when they died or froze: requests over their connections at that moment of
    attempts that are not recorded."""

    at: float
    ports: set[int]
    recorded: set[str]

    def deliveries(self, requests: Iterable[Received]) -> set[str]:
        return {
            request.delivery
            for request in requests
            if request.peer in self.ports and request.at <= self.at + 0.5 and request.delivery not in self.recorded
        }


class Run(ExitStack):
    """``chance`` draws moments and victims from the seed of the session. To be entered: it closes what it uses."""

    def __init__(
        self,
        fault: str,
        size: str,
        site: Site,
        *,
        receivers: Iterable[Receiver] = (),
        recorded: Callable[[], set[str]] | None = None,
        states: Callable[[], dict[str, int]] | None = None,
    ) -> None:
        super().__init__()
        self.fault = f'{fault} ({size})'
        self.site = site
        self.chance = Random(f'{SEED}:{fault}:{size}')
        self.receivers = [*receivers] or [site.receiver]
        self.began = time.monotonic()
        self.flights: list[Flight] = []
        self.excused: set[str] = set()
        """Deliveries that were in flight otherwise than in a process that died."""

        self.load: Load | None = None
        self.recorded = recorded or self._recorded
        self.states = states or self._states

    # -- events ------------------------------------------------------------------------------------

    def crowd(self, rest: Rest, count: int, *answers: Answer, always: Answer | None = None) -> tuple[str, ...]:
        """So many receivers, each with a subscription; the names of their events. Much is in flight at any time,
        however little is known of each endpoint."""
        names = tuple(f'tick-{self.site.queue[-8:]}-{number}' for number in range(count))
        self.receivers = [self.enter_context(Receiver()) for _ in names]
        for number, (name, receiver) in enumerate(zip(names, self.receivers, strict=True)):
            receiver.answer('/x', *answers[number::count], always=always)
            rest.subscribe(receiver.url('/x'), [name])
        return names

    def publish(self, events: int, pace: float, names: tuple[str, ...] = ('tick',)) -> Load:
        """Publish on the bus, as fast as ``pace`` a second, on a connection and a thread of their own."""
        bus = self.site.another_bus()
        self.callback(bus.close)
        bus.patience = 120

        def send(number: int) -> bool:
            before = bus.repetitions
            bus.publish(names[number % len(names)], {'number': number})
            return bus.repetitions > before

        return self.send(send, events, pace)

    def send(self, send: Send, events: int, pace: float) -> Load:
        self.load = Load(send, events, pace).start()
        self.callback(self.load.stop)
        return self.load

    def moments(self, count: int, *, first: float = 0.08, last: float = 0.92) -> list[int]:
        """As many random numbers of events, ascending."""
        events = self.loaded.events
        return sorted(self.chance.sample(range(int(events * first), int(events * last)), count))

    def amid_deliveries(self) -> None:
        """Wait until something is delivered from now on, and a random moment longer."""
        came = len(self.requests())
        until(lambda: len(self.requests()) > came, 60, what='something is delivered')
        time.sleep(self.chance.random() / 2)

    @property
    def loaded(self) -> Load:
        assert self.load is not None, 'nothing was sent yet'
        return self.load

    # -- faults ------------------------------------------------------------------------------------

    def kill(self, *processes: psutil.Process) -> Flight:
        """kill -9, after having looked at what the processes were doing at that very moment."""
        flight = self.freeze(*processes)
        for process in processes:
            process.send_signal(signal.SIGKILL)
        return flight

    def freeze(self, *processes: psutil.Process) -> Flight:
        """SIGSTOP; what they were doing."""
        for process in processes:
            process.send_signal(signal.SIGSTOP)
        return self.look(*processes)

    def look(self, *processes: psutil.Process) -> Flight:
        """What they are doing now, to be counted as in flight at a fault."""
        at = time.time()
        ours = {receiver.port for receiver in self.receivers}
        ports: set[int] = set()
        for process in processes:
            with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                ports |= {
                    connection.laddr.port
                    for connection in process.net_connections('tcp4')
                    if connection.raddr and connection.raddr.port in ours
                }
        flight = Flight(at, ports, self.recorded())
        self.flights.append(flight)
        return flight

    # -- the end -----------------------------------------------------------------------------------

    def requests(self) -> list[Received]:
        return [request for receiver in self.receivers for request in list(receiver.requests)]

    def arrived(self) -> dict[int, float]:
        """When each event came for the first time, by its number."""
        first: dict[int, float] = {}
        for request in self.requests():
            first.setdefault(json.loads(request.body)['number'], request.at)
        return first

    def finish(self, seconds: float, owed: Iterable[int] | None = None, *, deaths: bool = True) -> Row:
        """Wait until everything that is owed has arrived and is recorded as a success; the figures.

        Asserts that nothing was lost, that no event was taken in twice, and that what was sent twice was in flight when
        something died (``deaths``: the test knows of all).
        """
        load = self.loaded
        load.done()
        wanted = set(range(load.events) if owed is None else owed)
        problem = ''
        try:
            until(lambda: not wanted - self.arrived().keys(), seconds, every=0.2, what='everything arrives')
            until(self._all_ended, seconds, every=0.2, what='everything is recorded', catching=psycopg2.Error)
        except AssertionError as error:
            problem = str(error)
        took = time.monotonic() - self.began
        self._settle()
        row = self._row(wanted, took)
        TABLE.rows.append(row)
        print(f'\n{row}')
        assert not problem, f'{problem}\n{self._rest()}'
        self._check(row, deaths)
        return row

    def _row(self, wanted: set[int], took: float) -> Row:
        arrived, sent = self.arrived(), self.loaded.sent
        counts = Counter(request.delivery for request in self.requests())
        return Row(
            self.fault,
            len(wanted),
            len(wanted - arrived.keys()),
            sum(counts.values()) - len(counts),
            len(self._in_flight()),
            took,
            max((at - sent[number] for number, at in arrived.items() if number in sent), default=0.0),
        )

    def _in_flight(self) -> list[str]:
        """Once for each time that something died around it."""
        requests = self.requests()
        return [*(delivery for flight in self.flights for delivery in flight.deliveries(requests)), *self.excused]

    def _check(self, row: Row, deaths: bool) -> None:
        requests = self.requests()
        counts = Counter(request.delivery for request in requests)
        allowed = Counter(self._in_flight())
        guilty = {
            delivery: (count, allowed[delivery]) for delivery, count in counts.items() if count - 1 > allowed[delivery]
        }
        assert row.lost == 0
        assert not deaths or not guilty, f'sent twice though not in flight at any kill (sent, in flight): {guilty}'
        assert not deaths or row.doubled <= row.in_flight
        of_event: dict[int, set[str]] = {}
        for request in requests:
            of_event.setdefault(json.loads(request.body)['number'], set()).add(request.delivery)
        twice = {number for number, deliveries in of_event.items() if len(deliveries) > 1}
        assert twice <= self.loaded.repeated, f'taken in twice: {sorted(twice - self.loaded.repeated)}'

    def _settle(self) -> None:
        """Wait until nothing more comes."""
        if self.site.database:
            with suppress(AssertionError):
                until(lambda: not self.site.bus.depth(self.site.tasks_queue), 10, every=0.2)
        seen, since = -1, time.monotonic()
        deadline = since + 30
        while time.monotonic() - since < SETTLING and time.monotonic() < deadline:
            if (now := len(self.requests())) != seen:
                seen, since = now, time.monotonic()
            time.sleep(0.1)

    def _all_ended(self) -> bool:
        states = self.states()
        assert set(states) == {'success'}, states
        return True

    def _recorded(self) -> set[str]:
        return {row[0] for row in self.site.query('SELECT uuid FROM webhookd_subscription_log')}

    def _states(self) -> dict[str, int]:
        return dict(self.site.query('SELECT state, count(*) FROM webhookd_delivery GROUP BY state'))  # type: ignore[arg-type]

    def _rest(self) -> str:
        """The first rows that did not end, for whoever has to find out why."""
        try:
            rows: Any = self.site.query(
                'SELECT uuid, state, attempt, send, sent_at, due_at, held_by, deaths, reason, clock_timestamp()'
                " FROM webhookd_delivery WHERE state <> 'success' ORDER BY sequence LIMIT 10"
            )
        except psycopg2.Error as error:
            rows = [error]
        lost = sorted(set(range(self.loaded.events)) - self.arrived().keys())[:20]
        return '\n'.join([f'not arrived: {lost}', *map(str, rows)])


def delays(chance: Random, count: int, usual: float, slow: float, share: float = 0.05) -> list[Answer]:
    """Answers of which a ``share`` takes longer."""
    return [Answer(delay=slow if chance.random() < share else usual * (0.5 + chance.random())) for _ in range(count)]
