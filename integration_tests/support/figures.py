"""What tests measure, printed at the end of the session, also when they ran in several processes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from integration_tests.support.losses import HEAD, TABLE

FIGURE = 'figure'
LOST = 'lost'

Note = Callable[[str], None]


def noter(request: pytest.FixtureRequest) -> Note:
    """Notes a line for the end of the session."""
    return lambda line: request.node.user_properties.append((FIGURE, line))


def keep_rows(request: pytest.FixtureRequest, before: int) -> None:
    """Note the rows that a test added to the table of what was lost."""
    request.node.user_properties.extend((LOST, str(row)) for row in TABLE.rows[before:])


def show(terminalreporter: Any) -> None:
    noted: dict[str, dict[str, None]] = {LOST: {}, FIGURE: {}}
    for reports in terminalreporter.stats.values():
        for report in reports:
            for kind, line in getattr(report, 'user_properties', ()):
                noted.get(kind, {})[line] = None
    for kind, title, head in ((LOST, 'what was lost', [HEAD]), (FIGURE, 'figures', [])):
        if noted[kind]:
            terminalreporter.section(title)
            for line in (*head, *noted[kind]):
                terminalreporter.write_line(line)
