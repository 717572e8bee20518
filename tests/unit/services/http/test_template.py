from __future__ import annotations

import time
import tracemalloc

import pytest

from wazo_webhookd.services.http.template import Renderer, TemplateFailed, renderer

BIG = 'x' * 1_000_000
EVENT = {
    'n': 3,
    'name': 'Zoé & Co',
    'list': [1, 2, 3],
    'people': [{'name': 'a', 'age': 3}, {'name': 'b', 'age': 1}],
    'big': BIG,
    'long': list(range(200_000)),
    'nested': {'a': {'b': [1, {'c': None}]}},
}
ENDLESS = '{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}'
RECURSIVE = (
    '{% for x in [{"n": 1, "c": [{"n": 2}]}] recursive %}{{ x.n }}{% if x.c %}{{ loop(x.c) }}{% endif %}{% endfor %}'
)
NAMES = {'event_name': 'call_ended', 'wazo_uuid': 'w-1', 'event': EVENT}


@pytest.mark.parametrize(
    ('source', 'text'),
    [
        ('', ''),
        ('plain text', 'plain text'),
        ('one new line goes\n', 'one new line goes'),
        ('{{ event_name }}/{{ wazo_uuid }}', 'call_ended/w-1'),
        ('{{ event["n"] }} {{ event.n + 1 }} {{ event.n * 2 }} {{ 7 // 2 }} {{ 2 ** 10 }}', '3 4 6 3 1024'),
        ('{{ event.missing }}.', '.'),
        ('{{ {"a": 1, "b": "x y"}|urlencode }}', 'a=1&b=x+y'),
        ('{{ event.nested|tojson }}', '{"a": {"b": [1, {"c": null}]}}'),
        ('{{ event.list|tojson(indent=1) }}', '[\n 1,\n 2,\n 3\n]'),
        ('{% for p in event.people %}{{ loop.index }}/{{ loop.length }}:{{ p.name }};{% endfor %}', '1/2:a;2/2:b;'),
        ('{% for p in event.people if p.age > 2 %}{{ p.name }}{% endfor %}', 'a'),
        ('{% for k, v in event.nested.items() %}{{ k }}={{ v }}{% endfor %}', "a={'b': [1, {'c': None}]}"),
        ('{% for x in [] %}{% else %}none{% endfor %}', 'none'),
        ('{% for x in event.nothing %}{{ x }}{% endfor %}', ''),
        ('{% for i in range(3) %}{{ i }}{% endfor %}', '012'),
        (RECURSIVE, '12'),
        ('{% macro m(x, y=[1]) %}<{{ x }}{{ y[0] }}>{% endmacro %}{{ m("a") }}{{ m("b", [2]) }}', '<a1><b2>'),
        ('{% set ns = namespace(t=0) %}{% for x in event.list %}{% set ns.t = ns.t + x %}{% endfor %}{{ ns.t }}', '6'),
        ('{{ event.list|sum }} {{ event.people|sum(attribute="age") }} {{ [[1], [2]]|sum(start=[]) }}', '6 4 [1, 2]'),
        ('{{ event.people|map(attribute="name")|join(", ") }}', 'a, b'),
        ('{{ event.people|sort(attribute="age")|map(attribute="name")|list }}', "['b', 'a']"),
        ('{{ event.people|groupby("age")|length }}', '2'),
        ('{{ event.list|select("odd")|list }}{{ event.list|reject("odd")|list }}', '[1, 3][2]'),
        ('{{ "a-b"|replace("-", "+") }}{{ "a-b".replace("-", "+") }}{{ "a,b".split(",") }}', "a+ba+b['a', 'b']"),
        ('{{ "%s=%d"|format("a", 3) }} {{ "%05d" % 42 }} {{ "{:>5}|{}".format("a", 1) }}', 'a=3 00042     a|1'),
        ('{{ event_name[:4] }} {{ event.list[1:] }} {{ event_name[::-1] }}', 'call [2, 3] dedne_llac'),
        ('{{ "a" ~ 1 ~ event.n }}', 'a13'),
        ('{{ 1 == 1.0 }}{{ 1 != 2 }}{{ 1 < 2 }}{{ 2 <= 2 }}{{ 3 > 2 }}{{ 2 >= 3 }}', 'TrueTrueTrueTrueTrueFalse'),
        ('{{ 1 in event.list }}{{ 9 not in event.list }}{{ "o" in event.name }}{{ "n" in event }}', 'TrueTrueTrueTrue'),
        ('{{ 1 < event.n <= 3 }}{{ 3 < event.n < event.missing.x.y }}', 'TrueFalse'),
        ('{{ event.missing == event.none }}{{ [1, [2]] in [[1, [2]]] }}{{ event.missing in [1] }}', 'TrueTrueFalse'),
        (
            '{{ 4 is divisibleby 2 }}{{ 3 is odd }}{{ 3 is even }}{{ "A" is upper }}{{ 1 is in [1] }}',
            'TrueTrueFalseTrueTrue',
        ),
        (
            '{{ event.missing is defined }}{{ event.n is eq 3 }}{{ "upper" is filter }}{{ none is none }}',
            'FalseTrueTrueTrue',
        ),
        ('{{ "7".zfill(3) }} {{ "a"|center(5) }}| {{ "a".ljust(3) }}|', '007   a  | a  |'),
        ('{{ event_name|upper|lower|title|capitalize|trim|length }}', '10'),
        ('{{ 1700000000|int }} {{ "%d"|format(1700000000) }} {{ 3.14159|round(2) }}', '1700000000 1700000000 3.14'),
        ('{{ event.missing|default("d") }} {{ 5|default(1700000000) }}', 'd 5'),
        ('{{ "a\nb"|indent(2) }}', 'a\n  b'),
        ('{{ "x"|e }}{{ "<b>"|escape }}{{ "<i>a</i>"|striptags }}', 'x&lt;b&gt;a'),
        ('{{ dict(a=1).a }}{{ cycler("x", "y").next() }}{{ event is mapping }}{{ 3 in event.list }}', '1xTrueTrue'),
        ('{{ event.list|batch(2)|map("list")|list }}{{ event.list|slice(2)|list }}', '[[1, 2], [3]][[1, 2], [3]]'),
        ('{{ event.list|first }}{{ event.list|last }}{{ event.list|min }}{{ event.list|max }}', '1313'),
        ('{% filter upper %}a{% endfilter %}{% set x %}b{{ event.n }}{% endset %}{{ x }}', 'Ab3'),
        ('{{ event.long|length }}{{ event.big|length }}', '2000001000000'),
        ('{{ event.big[:3] }}{{ event.long[:2] }}', 'xxx[0, 1]'),
        ('{% raw %}{{ x }}{% endraw %}{# comment #}', '{{ x }}'),
        ('{%- if event.n == 3 -%} yes {%- endif -%}', 'yes'),
    ],
)
def test_ordinary_templates_render_as_in_jinja(source: str, text: str) -> None:
    assert Renderer().render(source, NAMES) == text


@pytest.mark.parametrize(
    ('source', 'words'),
    [
        ('{{ event.missing.attribute }}', "'dict object' has no attribute 'missing'"),
        ('{{ event', 'unexpected end of template'),
        ('{% nonsense %}', "unknown tag 'nonsense'"),
        ('{{ event|nonsense }}', "No filter named 'nonsense'"),
        ('{{ event_name.__class__.__mro__ }}', '__class__'),
        ('{{ lipsum.__globals__ }}', '__globals__'),
        ('{{ lipsum.__globals__["os"].popen("id").read() }}', '__globals__'),
        ('{{ cycler.__init__.__globals__.os.popen("id").read() }}', '__init__'),
        ('{{ event_name|attr("__class__") }}', '__class__'),
        ('{{ "{0.__class__.__mro__}".format(event_name) }}', '__class__'),
        ('{{ event.list.append(4) }}', 'append'),
        ('{{ event.clear() }}', 'clear'),
        ('{% include "x" %}', 'no loader'),
        ('{{ lipsum(1000000) }}', 'width or count'),
        ('{{ 1 / 0 }}', 'division by zero'),
        ('{{ event.list.missing() }}', "has no attribute 'missing'"),
        ('{{ undefined_name() }}', "'undefined_name' is undefined"),
    ],
)
def test_faulty_and_forbidden_templates_say_what_is_wrong(source: str, words: str) -> None:
    with pytest.raises(TemplateFailed) as failed:
        Renderer().render(source, NAMES)

    assert words in str(failed.value)


def grown(start: str, grow: str, use: str = '{{ ns.x }}') -> str:
    """A template that puts 64 times something made of ``ns.x`` into ``ns.x``."""
    loop = f'{{% for i in range(64) %}}{grow}{{% endfor %}}'
    return f'{{% set ns = namespace(x={start}) %}}{loop}{use}'


ATTACKS = [
    '{{ "a" * 1000000000 }}',
    '{{ 1000000000 * "a" }}',
    '{{ [0] * 1000000000 }}',
    '{{ 9 ** (9 ** 9) }}',
    '{{ (9 ** 4000) * (9 ** 4000) * (9 ** 4000) * (9 ** 4000) }}',
    '{{ "a".ljust(1000000000) }}',
    '{{ "a".center(1000000000) }}',
    '{{ "1".zfill(1000000000) }}',
    '{{ ("\t" * 1000).expandtabs(1000000000) }}',
    '{{ "a"|center(1000000000) }}',
    '{{ "a\nb"|indent(1000000000) }}',
    '{{ "%1000000000d" % 1 }}',
    '{{ "%*d" % (1000000000, 1) }}',
    '{{ "%.1000000000f" % 1.5 }}',
    '{{ "%1000000000d"|format(1) }}',
    '{{ "{:1000000000}".format(1) }}',
    '{{ "{:{w}}".format(1, w=1000000000) }}',
    '{{ "{:{}}".format(1, 1000000000) }}',
    '{{ "{0:1000000000}".format_map({}) }}',
    '{{ [1]|batch(1000000000, 0)|list }}',
    '{{ [1]|slice(1000000000)|list }}',
    '{{ 1.5|round(1000000000, "ceil") }}',
    '{{ event.list|tojson(indent=1000000000) }}',
    '{{ (1).to_bytes(1000000000, "big") }}',
    '{{ range(1000000000)|list }}',
    '{{ event.big|replace("", event.big) }}',
    '{{ event.big.replace("x", event.big) }}',
    '{{ event.big.join(event.long|map("string")) }}',
    '{{ event.long|join(event.big) }}',
    '{{ "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa".translate({97: event.big}) }}',
    '{{ ("%s" * 1000) % ((event.big,) * 1000) }}',
    '{{ ("{0}" * 1000).format(event.big) }}',
    grown('"a"', '{% set ns.x = ns.x + ns.x %}', '{{ ns.x|length }}'),
    grown('"a"', '{% set ns.x = ns.x ~ ns.x %}', '{{ ns.x|length }}'),
    grown('"a"', '{% set ns.x %}{{ ns.x }}{{ ns.x }}{% endset %}'),
    grown('"a"', '{% set ns.x = [ns.x, ns.x] %}'),
    grown('"a"', '{% set ns.x = (ns.x, ns.x) %}', '{{ {ns.x: 1} }}'),
    grown('"a"', '{% set ns.x = {1: ns.x, 2: ns.x} %}'),
    grown('namespace()', '{% set ns.x = namespace(a=ns.x, b=ns.x) %}', '{{ ns.x }}' + ENDLESS),
    grown('{}', '{% set ns.x = dict(a=ns.x.items(), b=ns.x.items()) %}'),
    grown('[]', '{% set ns.x = [[ns.x, ns.x]|batch(2)|first, ns.x] %}', '{{ ns.x == [] }}'),
    '{% macro m(n) %}{% if n %}{{ m(n - 1, varargs, varargs) }}{% endif %}{{ varargs }}{% endmacro %}{{ m(60) }}'
    + ENDLESS,
    ENDLESS,
    '{% for a in event.long %}{% for b in event.long %}{% endfor %}{% endfor %}',
    '{% for a in event.big %}{% for b in event.big %}{% if a == b %}{% endif %}{% endfor %}{% endfor %}',
    '{% for a in range(100000) %}{{ event.big }}{% endfor %}',
    '{% for a in range(100000) %}{{ a }}' + 'x' * 500 + '{% for b in range(100) %}y{% endfor %}{% endfor %}',
    '{% for a in range(100000) %}{% set x = event.big[:999999] %}{% endfor %}',
    '{% for a in range(100000) %}{% set x = event.big|upper %}{% endfor %}',
    '{% for a in range(100000) %}{% set x = event.long|sort %}{% endfor %}',
    '{% for a in range(100000) %}{% set x = event.long|unique|list %}{% endfor %}',
    '{% for a in range(100000) %}{% set x = event.big.upper() %}{% endfor %}',
    '{{ event.long|map("upper")|map("list")|map("join", event.big)|list }}',
    '{{ event.big|urlize }}',
    '{{ event.big|pprint }}',
    '{{ event.big|wordwrap(1) }}',
    '{{ "aaaa"|wordwrap(1, wrapstring=event.big) }}' + ENDLESS,
    '{{ event.big|striptags }}',
    '{{ event.big.encode("punycode") }}',
    '{{ event.big.encode("idna") }}',
    '{{ event.big.encode().decode("idna") }}',
    '{{ event.big.encode().center(1000000000) }}',
    '{{ ("f" * 1000000)|int(base=16) }}',
    '{{ event.long|map("tojson", indent=999)|list }}{{ event.long|tojson(indent=999) }}',
    '{{ event.long|sum(start=[]) }}',
    '{% set l = [[1]] * 100000 %}{{ l|sum(start=[]) }}',
    '{% macro m() %}{{ m() }}{{ m() }}{% endmacro %}{{ m() }}',
    '{% macro m(n) %}{% if n %}{{ m(n - 1) }}{{ m(n - 1) }}{% endif %}{% endmacro %}{{ m(50) }}',
    '{% for x in [1, 2] recursive %}{{ loop([1, 2]) }}{% endfor %}',
    '{% for x in [40] recursive %}{% if x %}{{ loop([x - 1, x - 1]) }}{% endif %}{% endfor %}',
    '{{ ' + '(' * 5000 + '1' + ')' * 5000 + ' }}',
    '{{ a' + '.a' * 5000 + ' }}',
    '{{ ' + 'not ' * 5000 + '1 }}',
    '{{ ' + '-' * 5000 + '1 }}',
    '{{ ' + '[' * 5000 + ']' * 5000 + ' }}',
    '{% if 1 %}' * 1000 + '{% endif %}' * 1000,
    '{% for a in [1] %}' * 200 + '{% endfor %}' * 200,
    '{%for a in a%}' * 200 + '{{a}}' * 2300 + '{%endfor%}' * 200,
    '{%for a in a if a%}' * 60 + '{{a}}' * 2800 + '{%endfor%}' * 60,
    '{{ "%900000000d" is odd }}',
    '{{ "%900000000d" is divisibleby 5 }}',
    '{{ ["%900000000d"]|select("even")|list }}',
    '{{ event.long|select("in", event.long)|list }}',
    '{{ event.long|reject("eq", 1)|select("in", event.long)|list }}',
    '{{ [event.big]|sort(attribute="' + '0,' * 8000 + '0")|length }}{{ event.big|sort(attribute="0,0,0,0,0,0")|list }}',
    '{{ event.big|map(attribute="' + '0.' * 8000 + '0")|list }}',
    '{% set a = event.long|list %}' + '{% if event.long == a or event.long < a %}{% endif %}' * 300,
    '{% set a = event.long|list %}' + '{% if event.long is eq a %}{% endif %}' * 500,
    '{{ ' + '-1 in event.long or ' * 90 + '0 }}' + '{% if -1 in event.long %}{% endif %}' * 400,
]


@pytest.mark.parametrize('source', ATTACKS[:60])
def test_no_template_takes_much_memory(source: str) -> None:
    tracemalloc.start()

    try:
        with pytest.raises(TemplateFailed):
            Renderer().render(source, NAMES)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert most < 100 * 1024 * 1024


SOON = 3.0
"""Processor seconds; a busy machine takes twice as many for the same."""


@pytest.mark.parametrize('source', ATTACKS, ids=[f'{number}-{source[:40]}' for number, source in enumerate(ATTACKS)])
def test_attacks_end_soon(source: str) -> None:
    started = time.thread_time()

    with pytest.raises(TemplateFailed):
        Renderer().render(source, NAMES)

    assert time.thread_time() - started < SOON


def test_output_is_bounded() -> None:
    with pytest.raises(TemplateFailed, match='more than 10 characters'):
        Renderer().render('{{ event.big }}', NAMES, max_output=10)
    with pytest.raises(TemplateFailed, match='more than 10 characters'):
        Renderer().render('12345678901', NAMES, max_output=10)


def test_a_broken_template_is_compiled_once() -> None:
    one = Renderer()

    messages = set()
    for _ in range(2):
        with pytest.raises(TemplateFailed) as failed:
            one.render('{{ oops', NAMES)
        messages.add(str(failed.value))

    assert len(messages) == 1
    assert len(one._compiled) == 1


def test_what_compiling_made_is_kept_within_bounds() -> None:
    one = Renderer()

    for number in range(1500):
        one._compiled[f'{{{{ {number} }}}}'] = 'x'
    one._template('{{ 1 }}{# new #}')

    assert len(one._compiled) <= 512


@pytest.mark.parametrize(
    ('kind', 'source', 'text'),
    [
        ('value', 'https://h/{{ event.name }}', 'https://h/Zo%C3%A9%20%26%20Co'),
        ('value', 'https://h/{{ "../../admin" }}', 'https://h/..%2F..%2Fadmin'),
        ('value', 'https://h/{{ ".." }}/{{ "." }}/x', 'https://h/%2E%2E/%2E/x'),
        ('value', 'https://h/?{{ {"a": "b c", "d": "&"}|urlencode }}', 'https://h/?a=b+c&d=%26'),
        ('value', 'https://h/?n={{ "a&admin=1#x" }}', 'https://h/?n=a%26admin%3D1%23x'),
        ('value', 'https://h/{{ "a\r\nX: 1" }}', 'https://h/a%0AX%3A%201'),
        ('value', 'https://h/{{ event.missing }}/{{ event.n }}', 'https://h//3'),
        ('value', 'https://h/{% set q = {"a": "/"}|urlencode %}?{{ q }}', 'https://h/?a=%2F'),
        ('value', 'https://h/{{ "<b>"|safe }}{{ {"a": 1}|tojson }}', 'https://h/%3Cb%3E%7B%22a%22%3A%201%7D'),
        ('value', 'https://h/{{ "100%41" }}', 'https://h/100%2541'),
        ('rest', 'https://h/{{ "a b" }}?x={{ "1&2=3#4" }}', 'https://h/a%20b?x=1&2=3#4'),
        ('rest', 'https://h/{{ "a\\\\b" }}', 'https://h/a%5Cb'),
        ('rest', 'https://h/{{ {"a": "b c"}|urlencode }}', 'https://h/a=b+c'),
        ('text', '{{ "a b" }}', 'a b'),
    ],
)
def test_values_are_encoded_where_they_enter_a_url(kind, source: str, text: str) -> None:
    assert renderer(kind).render(source, NAMES) == text
