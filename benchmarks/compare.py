"""Compare two results of ``make bench``: make bench/compare A=old.json B=new.json."""

from __future__ import annotations

import argparse
import json
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('a', type=Path)
    parser.add_argument('b', type=Path)
    arguments = parser.parse_args()
    old, new = (json.loads(path.read_text()) for path in (arguments.a, arguments.b))
    before = {line['what']: line['value'] for line in old['lines']}
    width = max(len(line['what']) for line in new['lines'])
    print(f'{"":<{width}}  {arguments.a.name:>14}  {arguments.b.name:>14}   B / A     aim')
    for line in new['lines']:
        value, known = line['value'], before.get(line['what'])
        ratio = '' if not known else f'{value / known:.2f}'
        shown = '' if known is None else f'{known:,.3f}'
        print(f'{line["what"]:<{width}}  {shown:>14}  {value:>14,.3f}  {ratio:>6}  {line["aim"]:>8}')


if __name__ == '__main__':
    main()
