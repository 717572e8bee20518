"""Every block of shell and Python in the documentation is run on a real standalone; output shown is output seen."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from integration_tests.support.pages import RUN, Shell, blocks, problems
from integration_tests.support.ports import free_port

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / 'README.md', *sorted((ROOT / 'docs').rglob('*.md'))]
WITH_BLOCKS = [page for page in PAGES if any(block.language in (*RUN, 'yaml', 'json') for block in blocks(page))]
ONLY_WITH_SERVERS = (
    'wazo-webhookd-worker',
    'wazo-webhookd-init-db',
    'wazo-webhookd-init-amqp',
    'wazo-webhookd-sync-db',
)
TOKEN_FILE = '~/.local/share/wazo-webhookd/token'


def environment(folder: Path, bin_folder: Path) -> dict[str, str]:
    """A home of its own, our commands first, packages installed beside ours instead of among them."""
    kept = {name: value for name, value in os.environ.items() if name in ('LANG', 'TMPDIR')}
    return {
        **kept,
        'HOME': str(folder / 'home'),
        'PATH': f'{bin_folder}:{Path(sys.executable).parent}:{os.environ["PATH"]}',
        'LC_ALL': 'C.UTF-8',
        'NO_COLOR': '1',
        'PYTHONUNBUFFERED': '1',
        'PYTHONPATH': str(folder / 'installed'),
        'PIP_DISABLE_PIP_VERSION_CHECK': '1',
    }


def wrapper(name: str, port: int) -> str:
    """A command of ours that finds port 9300 elsewhere, and that no slip of the pages lets loose on servers."""
    alone, harmless = '*" --standalone "*', '*" --help "*|*" --version "*|*" --check-config "*'
    cases = f'{harmless}) ;; {alone}) set -- "$@" --port {port} ;; *) echo needs servers: say so >&2; exit 99 ;;'
    if name == 'python3':
        cases = '*) ;;'
    elif name == 'pip':
        cases = '*) set -- "$@" --quiet --no-deps --no-build-isolation --target "$PYTHONPATH" ;;'
    elif name == 'wazo-webhookd-demo':
        cases = f'*) set -- "$@" --port {port} ;;'
    return f'#!/bin/sh\ncase " $* " in {cases} esac\nexec {Path(sys.executable).parent}/{name} "$@"\n'


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    """A shell in an empty folder, in which port 9300 is free."""
    port = free_port()
    work, programs = tmp_path / 'work', tmp_path / 'bin'
    for folder in (tmp_path / 'home', work / '.venv', programs):
        folder.mkdir(parents=True)
    for name in ('wazo-webhookd', *ONLY_WITH_SERVERS, 'python3', 'pip', 'wazo-webhookd-demo'):
        (programs / name).write_text(wrapper(name, port))
        (programs / name).chmod(0o755)
    (work / '.venv' / 'bin').symlink_to(programs)
    places = {'9300': str(port), **{str(place): str(free_port()) for place in (8000, 8001)}}
    places |= {'/home/ada': str(tmp_path / 'home'), '/home/work': str(work)}
    opened = Shell(work, environment(tmp_path, programs), places)
    yield opened
    opened.close()


@pytest.mark.timeout(120)
@pytest.mark.parametrize('page', WITH_BLOCKS, ids=lambda page: str(page.relative_to(ROOT)))
def test_page_does_what_it_says(page: Path, shell: Shell) -> None:
    todo = list(blocks(page))
    if '$API' in page.read_text() and not any(block.orders.get('background') == 'daemon' for block in todo):
        shell.start('daemon', 'wazo-webhookd --standalone', 'Ctrl-C stops it')
        shell.run(f'API=http://127.0.0.1:9300/1.0 TOKEN=$(cat {TOKEN_FILE})')
    found = problems(page, shell)

    assert not found, '\n\n'.join(found)
