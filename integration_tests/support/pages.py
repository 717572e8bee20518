"""Pages of the documentation as something to run: their blocks, what comments say about them, and a shell for them.

A comment in front of a block (``<!-- order -->`` or ``<!-- order: value -->``, several if need be) says what it is:

    output                what the block before printed; "…" stands for anything, uuids and times for any others
    output: NAME          what the program NAME in the background printed since the last look
    file: PATH            the content of a file
    background: NAME      starts and goes on; with ``until: TEXT`` the page goes on when it has printed that
    eventually            asks again until the answer is what the next block shows (for questions only)
    run instead: COMMAND  this is what the test types in its place
    stop: NAME            the program in the background is stopped before the block
    not run: REASON       needs something that a test of a single machine does not have

All other blocks of shell and Python are run as they stand, one after the other, in one shell per page; all other
blocks of YAML have to be a configuration without unknown keys.
"""

from __future__ import annotations

import json
import os
import queue
import re
import signal
import subprocess
import textwrap
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

SHELL = ('sh', 'bash')
RUN = (*SHELL, 'python')
ORDERS = ('output', 'file', 'background', 'until', 'eventually', 'run instead', 'stop', 'not run')

_COMMENT = re.compile(r'\s*<!-- ([a-z ]+?)(?:: (.*?))? -->\s*')
_COLOURS = re.compile('\x1b\\[[0-9;]*m')
_FENCE = re.compile(r'(\s*)(```+)(\S*)\s*')


@dataclass(frozen=True)
class Block:
    page: Path
    line: int
    language: str
    text: str
    orders: Mapping[str, str]

    @property
    def place(self) -> str:
        return f'{self.page.name}:{self.line}'


def blocks(page: Path) -> Iterator[Block]:
    """The fenced blocks of a page, in order."""
    orders: dict[str, str] = {}
    lines = iter(enumerate(page.read_text(encoding='utf-8').splitlines(), 1))
    for number, line in lines:
        comment, fence = _COMMENT.fullmatch(line), _FENCE.fullmatch(line)
        if comment and comment[1] in ORDERS:
            orders[comment[1]] = comment[2] or ''
        elif fence:
            body = []
            for _, inner in lines:
                if inner.strip() == fence[2]:
                    break
                body.append(inner)
            yield Block(page, number, fence[3], textwrap.dedent('\n'.join(body)) + '\n', orders)
            orders = {}
        elif line.strip():
            assert not orders, f'{page}:{number}: an order without a block'


# -- comparing -------------------------------------------------------------------------------------

_LOOSE = (
    (re.compile(r'\b[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}\b'), '<uuid>'),
    (re.compile(r'\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?(?:\+00:00|Z)?'), '<time>'),
    (re.compile(r'\b1[78]\d{8}(?:\.\d+)?\b'), '<seconds>'),
    (re.compile(r'\b\d+ ms\b'), '<n> ms'),
    (re.compile(r'\bin \d+\.\d s\b'), 'in <n> s'),
    (re.compile(r'\[\d+\]'), '[<pid>]'),
    (re.compile(r'\b127\.0\.0\.1:(?!9300|80\d\d)\d{4,5}\b'), '127.0.0.1:<port>'),
)


def looks_like(seen: str, shown: str) -> bool:
    """Is the output what the page shows?"""
    pattern = '.*?'.join(re.escape(piece) for piece in _loose(shown).split('…'))
    return re.fullmatch(pattern, _loose(seen), re.DOTALL) is not None


def _loose(text: str) -> str:
    for pattern, name in _LOOSE:
        text = pattern.sub(name, text)
    return '\n'.join(line.rstrip() for line in text.strip().splitlines())


# -- running ---------------------------------------------------------------------------------------


class Shell:
    """One bash. ``places``: what stands in the pages (ports, folders), and what it is here; output is put back."""

    def __init__(self, folder: Path, environment: Mapping[str, str], places: Mapping[str, str]) -> None:
        self.folder = folder
        self.places = dict(places)
        self._background: dict[str, _Program] = {}
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._process = subprocess.Popen(
            ['bash', '--noprofile', '--norc'],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding='utf-8',
            errors='replace',
            cwd=folder,
            env=dict(environment),
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.run('set -o pipefail', 5)

    def run(self, text: str, seconds: float = 25) -> tuple[int, str]:
        """Exit code of the last command, and what was printed."""
        assert self._process.stdin is not None
        mark = f'<<{time.monotonic_ns()}>>'
        self._process.stdin.write(f'{{\n{self.here(text)}\n}} </dev/null\necho "{mark}$?"\n')
        self._process.stdin.flush()
        printed = ''
        deadline = time.monotonic() + seconds
        while True:
            try:
                line = self._lines.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f'not within {seconds:g} s:\n{text}\nprinted: {printed}') from None
            assert line is not None, f'the shell ended in:\n{text}\nprinted: {printed}'
            before, found, code = line.partition(mark)
            printed += before
            if found:
                return int(code), self.there(printed)

    def start(self, name: str, text: str, until: str, seconds: float = 25) -> None:
        output = self.folder / f'.{name}.out'
        output.unlink(missing_ok=True)  # the words of an earlier one of that name are not its words
        code, printed = self.run(f'(exec {text.strip()}) >{output} 2>&1 & echo $!')
        assert code == 0, printed
        self._background[name] = program = _Program(int(printed.strip()), output)
        deadline = time.monotonic() + seconds
        while until not in self.there(output.read_text(errors='replace') if output.exists() else ''):
            story = output.read_text(errors='replace') if output.exists() else ''
            assert program.alive(), f'{name} ended: {story}'
            assert time.monotonic() < deadline, f'{name}: {until!r} was not printed: {story}'
            time.sleep(0.02)

    def printed(self, name: str, shown: str, seconds: float = 10) -> str:
        """What the program printed since the last call; waits until it is what is shown, or the time is over."""
        program = self._background[name]
        deadline = time.monotonic() + seconds
        while True:
            seen = self.there(program.output.read_text(errors='replace')[program.read :])
            if looks_like(seen, shown) or time.monotonic() > deadline:
                program.read = len(program.output.read_text(errors='replace'))
                return seen
            time.sleep(0.05)

    def skip(self, name: str) -> None:
        """What it printed so far is not looked at."""
        program = self._background[name]
        program.read = len(program.output.read_text(errors='replace'))

    def stop(self, name: str) -> None:
        self._background.pop(name).end()

    def close(self) -> None:
        for name in reversed(list(self._background)):
            self.stop(name)
        self._process.kill()
        self._process.wait(10)
        self._reader.join(10)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

    def here(self, text: str) -> str:
        for place, actual in self.places.items():
            text = text.replace(place, actual)
        return text

    def there(self, text: str) -> str:
        for place, actual in self.places.items():
            text = text.replace(actual, place)
        return _COLOURS.sub('', text)

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line)
        self._lines.put(None)


class _Program:
    def __init__(self, pid: int, output: Path) -> None:
        self.pid, self.output, self.read = pid, output, 0

    def alive(self) -> bool:
        try:
            return Path(f'/proc/{self.pid}/stat').read_text().rpartition(')')[2].split()[0] != 'Z'
        except OSError:
            return False

    def end(self) -> None:
        for number, seconds in ((signal.SIGTERM, 15.0), (signal.SIGKILL, 5.0)):
            deadline = time.monotonic() + seconds
            try:
                os.kill(self.pid, number)
            except ProcessLookupError:
                return
            while time.monotonic() < deadline:
                if not self.alive():
                    return
                time.sleep(0.02)


def as_python(text: str, path: Path) -> str:
    """The shell command that runs a block of Python."""
    path.write_text(text, encoding='utf-8')
    return f'python3 {path}'


def problems(page: Path, shell: Shell) -> list[str]:
    """Run a page; a paragraph for each block that did not do what the page says."""
    found: list[str] = []
    todo = list(blocks(page))
    before = ''
    for number, block in enumerate(todo):
        try:
            before = _do(block, todo[number + 1] if number + 1 < len(todo) else None, shell, before, found)
        except AssertionError as error:
            found.append(f'{block.place}: {error}')
            break
    return found


def _do(block: Block, after: Block | None, shell: Shell, before: str, found: list[str]) -> str:
    orders = block.orders
    if 'stop' in orders:
        shell.stop(orders['stop'])
    if 'output' in orders:
        name = orders['output']
        seen = shell.printed(name, block.text) if name else before
        if not looks_like(seen, block.text):
            found.append(f'{block.place}: shown:\n{block.text}\nseen:\n{seen}')
        return before
    if 'file' in orders:
        path = shell.folder / orders['file']
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(shell.here(block.text), encoding='utf-8')
        if block.language != 'yaml':
            return before
    if 'not run' in orders:
        assert orders['not run'], 'not run: why?'
        return before
    if block.language == 'yaml':
        found += [f'{block.place}: {slip}' for slip in slips(block.text)]
        return before
    if block.language == 'json':
        json.loads(block.text)
        return before
    if block.language not in RUN:
        found.append(f'{block.place}: what is this block? ({block.language})')
        return before
    return _run(block, after, shell, found)


def _run(block: Block, after: Block | None, shell: Shell, found: list[str]) -> str:
    text = f'{block.orders["run instead"]}\n' if 'run instead' in block.orders else block.text
    if block.language == 'python':
        text = as_python(shell.here(text), shell.folder / '.block.py')
    if 'background' in block.orders:
        shell.start(block.orders['background'], text, block.orders.get('until', ''))
        shell.skip(block.orders['background'])
        return ''
    deadline = time.monotonic() + 10
    while True:
        code, printed = shell.run(text)
        good = code == 0 and (after is None or 'eventually' not in block.orders or looks_like(printed, after.text))
        if good or 'eventually' not in block.orders or time.monotonic() > deadline:
            break
        time.sleep(0.1)
    if code != 0:
        found.append(f'{block.place}: exit code {code}:\n{printed}')
    return printed


def slips(text: str) -> list[str]:
    """What is wrong with a piece of configuration."""
    import yaml

    from wazo_webhookd import config
    from wazo_webhookd.exceptions import ConfigError

    tree = yaml.safe_load(text)
    try:
        known = config.from_tree(tree)
    except ConfigError as error:
        return list(error.faults)
    return [*config.unknown_keys(known)]
