#!/usr/bin/env python3
"""Look for dead links and for what is loaded from elsewhere in a folder of built pages: tools/check_links.py FOLDER"""

from __future__ import annotations

import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

LOADED = {
    'script': 'src',
    'img': 'src',
    'link': 'href',
    'iframe': 'src',
    'source': 'src',
    'video': 'src',
    'audio': 'src',
}
NOT_LOADED = {'canonical', 'next', 'prev', 'index', 'search', 'genindex', 'author', 'license'}
"""Relations of ``<link>`` that are only named."""


class Page(HTMLParser):
    """What a page links to, what it loads, and the places in it that can be linked to."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.places: set[str] = set()
        self.feed(path.read_text(encoding='utf-8'))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or '' for name, value in attrs}
        self.places |= {found[name] for name in ('id', 'name') if found.get(name)}
        if tag == 'a' and 'href' in found:
            self.links.append(found['href'])
        relation = set(found.get('rel', '').split())
        if tag in LOADED and found.get(LOADED[tag]) and not (tag == 'link' and relation & NOT_LOADED):
            self.loaded.append(found[LOADED[tag]])


def problems(folder: Path) -> list[str]:
    """A line for each dead link and each thing loaded from elsewhere."""
    pages = {path: Page(path) for path in sorted(folder.rglob('*.html'))}
    found = []
    for path, page in pages.items():
        where = path.relative_to(folder)
        for link in [*page.links, *page.loaded]:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                if link in page.loaded and parts.scheme != 'data':
                    found.append(f'{where}: loads {link}')
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if not target.is_file():
                found.append(f'{where}: dead link {link}')
            elif parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].places:
                found.append(f'{where}: no such place {link}')
    for path in sorted(folder.rglob('*.css')):
        for address in re.findall(
            r'(?:url\(|@import)\s*["\']?((?:https?:)?//[^"\')\s]+)', path.read_text(encoding='utf-8')
        ):
            found.append(f'{path.relative_to(folder)}: loads {address}')
    return found


def main() -> int:
    folder = Path(sys.argv[1]).resolve()
    found = problems(folder)
    for line in found:
        print(line, file=sys.stderr)
    if not list(folder.rglob('*.html')):
        print(f'{folder}: no pages', file=sys.stderr)
        return 1
    return 1 if found else 0


if __name__ == '__main__':
    sys.exit(main())
