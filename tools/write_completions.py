"""Write bash completion for each command, from what argparse knows: python3 -m tools.write_completions FOLDER"""

from __future__ import annotations

import sys
from pathlib import Path

from tools.commands import Command, commands

KINDS = {'FILE': 'compgen -f', 'DIR': 'compgen -d', 'USER': 'compgen -u', 'ADDRESS': 'compgen -A hostname'}

SCRIPT = """\
# bash completion for {name}; written from its command line

{function}() {{
    local current=${{COMP_WORDS[COMP_CWORD]}} previous=${{COMP_WORDS[COMP_CWORD - 1]}}
    COMPREPLY=()
    case $previous in
{cases}    esac
    mapfile -t COMPREPLY < <(compgen -W '{options}' -- "$current")
}}

complete -F {function} {name}
"""


def completion(command: Command) -> str:
    """A script to be sourced; values are completed where their kind is known, else nothing is suggested."""
    cases = ''
    options: list[str] = []
    for action in command.options:
        options += action.option_strings
        if action.nargs != 0:
            cases += f'        {"|".join(action.option_strings)})\n' + suggestions(str(action.metavar or ''))
    function = '_' + command.name.replace('-', '_')
    return SCRIPT.format(name=command.name, function=function, cases=cases, options=' '.join(options))


def suggestions(metavar: str) -> str:
    """What to suggest after an option with this value, and the end of the case."""
    complete = KINDS.get(metavar)
    lines = [] if complete is None else [f'mapfile -t COMPREPLY < <({complete} -- "$current")']
    if complete in (KINDS['FILE'], KINDS['DIR']):
        lines.insert(0, 'compopt -o filenames 2>/dev/null')
    return ''.join(f'            {line}\n' for line in [*lines, 'return ;;'])


def main() -> None:
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for command in commands():
        (folder / command.name).write_text(completion(command), encoding='utf-8')


if __name__ == '__main__':
    main()
