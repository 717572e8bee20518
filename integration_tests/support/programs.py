"""A child process: started with a log file, waited for with a deadline, stopped in every way there is."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil


class Program:
    """One run of a command in a session of its own; ``output`` is what it wrote so far."""

    def __init__(
        self,
        command: Sequence[str],
        log: Path,
        *,
        environment: Mapping[str, str] | None = None,
        directory: Path | None = None,
        user: str | None = None,
    ) -> None:
        self.command = list(command)
        self.log = log
        self.started_at = time.monotonic()
        with log.open('ab') as file:
            self.process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                env=None if environment is None else dict(environment),
                cwd=directory,
                user=user,
                group=user,
                extra_groups=[] if user else None,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def output(self) -> str:
        return self.log.read_text(errors='replace')

    def alive(self) -> bool:
        return self.process.poll() is None

    def children(self) -> list[psutil.Process]:
        """All living descendants."""
        try:
            return psutil.Process(self.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []

    def send(self, number: int) -> None:
        self.process.send_signal(number)

    def freeze(self) -> None:
        self.send(signal.SIGSTOP)

    def thaw(self) -> None:
        self.send(signal.SIGCONT)

    def kill(self) -> None:
        """kill -9 of this process alone; its children find out by themselves."""
        self.process.kill()
        self.process.wait(10)

    def kill_all(self) -> None:
        """kill -9 of the process and all its descendants."""
        family = self.children()
        if self.alive():
            self.process.kill()
        for child in family:
            try:
                child.kill()
            except psutil.NoSuchProcess:
                continue
        psutil.wait_procs(family, 10)
        self.process.wait(10)

    def stop(self, seconds: float = 40, number: int = signal.SIGTERM) -> int:
        """Ask to end, wait, and return the exit code; AssertionError when it does not end in time."""
        if self.alive():
            self.send(number)
        return self.wait(seconds)

    def wait(self, seconds: float = 40) -> int:
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f'{self.command[0]} did not end within {seconds:g} s\n{self.tail()}') from None

    def clean_up(self) -> None:
        """Whatever state it is in: gone afterwards."""
        if self.alive():
            os.kill(self.pid, signal.SIGCONT)
        self.kill_all()

    def tail(self, lines: int = 60) -> str:
        return '\n'.join(self.output.splitlines()[-lines:])
