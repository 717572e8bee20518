"""Write a manual page for each command, from what argparse knows: python3 -m tools.write_manuals FOLDER"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from tools.commands import Command, commands
from wazo_webhookd import __version__

HEADINGS = {'examples': 'EXAMPLES', 'exit codes': 'EXIT STATUS'}

FILES = """\
.SH FILES
.TP
.I /etc/wazo-webhookd/config.yml
Main configuration file; every setting with its default and a comment.
.TP
.I /etc/wazo-webhookd/conf.d/*.yml
Laid over it; of two that set the same key, the alphabetically first wins.
.TP
.I /etc/default/wazo-webhookd
Environment of the services.
.TP
.I /var/log/wazo-webhookd.log
Log file.
.TP
.I /usr/share/doc/wazo\\-webhookd/examples/guests.conf
What to allow to services and plugins of other packages that need more than wazo-webhookd.
"""

ENVIRONMENT = """\
.SH ENVIRONMENT
.TP
.B XIVO_UUID
The uuid of the Wazo server, unless
.B uuid
is configured.
"""

SIGNALS = """\
.SH SIGNALS
.TP
.BR SIGTERM ", " SIGINT
Stop in order; what is under way gets
.B shutdown_grace
seconds to finish. A second one cuts that short.
.TP
.B SIGHUP
Read the log level again, and open the log file again.
"""


def manual(command: Command, others: list[str]) -> str:
    """The page as roff source for section 8."""
    parser = command.parser
    page = [
        f'.TH {command.name.upper()} 8 "" "wazo-webhookd {__version__}" "System administration"',
        '.nh',
        '.SH NAME',
        rf'{escaped(command.name)} \- {escaped(lowered(parser.description or ""))}',
        '.SH SYNOPSIS',
        rf'.B {escaped(command.name)}',
        *(synopsis(action) for action in command.options),
        '.SH DESCRIPTION',
        escaped(parser.description or ''),
        '.SH OPTIONS',
    ]
    for action in command.options:
        page += ['.TP', option(action), escaped(explained(parser, action))]
    page += sections(parser.epilog or '')
    text = '\n'.join(page) + '\n'
    if command.name in ('wazo-webhookd', 'wazo-webhookd-worker'):
        text += SIGNALS + ENVIRONMENT
    text += FILES + '.SH SEE ALSO\n'
    pages = [name for name in others if name != command.name]
    return text + ',\n'.join(rf'.BR {escaped(name)} (8)' for name in pages) + '\n'


def synopsis(action: argparse.Action) -> str:
    names = '|'.join(rf'\fB{escaped(name)}\fR' for name in action.option_strings[:1])
    value = rf' \fI{escaped(metavar(action))}\fR' if action.nargs != 0 else ''
    return f'[{names}{value}]'


def option(action: argparse.Action) -> str:
    value = rf' \fI{escaped(metavar(action))}\fR' if action.nargs != 0 else ''
    return ', '.join(rf'\fB{escaped(name)}\fR{value}' for name in action.option_strings)


def metavar(action: argparse.Action) -> str:
    return str(action.metavar or action.dest.upper())


def explained(parser: argparse.ArgumentParser, action: argparse.Action) -> str:
    return parser._get_formatter()._expand_help(action) if action.help else ''


def sections(epilog: str) -> Iterator[str]:
    """``examples:`` and ``exit codes:`` become sections, paragraphs between them notes."""
    notes = []
    for paragraph in re.split(r'\n\n+', epilog.strip('\n')):
        first, _, rest = paragraph.partition('\n')
        heading = HEADINGS.get(first.rstrip(':'))
        if heading is None:
            notes.append(paragraph)
            continue
        yield f'.SH {heading}'
        yield '.nf'
        yield from (escaped(line.removeprefix('  ')) for line in rest.splitlines())
        yield '.fi'
    if any(notes):
        yield '.SH NOTES'
        yield '\n.PP\n'.join(escaped(note) for note in notes)


def escaped(text: str) -> str:
    """No character of it means anything to roff."""
    text = text.replace('\\', r'\e').replace('-', r'\-').replace('…', '...')
    return re.sub(r"^([.'])", r'\\&\1', text, flags=re.MULTILINE)


def lowered(text: str) -> str:
    return (text[:1].lower() + text[1:]).rstrip('.')


def main() -> None:
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    every = commands()
    names = [command.name for command in every]
    for command in every:
        (folder / f'{command.name}.8').write_text(manual(command, names), encoding='utf-8')


if __name__ == '__main__':
    main()
