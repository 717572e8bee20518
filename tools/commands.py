"""Every command of the package, and its command line as argparse knows it."""

from __future__ import annotations

import argparse
import importlib
import re
from dataclasses import dataclass
from pathlib import Path

SETUP = Path(__file__).parents[1] / 'setup.py'


@dataclass(frozen=True)
class Command:
    name: str
    parser: argparse.ArgumentParser

    @property
    def options(self) -> list[argparse.Action]:
        """What can be given, hidden options aside."""
        return [action for action in self.parser._actions if action.help is not argparse.SUPPRESS]


def commands() -> list[Command]:
    """In alphabetical order. Needs no library: the modules of the commands import none to print their help."""
    found = re.findall(r"'(wazo-webhookd[\w-]*) = (wazo_webhookd\.bin\.\w+):main'", SETUP.read_text())
    return sorted(
        (Command(name, importlib.import_module(module).parser()) for name, module in found),
        key=lambda command: command.name,
    )
