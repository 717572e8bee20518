"""The pages say what the program does: nothing is left out, and tables of examples are worked out again."""

import ast
import importlib
import json
import re
import shlex
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from docs import generated
from integration_tests.support.pages import blocks, looks_like
from wazo_webhookd.domain.delivery import STATES
from wazo_webhookd.domain.endpoint import BadURL
from wazo_webhookd.services.http.request import build
from wazo_webhookd.services.http.template import TemplateFailed

ROOT = Path(__file__).parents[2]
DOCS = ROOT / 'docs'
PAGES = sorted(DOCS.rglob('*.md'))


@pytest.fixture(scope='module')
def text():
    """All pages, with their generated parts."""
    return '\n'.join(generated.filled_in(page.read_text(encoding='utf-8')) for page in PAGES)


def tables(page, head):
    """Cells of the rows of the tables whose first line of heads this is."""
    rows = []
    lines = iter(page.read_text(encoding='utf-8').splitlines())
    for line in lines:
        if line == head:
            next(lines)
            for row in lines:
                if not row.startswith('|'):
                    break
                rows.append([cell.strip().replace('\\|', '|') for cell in re.split(r'(?<!\\)\|', row)[1:-1]])
    return rows


def plain(cell):
    return re.fullmatch(r'`(.*)`', cell)[1]


# -- nothing is left out ---------------------------------------------------------------------------


def test_every_setting_is_mentioned(text):
    assert [name for name in sorted(generated.setting_names()) if f'`{name}`' not in text] == []


def test_every_route_is_mentioned(text):
    routes = [f'`{method.upper()} {path}`' for path, method, _, _ in generated.routes()]

    assert len(routes) > 20
    assert [route for route in routes if route not in text] == []


def test_every_group_of_entry_points_is_mentioned(text):
    setup = (ROOT / 'setup.py').read_text()
    groups = set(re.findall(r"^        '([a-z_.]+)': \[$", setup, re.MULTILINE)) - {'console_scripts'}

    assert {'wazo_webhookd.services', 'wazo_webhookd.plugins', 'wazo_webhookd.celery_tasks'} < groups
    assert [group for group in sorted(groups) if f'`{group}`' not in text] == []


def test_every_command_is_mentioned_with_its_help(text):
    names = {entry.name for entry in entry_points(group='console_scripts') if entry.value.startswith('wazo_webhookd.')}

    assert names == set(generated.COMMANDS)
    assert [name for name in names if f'usage: {name} ' not in text] == []


def test_every_state_of_deliveries_is_explained():
    page = (DOCS / 'receive' / 'log.md').read_text()

    assert [state for state in STATES if f'| `{state}` |' not in page] == []


def test_every_rule_of_the_egress_guard_is_explained():
    source = '\n'.join(
        (ROOT / 'wazo_webhookd' / name).read_text() for name in ('domain/endpoint.py', 'egress/guard.py')
    )
    source += (ROOT / 'wazo_webhookd' / 'services' / 'http' / 'request.py').read_text()
    rules = set(re.findall(r"(?:BadURL|EgressRefused)\('([a-z-]+)'", source)) - {'header'}
    page = (DOCS / 'receive' / 'log.md').read_text()

    assert {'url-scheme', 'port', 'name', 'peer', 'url-template'} <= rules
    assert [rule for rule in sorted(rules) if f'`refused ({rule})' not in page] == []


def test_every_error_id_is_explained(text):
    source = '\n'.join(path.read_text() for path in (ROOT / 'wazo_webhookd').rglob('*.py'))
    found = set(re.findall(r"APIException\([^)]*?'([a-z]+(?:-[a-z]+)+)'", source))
    found |= set(re.findall(r"super\(\).__init__\(\s*\d{3}, [^)]*?'([a-z]+(?:-[a-z]+)+)'", source))

    assert {'no-such-subscription', 'database-unavailable'} <= found
    assert [name for name in sorted(found) if f'`{name}`' not in text] == []


def test_every_event_of_our_own_is_mentioned(text):
    from wazo_webhookd.deliveries.announce import _OWN_NAMES

    assert [name for name in sorted(_OWN_NAMES) if f'`{name}`' not in text] == []


# -- what is shown is so ---------------------------------------------------------------------------

WAZO = '4f3c1a1e-8f6d-4b0a-9a76-3f0b3f6d2c11'
TEMPLATES = DOCS / 'receive' / 'templates.md'


def render(role='user', **config):
    data = next(json.loads(block.text) for block in blocks(TEMPLATES) if block.language == 'json')
    return build(
        {'method': 'post', 'url': 'https://example.com/', **config},
        {'name': 'call_ended', 'data': data, 'origin_uuid': WAZO},
        role=role,
        delivery_uuid='d',
        timestamp=1,
        user_agent='',
    )


def url(template, role):
    try:
        target = render(role, url=template).target
    except BadURL as error:
        return f'refused (`{error.rule}`)'
    return f'`{target.scheme}://{target.authority.host_header}{target.path_query}`'


def test_bodies_are_rendered_as_shown():
    rows = tables(TEMPLATES, '| template | result |')

    assert len(rows) > 10
    assert [(plain(template), render(body=plain(template)).text) for template, _ in rows] == [
        (plain(template), plain(result)) for template, result in rows
    ]


def test_urls_are_rendered_as_shown():
    rows = tables(TEMPLATES, '| template | of a user | of an administrator |')

    assert len(rows) > 5
    assert [[template, url(plain(template), 'user'), url(plain(template), 'admin')] for template, _, _ in rows] == rows


def test_templates_fail_as_shown():
    rows = tables(TEMPLATES, '| template | error |')

    assert len(rows) > 4
    for template, error in rows:
        with pytest.raises(TemplateFailed) as raised:
            render(body=plain(template))
        assert looks_like(str(raised.value), plain(error)), template


def sentences(source):
    """Every text in the program, with … where something is filled in."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.JoinedStr):
            parts = [part.value if isinstance(part, ast.Constant) else '…' for part in node.values]
            yield ''.join(str(part) for part in parts)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield re.sub(r'%(?:\.\d)?[sdrgf]', '…', node.value)


_FILLED_IN = re.compile(r'…|\((?:url-[a-z]+|port|name|peer|address: …)\)|^(?:endpoint|subscription) (?=resting)')


@pytest.mark.parametrize(
    ('page', 'head'),
    [
        ('receive/log.md', '| sentence | means | to do |'),
        ('receive/log.md', '| sentence | means |'),
        ('receive/log.md', '| sentence | means | to do (operator) |'),
        ('run/monitoring.md', '| line | means |'),
    ],
)
def test_sentences_that_are_explained_are_those_of_the_program(page, head):
    said = '\n'.join(
        sentence
        for path in (ROOT / 'wazo_webhookd').rglob('*.py')
        for sentence in sentences(path.read_text(encoding='utf-8'))
    )
    shown = [plain(row[0]) for row in tables(DOCS / page, head)]
    pieces = [piece.strip(' :.,;') for sentence in shown for piece in _FILLED_IN.split(sentence)]
    unknown = [piece for piece in pieces if piece not in said]

    assert len(shown) > 5
    assert unknown == []


# -- the pages as a whole --------------------------------------------------------------------------


def test_pages_are_built_without_warnings_and_load_nothing_from_elsewhere(tmp_path):
    build = [sys.executable, '-m', 'sphinx', '-W', '--keep-going', '-q', '-b', 'html']
    built = subprocess.run([*build, str(DOCS), str(tmp_path)], capture_output=True, text=True, check=False)
    checked = subprocess.run(
        [sys.executable, str(ROOT / 'tools' / 'check_links.py'), str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )

    assert built.returncode == 0, built.stderr
    assert checked.returncode == 0, checked.stderr


def test_links_of_the_readme_lead_somewhere():
    links = re.findall(r'\]\(([^)#]+)(?:#[^)]*)?\)', (ROOT / 'README.md').read_text(encoding='utf-8'))

    assert any(link.startswith('docs/') for link in links)
    assert [link for link in links if '://' not in link and not (ROOT / link).is_file()] == []


def test_every_page_is_reached():
    named = {page.resolve() for page in PAGES}
    listed = {DOCS / 'index.md'}
    for page in PAGES:
        for block in blocks(page):
            if block.language == '{toctree}':
                names = [line.strip() for line in block.text.splitlines() if line.strip() and line[0] != ':']
                listed |= {(page.parent / f'{name}.md').resolve() for name in names}

    assert named == listed


def test_our_commands_in_blocks_that_are_not_run_take_their_options():
    texts = [
        block.text.replace('\\\n', ' ')
        for page in [ROOT / 'README.md', *PAGES]
        for block in blocks(page)
        if 'not run' in block.orders and block.language == 'sh'
    ]
    lines = [shlex.split(line, comments=True) for text in texts for line in text.splitlines()]
    ours = [line for line in lines if line and Path(line[0]).name in generated.COMMANDS]

    assert len(ours) > 2
    for name, *options in ours:
        module = importlib.import_module(f'wazo_webhookd.bin.{generated.COMMANDS[Path(name).name]}')
        module.parser().parse_args(options)


def test_blocks_that_are_not_run_say_why():
    reasons = {block.orders['not run'] for page in PAGES for block in blocks(page) if 'not run' in block.orders}

    assert all(len(reason) > 8 for reason in reasons)
