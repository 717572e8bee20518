"""Sphinx: static pages that load nothing from elsewhere. ``make docs`` builds them into build/docs."""

import sys
from pathlib import Path

# What follows is found by this.
sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]

import generated  # noqa: E402

from wazo_webhookd import __version__  # noqa: E402

project = 'wazo-webhookd'
author = 'the maintainers of wazo-webhookd'
copyright = 'the maintainers of wazo-webhookd; GPL-3.0-or-later'
version = release = __version__

extensions = ['myst_parser']
myst_heading_anchors = 3
exclude_patterns = ['_build']
nitpicky = True

html_theme = 'furo'
html_title = f'wazo-webhookd {__version__}'
html_show_sphinx = False
html_copy_source = False
html_show_sourcelink = False
pygments_style = 'friendly'


def _fill_in(_app: object, _name: str, source: list[str]) -> None:
    source[0] = generated.filled_in(source[0])


def setup(app: object) -> None:
    app.connect('source-read', _fill_in)
