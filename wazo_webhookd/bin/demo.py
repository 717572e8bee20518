"""The command ``wazo-webhookd-demo``: show an event becoming a request, then let people play.

Starts ``wazo-webhookd --standalone`` as a child process and a small receiver, creates a subscription
and sends an event over REST, and prints the request that arrives.
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import IO, Any

from wazo_webhookd import __version__

START_SECONDS = 30
DELIVERY_SECONDS = 15
EVENT = {
    'name': 'user_created',
    'data': {'uuid': 'c1ab1b8c-4a5b-4d6e-9b7a-6f1e0c3d2a10', 'firstname': 'Ada', 'lastname': 'Lovelace'},
}


class DemoError(Exception):
    """The demonstration did not come about."""


@dataclass(frozen=True)
class Arrived:
    """A request at the receiver, as it was on the wire; ``at`` by time.perf_counter."""

    first_line: str
    headers: list[tuple[str, str]]
    body: bytes
    at: float


class Receiver(ThreadingHTTPServer):
    """Takes every request, answers 200, and keeps it in ``arrived``."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(('127.0.0.1', 0), _Handler)
        self.arrived: queue.Queue[Arrived] = queue.Queue()
        threading.Thread(target=self.serve_forever, args=(0.1,), daemon=True, name='receiver').start()

    @property
    def url(self) -> str:
        return f'http://127.0.0.1:{self.server_port}/hello'


class _Handler(BaseHTTPRequestHandler):
    server: Receiver
    protocol_version = 'HTTP/1.1'

    def _take(self) -> None:
        at = time.perf_counter()
        body = self.rfile.read(int(self.headers.get('Content-Length') or 0))
        self.server.arrived.put(Arrived(self.requestline, list(self.headers.items()), body, at))
        self.send_response(200)
        self.send_header('Content-Length', '0')
        self.end_headers()

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = _take

    def log_message(self, *_: Any) -> None:
        """What arrives is printed in a nicer form."""


class Standalone:
    """The child process, with a folder for its data and a log file in it."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        self.log = folder / 'log'
        self.base = f'http://127.0.0.1:{port}/1.0'
        command = [sys.executable, '-m', 'wazo_webhookd.bin.daemon', '--standalone']
        command += ['--data-dir', str(folder), '--port', str(port)]
        with self.log.open('wb') as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )
        import requests  # not needed to print the help

        self.session = requests.Session()
        self.session.trust_env = False

    def wait(self) -> None:
        """Return when REST answers and there are hands that deliver. Raises DemoError when that does not come about."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise DemoError(f'wazo-webhookd ended with exit code {self.process.returncode}:\n{self.story()}')
            try:
                self.session.headers['X-Auth-Token'] = self.token
                status = self.session.get(f'{self.base}/status', timeout=2)
                if status.ok and status.json()['deliveries']['window']:
                    return
            except OSError:
                pass  # not yet
            time.sleep(0.05)
        raise DemoError(f'wazo-webhookd was not ready within {START_SECONDS} s:\n{self.story()}')

    @property
    def token(self) -> str:
        return (self.folder / 'token').read_text().strip()

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        answer = self.session.post(self.base + path, json=body, timeout=10)
        if not answer.ok:
            raise DemoError(f'POST {path} was answered {answer.status_code}: {answer.text.strip()}')
        content: dict[str, Any] = answer.json()
        return content

    def story(self) -> str:
        """The last lines of its log."""
        return '\n'.join(f'  | {line}' for line in self.log.read_text(errors='replace').splitlines()[-25:])

    def stop(self) -> None:
        self.session.close()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


class Page:
    """Prints for people: colours on a terminal, none elsewhere."""

    def __init__(self, out: IO[str]) -> None:
        self.out = out
        self.colours = out.isatty() and os.environ.get('TERM') != 'dumb' and not os.environ.get('NO_COLOR')

    def line(self, text: str = '') -> None:
        print(text, file=self.out, flush=True)

    def bold(self, text: str) -> str:
        return f'\x1b[1m{text}\x1b[0m' if self.colours else text

    def dim(self, text: str) -> str:
        return f'\x1b[2m{text}\x1b[0m' if self.colours else text

    def green(self, text: str) -> str:
        return f'\x1b[32m{text}\x1b[0m' if self.colours else text

    def request(self, arrived: Arrived) -> None:
        self.line()
        self.line(f'    {self.bold(arrived.first_line)}')
        for name, value in arrived.headers:
            self.line(f'    {self.dim(name + ":")} {value}')
        self.line()
        for line in _readable(arrived.body).splitlines():
            self.line(f'    {line}')
        self.line()


def parser() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(prog='wazo-webhookd-demo', description='Show an event becoming an HTTP request.')
    options.add_argument('--once', action='store_true', help='end after the demonstration')
    options.add_argument('--port', metavar='N', type=int, help='port of the REST API (default: 9300 if it is free)')
    options.add_argument('--data-dir', metavar='DIR', help='keep the data here (default: a temporary folder)')
    options.add_argument('--version', action='version', version=f'wazo-webhookd-demo {__version__}')
    return options


def main(argv: Sequence[str] | None = None) -> int:
    """Run the demonstration; 0 when the event was delivered (and, without ``--once``, after Ctrl-C)."""
    asked = parser().parse_args(argv)
    page = Page(sys.stdout)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    temporary = None if asked.data_dir else tempfile.mkdtemp(prefix='wazo-webhookd-demo-')
    folder = Path(asked.data_dir or temporary or '').absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        print(f'wazo-webhookd-demo: --data-dir: {folder}: {error.strerror}', file=sys.stderr)
        return 1
    receiver = Receiver()
    standalone = None
    delivered = False
    try:
        started = time.perf_counter()
        standalone = Standalone(folder, asked.port or _usual_or_free_port())
        page.line(page.bold(f'wazo-webhookd {__version__}: an event becomes a request'))
        page.line()
        standalone.wait()
        page.line(f'  1. Started at {standalone.base} in {time.perf_counter() - started:.1f} s')
        _demonstrate(standalone, receiver, page)
        delivered = True
        if not asked.once:
            _go_on(standalone, receiver, page, bool(temporary))
    except DemoError as error:
        print(f'wazo-webhookd-demo: {error}', file=sys.stderr)
    except KeyboardInterrupt:
        page.line()
    finally:
        if standalone is not None:
            standalone.stop()
        receiver.shutdown()
        receiver.server_close()
        if temporary:
            shutil.rmtree(temporary, ignore_errors=True)
    return 0 if delivered else 1


def _demonstrate(standalone: Standalone, receiver: Receiver, page: Page) -> None:
    config = {'method': 'post', 'url': receiver.url}
    subscription = {'name': 'demonstration', 'service': 'http', 'events': [EVENT['name']], 'config': config}
    standalone.post('/subscriptions', subscription)
    page.line(f'  2. Subscribed: when {page.bold("user_created")} happens, POST it to {receiver.url}')
    sent = time.perf_counter()
    standalone.post('/events', EVENT)
    page.line('  3. Sent an event: user_created')
    try:
        arrived = receiver.arrived.get(timeout=DELIVERY_SECONDS)
    except queue.Empty:
        raise DemoError(f'nothing was delivered within {DELIVERY_SECONDS} s:\n{standalone.story()}') from None
    page.line(f'  4. {page.green("Delivered")} {(arrived.at - sent) * 1000:.0f} ms after it was sent:')
    page.request(arrived)


def _go_on(standalone: Standalone, receiver: Receiver, page: Page, temporary: bool) -> None:
    event = json.dumps({'name': 'user_created', 'data': {'firstname': 'Grace'}})
    header = f"-H 'X-Auth-Token: {standalone.token}'"
    page.line('It goes on running. In another terminal:')
    page.line()
    page.line(page.dim('  # send another event; it shows up here'))
    page.line(f"  curl -s {header} -H 'Content-Type: application/json' -d '{event}' {standalone.base}/events")
    page.line()
    page.line(page.dim('  # the subscriptions, and what became of their deliveries'))
    page.line(f'  curl -s {header} {standalone.base}/subscriptions')
    page.line(f'  curl -s {header} {standalone.base}/status')
    page.line()
    page.line(f'  API     {standalone.base}/api/')
    page.line(f'  Token   {standalone.token}')
    page.line(f'  Log     {standalone.log}' + (page.dim('   (gone when this ends)') if temporary else ''))
    page.line()
    page.line('Ctrl-C ends it.')
    while standalone.process.poll() is None:
        try:
            arrived = receiver.arrived.get(timeout=0.5)
        except queue.Empty:
            continue
        page.line(page.green('Delivered:'))
        page.request(arrived)
    raise DemoError(f'wazo-webhookd ended with exit code {standalone.process.returncode}:\n{standalone.story()}')


def _readable(body: bytes) -> str:
    text = body.decode('utf-8', errors='replace')
    try:
        return json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    except ValueError:
        return text


def _usual_or_free_port() -> int:
    for port in (9300, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(('127.0.0.1', port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise DemoError('no free port')


if __name__ == '__main__':
    sys.exit(main())
