"""Jinja2's sandbox, with everything that a template does paid for out of a budget."""

from __future__ import annotations

import functools
import json
import operator
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import jinja2
from jinja2 import nodes, pass_context, pass_eval_context
from jinja2.exceptions import SecurityError
from jinja2.filters import do_urlencode, make_attrgetter
from jinja2.runtime import Context, Undefined
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace, generate_lorem_ipsum, htmlsafe_json_dumps
from jinja2.visitor import NodeTransformer

from wazo_webhookd.domain import numbers
from wazo_webhookd.services.http.budget import (
    Budget,
    Limited,
    LimitExceeded,
    check_binary,
    check_brace_format,
    check_comparison,
    check_percent_format,
    check_replace,
    check_width,
)

STRING_METHODS: Final = frozenset(
    name for name in dir(str) if not name.startswith('_') and name not in ('translate', 'maketrans')
)
NUMBER_METHODS: Final = frozenset({'as_integer_ratio', 'bit_length', 'conjugate', 'hex', 'is_integer'})
WIDTH_METHODS: Final = frozenset({'center', 'expandtabs', 'ljust', 'rjust', 'zfill'})
WIDTH_FILTERS: Final = frozenset({'batch', 'center', 'indent', 'round', 'slice', 'tojson', 'truncate', 'wordwrap'})
SLOW_FILTERS: Final = {
    'pprint': 65536, 'striptags': 65536, 'title': 65536, 'urlize': 4096, 'wordcount': 65536, 'wordwrap': 65536,
    'xmlattr': 65536,
}  # fmt: skip
"""Characters of input; their time grows faster than their input."""
MAX_NESTED_LOOPS: Final = 20
"""Python compiles no more, and Jinja takes seconds to prepare what Python then refuses."""
CODECS: Final = frozenset({'ascii', 'latin-1', 'latin1', 'iso-8859-1', 'utf-8', 'utf8', 'utf-16', 'utf-32'})

COMPARISONS: Final[dict[str, Callable[[Any, Any], Any]]] = {
    'eq': operator.eq, 'ne': operator.ne, 'lt': operator.lt, 'lteq': operator.le, 'gt': operator.gt,
    'gteq': operator.ge, 'in': lambda left, right: left in right, 'notin': lambda left, right: left not in right,
}  # fmt: skip
REMAINDER_TESTS: Final = frozenset({'divisibleby', 'even', 'odd'})
"""They take the remainder, which for a text means formatting it."""

_PLAIN = (str, bytes, int, float)
_FLAT_KEYS = (str, int, float, type(None))


class Encoded(str):
    """Text that is ready for a URL."""

    __slots__ = ()


class _State(threading.local):
    budget: Budget | None = None


def _lipsum(n: int = 5, html: bool = True, min: int = 20, max: int = 100) -> str:
    check_width(n * max)
    return generate_lorem_ipsum(n, html, min, max)


class PlainNamespace(Namespace):
    """A namespace that does not write out what it holds."""

    def __repr__(self) -> str:
        return '<namespace>'


class _Paying(NodeTransformer):
    """Sends what the sandbox does not see (loops, slices, joints, comparisons, literals of containers) through the
    environment."""

    def __init__(self) -> None:
        self._loops = 0

    def _call(self, name: str, *arguments: Any) -> nodes.Call:
        return nodes.Call(nodes.EnvironmentAttribute(name), list(arguments), [], None, None)

    def visit_For(self, node: nodes.For) -> nodes.Node:
        self._loops += 1
        if self._loops > MAX_NESTED_LOOPS:
            raise LimitExceeded(f'more than {MAX_NESTED_LOOPS} loops within each other in the template')
        self.generic_visit(node)
        self._loops -= 1
        node.iter = self._call('limited', node.iter)
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:
        self.generic_visit(node)
        return self._call('joined', *node.nodes)

    def visit_Getitem(self, node: nodes.Getitem) -> nodes.Node:
        self.generic_visit(node)
        if not isinstance(node.arg, nodes.Slice):
            return node
        part = node.arg
        nothing = nodes.Const(None)
        return self._call('sliced', node.node, part.start or nothing, part.stop or nothing, part.step or nothing)

    def visit_Compare(self, node: nodes.Compare) -> nodes.Node:
        self.generic_visit(node)
        if len(node.ops) == 1:
            return self._call('compared', nodes.Const(node.ops[0].op), node.expr, node.ops[0].expr)
        node.expr = self._call('weighed', node.expr)  # a chain: each side is paid for, it stops where Python stops
        for operand in node.ops:
            operand.expr = self._call('weighed', operand.expr)
        return node

    def visit_List(self, node: nodes.List) -> nodes.Node:
        self.generic_visit(node)
        return self._call('built', node)

    visit_Dict = visit_List

    def visit_Tuple(self, node: nodes.Tuple) -> nodes.Node:
        self.generic_visit(node)
        return self._call('built', node) if node.ctx == 'load' else node


class LimitedEnvironment(ImmutableSandboxedEnvironment):
    """The sandbox, with everything paid for out of the current thread's budget."""

    intercepted_binops = frozenset({'+', '-', '*', '/', '//', '%', '**'})

    def __init__(self, output: Callable[[Any], str], encodes: bool) -> None:
        """``output`` writes a value; ``encodes``: it percent-encodes, so ``urlencode`` marks what it made."""
        super().__init__(optimized=False, cache_size=0, finalize=self._finalizer(output))
        self._state = _State()
        self.globals |= {'namespace': PlainNamespace, 'lipsum': _lipsum}
        self.filters = {name: self._paying(name, function) for name, function in self.filters.items()}
        self.filters |= {'sum': self._sum, 'tojson': self._tojson}
        tests: Any = self.tests
        self.tests = {name: self._paying_test(name, function) for name, function in tests.items()}
        if encodes:
            self.filters['urlencode'] = self._urlencode

    def run(self, template: jinja2.Template, names: Mapping[str, Any], turn: int) -> str:
        self._state.budget = Budget(turn)
        try:
            return ''.join(template.root_render_func(template.new_context(dict(names))))
        finally:
            self._state.budget = None

    def compiled(self, source: str) -> jinja2.Template:
        self._state.budget = Budget(1)
        try:
            return self.from_string(source)
        finally:
            self._state.budget = None

    @property
    def budget(self) -> Budget:
        budget = self._state.budget
        if budget is None:
            raise LimitExceeded('rendered without a budget')
        return budget

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        tree: nodes.Template = _Paying().visit(super()._parse(source, name, filename))
        return tree

    def _finalizer(self, output: Callable[[Any], str]) -> Callable[..., str]:
        @pass_eval_context  # so that constants are not worked out while compiling
        def finalize(_: Any, value: Any) -> str:
            self.budget.weigh(value)
            if isinstance(value, Undefined) and value._undefined_exception is SecurityError:
                value._fail_with_undefined_error()  # Jinja would write nothing
            return output(value)

        return finalize

    # -- what templates are made to call ---------------------------------------------------------

    def limited(self, iterable: Iterable[Any]) -> Limited:
        return Limited(iterable, self.budget)

    def joined(self, *pieces: Any) -> str:
        for piece in pieces:
            self.budget.weigh(piece)
        return ''.join(map(str, pieces))

    def sliced(self, value: Any, start: Any, stop: Any, step: Any) -> Any:
        return self.budget.paid(value[start:stop:step])

    def built(self, value: Any) -> Any:
        return self.budget.paid(value)

    def compared(self, sign: str, left: Any, right: Any) -> Any:
        check_comparison(sign, left, right, self.budget)
        return COMPARISONS[sign](left, right)

    def weighed(self, value: Any) -> Any:
        return self.budget.paid(value)

    # -- what the sandbox lets us see ------------------------------------------------------------

    def call_binop(self, context: Context, sign: str, left: Any, right: Any) -> Any:
        check_binary(sign, left, right, self.budget)
        return super().call_binop(context, sign, left, right)

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:
        budget = __self.budget
        budget.tick()
        owner = getattr(__obj, '__self__', None)
        if owner is not __self:
            budget.weigh(args)
            budget.weigh(kwargs)
            method = getattr(__obj, '__wrapped__', __obj)  # the sandbox wraps str.format
            if isinstance(getattr(method, '__self__', None), _PLAIN):
                _check_method(method.__self__, method.__name__, args, kwargs, budget)
        result = super().call(__context, __obj, *args, **kwargs)
        return result if owner is __self else budget.paid(result)

    def getitem(self, obj: Any, argument: Any) -> Any:
        self.budget.look()
        if not isinstance(argument, _FLAT_KEYS):  # it is hashed each time
            self.budget.weigh(argument)
        return super().getitem(obj, argument)

    def _paying_test(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        skipped = 1 if hasattr(function, 'jinja_pass_arg') else 0

        @functools.wraps(function)
        def test_(*args: Any, **kwargs: Any) -> Any:
            budget = self.budget
            budget.look()
            values = (*args[skipped:], *kwargs.values())
            if name in REMAINDER_TESTS:
                check_binary('%', values[0], values[1] if len(values) > 1 else 2, budget)
            elif len(values) > 1:
                check_comparison('in' if name == 'in' else '==', values[0], values[1], budget)
            elif values and isinstance(values[0], str):
                budget.spend(len(values[0]))
            return function(*args, **kwargs)

        return test_

    def _paying(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        skipped = 1 if hasattr(function, 'jinja_pass_arg') else 0

        @functools.wraps(function)
        def filter_(*args: Any, **kwargs: Any) -> Any:
            budget = self.budget
            budget.tick()
            value, options = args[skipped], args[skipped + 1 :]
            weight = budget.weigh(value)
            budget.weigh(options)
            budget.weigh(kwargs)
            if name in WIDTH_FILTERS:
                check_width(*options, *kwargs.values())
            if weight > SLOW_FILTERS.get(name, weight):
                raise LimitExceeded(f'too much text for the filter {name}')
            if name == 'indent':
                width = options[0] if options else kwargs.get('width', 4)
                budget.spend(str(value).count('\n') * (width if isinstance(width, int) else len(str(width))))
            elif name == 'wordwrap':
                budget.spend(
                    weight
                    * max(
                        (len(option) for option in (*options, *kwargs.values()) if isinstance(option, str)), default=1
                    )
                )
            elif name == 'format':
                check_percent_format(str(value), options or kwargs, budget)
            elif name == 'replace':
                check_replace(str(value), str(options[0]), str(options[1]), budget)
            elif name == 'join':
                value = [*Limited(value, budget)]
                separator = options[0] if options else kwargs.get('d', '')
                budget.spend(len(value) * len(str(separator)))
                budget.weigh(value)
                args = (*args[:skipped], value, *options)
            return budget.paid(function(*args, **kwargs))

        return filter_

    @pass_context
    def _sum(self, context: Context, iterable: Iterable[Any], attribute: Any = None, start: Any = 0) -> Any:
        take = make_attrgetter(self, attribute)
        for item in Limited(iterable, self.budget):
            start = self.call_binop(context, '+', start, item if attribute is None else take(item))
        return start

    @pass_eval_context
    def _tojson(self, _: Any, value: Any, indent: int | None = None) -> Any:
        budget = self.budget
        budget.tick()
        check_width(indent)
        budget.weigh(value)
        if indent is not None:
            for piece in json.JSONEncoder(indent=indent, default=str).iterencode(value):
                budget.spend(len(piece))
        dumped: Any = htmlsafe_json_dumps(value, dumps=numbers.dumps, indent=indent, sort_keys=True)
        return budget.paid(dumped)

    def _urlencode(self, value: Any) -> Encoded:
        budget = self.budget
        budget.tick()
        budget.weigh(value)
        return Encoded(budget.paid(do_urlencode(value)))


def _check_method(owner: Any, name: str, args: tuple[Any, ...], kwargs: dict[str, Any], budget: Budget) -> None:
    """Methods of plain values that can make much out of little, or take long."""
    if isinstance(owner, str):
        if name in ('format', 'format_map'):
            check_brace_format(owner, (args, kwargs), budget)
        elif name not in STRING_METHODS:
            raise SecurityError(f'the method {name} of texts is not allowed')
        elif name in WIDTH_METHODS:
            check_width(*args, *kwargs.values())
            if name == 'expandtabs':
                budget.spend(owner.count('\t') * (args[0] if args and isinstance(args[0], int) else 8))
        elif name == 'replace' and len(args) > 1:
            check_replace(owner, str(args[0]), str(args[1]), budget)
        elif name == 'join' and args:
            budget.spend(len(owner) * (len(args[0]) if hasattr(args[0], '__len__') else 100_000))
        elif name == 'encode':
            _check_codec(*args, **kwargs)
    elif isinstance(owner, bytes):
        if name != 'decode':
            raise SecurityError(f'the method {name} of bytes is not allowed')
        _check_codec(*args, **kwargs)
    elif name not in NUMBER_METHODS:
        raise SecurityError(f'the method {name} of numbers is not allowed')


def _check_codec(encoding: Any = 'utf-8', errors: Any = 'strict') -> None:
    if str(encoding).lower() not in CODECS:
        raise SecurityError(f'the codec {encoding} is not allowed')
