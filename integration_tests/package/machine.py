"""A folder with a Debian in it, running: with its own systemd, and a network of its own with nobody else in it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import IO, Any

ENVIRONMENT = {
    'PATH': '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
    'HOME': '/root',
    'LANG': 'C.UTF-8',
    'DEBIAN_FRONTEND': 'noninteractive',
    'TERM': 'dumb',
}
BOOT_SECONDS = 90


class Failed(AssertionError):
    """A command ended otherwise than expected."""


class Machine:
    """``boot`` it, run commands in it, ``shut_down``."""

    def __init__(self, root: Path, log: Path) -> None:
        self.root = root
        self._log = log
        self._leader = 0
        self._nspawn: subprocess.Popen[bytes] | None = None
        self._background: list[subprocess.Popen[bytes]] = []

    def boot(self) -> None:
        """Returns when everything that starts by itself has. Raises Failed."""
        command = ['systemd-nspawn', '--quiet', '--boot', '--private-network', '--register=no', '--keep-unit']
        command += ['--link-journal=no', f'--machine=webhookd-{os.getpid()}', f'--directory={self.root}']
        with self._log.open('ab') as log:
            self._nspawn = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )
        deadline = time.monotonic() + BOOT_SECONDS
        while time.monotonic() < deadline and self._nspawn.poll() is None:
            self._leader = self._leader or _child_of(self._nspawn.pid)
            if self._leader:
                state = self.try_run('systemctl', 'is-system-running').stdout.strip()
                if state in ('running', 'degraded'):
                    return
            time.sleep(0.2)
        raise Failed(f'the machine does not boot:\n{self._log.read_text(errors="replace")[-3000:]}')

    @property
    def booted(self) -> bool:
        return self._nspawn is not None and self._nspawn.poll() is None and self._leader > 0

    def shut_down(self) -> None:
        for process in self._background:
            process.kill()
            process.wait()
        if self._nspawn is not None and self._nspawn.poll() is None:
            self._nspawn.send_signal(signal.SIGTERM)  # powers it off
            try:
                self._nspawn.wait(60)
            except subprocess.TimeoutExpired:
                self._nspawn.kill()
                self._nspawn.wait()

    # -- commands ----------------------------------------------------------------------------------

    def try_run(
        self, *command: str, user: str | None = None, seconds: float = 300, text: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Whatever comes of it: standard error is with standard output."""
        return subprocess.run(
            self._enter(*command, user=user),
            env=ENVIRONMENT,
            input=text,
            stdin=subprocess.DEVNULL if text is None else None,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors='replace',
            timeout=seconds,
            check=False,
        )

    def run(self, *command: str, **options: Any) -> str:
        """Its output. Raises Failed unless it ends with 0."""
        done = self.try_run(*command, **options)
        if done.returncode:
            raise Failed(f'{" ".join(command)} ended with {done.returncode}\n{done.stdout}')
        return done.stdout

    def sh(self, script: str, **options: Any) -> str:
        return self.run('sh', '-ec', script, **options)

    def start(self, *command: str, log: IO[bytes] | int = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
        """Run in the background until the machine is shut down."""
        process = subprocess.Popen(
            self._enter(*command), env=ENVIRONMENT, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
        )
        self._background.append(process)
        return process

    def _enter(self, *command: str, user: str | None = None) -> list[str]:
        as_user = ['runuser', '-u', user, '--'] if user else []
        return ['nsenter', '--target', str(self._leader), '--all', '--', *as_user, *command]

    # -- files -------------------------------------------------------------------------------------

    def path(self, path: str) -> Path:
        return self.root / path.lstrip('/')

    def write(self, path: str, text: str) -> None:
        self.path(path).parent.mkdir(parents=True, exist_ok=True)
        self.path(path).write_text(text, encoding='utf-8')

    def read(self, path: str) -> str:
        return self.path(path).read_text(encoding='utf-8', errors='replace')

    # -- services ----------------------------------------------------------------------------------

    def property(self, unit: str, name: str) -> str:
        return self.run('systemctl', 'show', '--value', '-p', name, unit).strip()

    def journal(self, unit: str, lines: int = 30) -> str:
        return self.run('journalctl', '--no-pager', '-u', unit, '-n', str(lines))

    def call(self, method: str, path: str, token: str, body: Any = None) -> tuple[int, Any]:
        """Speak to the daemon's REST API; status and decoded answer."""
        command = ['curl', '-sS', '-m', '20', '-X', method, '-w', '\n%{http_code}', '-H', f'X-Auth-Token: {token}']
        if body is not None:
            command += ['-H', 'Content-Type: application/json', '--data-binary', json.dumps(body)]
        answer, _, status = self.run(*command, f'http://127.0.0.1:9300/1.0{path}').rpartition('\n')
        return int(status), json.loads(answer) if answer.strip() else None


def _child_of(process: int) -> int:
    """systemd-nspawn has one: the first process of the machine."""
    try:
        children = Path(f'/proc/{process}/task/{process}/children').read_text().split()
    except OSError:
        return 0
    return int(children[0]) if children else 0
