"""Write debian/changelog from CHANGELOG.md, whose newest entry must be of the version of the program.

python3 -m tools.write_debian_changelog FILE [DATE]: DATE (RFC 2822) is taken for an entry that is not released yet.
"""

from __future__ import annotations

import re
import sys
import textwrap
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path

from wazo_webhookd import __version__

ROOT = Path(__file__).parents[1]


def entries(text: str) -> list[tuple[str, str, list[str]]]:
    """Version, date (``2026-11-30`` or ``unreleased``) and changes of each heading, newest first."""
    parts = re.split(r'^## (\S+) \(([^)]+)\)\n', text, flags=re.MULTILINE)[1:]
    return [(version, date, changes(body)) for version, date, body in zip(*[iter(parts)] * 3, strict=True)]


def changes(body: str) -> list[str]:
    items = re.split(r'^- ', body, flags=re.MULTILINE)[1:]
    return [' '.join(re.split(r'\n\n|\n#', item)[0].split()) for item in items]


def entry(version: str, date: str, items: list[str], maintainer: str, now: str) -> str:
    when = now if date == 'unreleased' else format_datetime(datetime.fromisoformat(date).replace(tzinfo=UTC))
    text = '\n'.join(
        textwrap.fill(
            item.replace('`', ''), 78, initial_indent='  * ', subsequent_indent='    ', break_on_hyphens=False
        )
        for item in items
    )
    return f'wazo-webhookd ({version}) bookworm; urgency=medium\n\n{text}\n\n -- {maintainer}  {when}\n'


def main() -> None:
    found = entries((ROOT / 'CHANGELOG.md').read_text(encoding='utf-8'))
    if not found or found[0][0] != __version__ or not found[0][2]:
        sys.exit(f'CHANGELOG.md: its first entry should be "## {__version__} (date)", with a list of changes')
    control = (ROOT / 'debian' / 'control').read_text(encoding='utf-8')
    maintainer = re.search(r'^Maintainer: (.+)$', control, re.MULTILINE)[1]
    now = sys.argv[2] if len(sys.argv) > 2 else format_datetime(datetime.now(UTC))
    text = '\n'.join(entry(*one, maintainer, now) for one in found)
    Path(sys.argv[1]).write_text(text, encoding='utf-8')


if __name__ == '__main__':
    main()
