"""The expressions of a RASP program: sequence operators, which have one value at every position.

Weiss, Goldberg & Yahav 2021, Thinking Like Transformers, arXiv 2106.06981; the two encodings are those of Lindner et
al. 2023 (Tracr), arXiv 2301.05062. A *categorical* operator has one of finitely many values (in a compiled model: one
direction a value), a *numerical* one is a number (one direction in all). None means "don't care".

    x + y, x - 1, x < y, x == "a", a & b, ~a        make new operators position by position
"""

import operator
from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from numbers import Real
from typing import Any, Literal

from interp.results.errors import BadInput

Encoding = Literal["categorical", "numerical"]
Value = Any
"""Anything hashable: text, a number, True, a tuple of these; None is no value."""


class SOp:
    """One value at every position of the sequence. `reads` are the operators it is computed from."""

    encoding: Encoding = "categorical"
    label: str = ""
    reads: "tuple[SOp, ...]" = ()

    def named(self, label: str) -> "SOp":
        """This operator, called `label` in tables, figures and errors."""
        self.label = label
        return self

    def __bool__(self) -> bool:
        raise BadInput(f"{self!r} has a value at every position and is neither true nor false: "
                       "write & | ~ where you would write and, or, not")

    __hash__ = object.__hash__

    def __eq__(self, other: Any) -> "SOp":  # type: ignore[override]
        return binary(operator.eq, "==", self, other)

    def __ne__(self, other: Any) -> "SOp":  # type: ignore[override]
        return binary(operator.ne, "!=", self, other)

    def __lt__(self, other: Any) -> "SOp":
        return binary(operator.lt, "<", self, other)

    def __le__(self, other: Any) -> "SOp":
        return binary(operator.le, "<=", self, other)

    def __gt__(self, other: Any) -> "SOp":
        return binary(operator.gt, ">", self, other)

    def __ge__(self, other: Any) -> "SOp":
        return binary(operator.ge, ">=", self, other)

    def __add__(self, other: Any) -> "SOp":
        return binary(operator.add, "+", self, other)

    def __radd__(self, other: Any) -> "SOp":
        return binary(operator.add, "+", other, self)

    def __sub__(self, other: Any) -> "SOp":
        return binary(operator.sub, "-", self, other)

    def __rsub__(self, other: Any) -> "SOp":
        return binary(operator.sub, "-", other, self)

    def __mul__(self, other: Any) -> "SOp":
        return binary(operator.mul, "*", self, other)

    def __rmul__(self, other: Any) -> "SOp":
        return binary(operator.mul, "*", other, self)

    def __truediv__(self, other: Any) -> "SOp":
        return binary(operator.truediv, "/", self, other)

    def __rtruediv__(self, other: Any) -> "SOp":
        return binary(operator.truediv, "/", other, self)

    def __and__(self, other: Any) -> "SOp":
        return binary(lambda a, b: bool(a) and bool(b), "&", self, other)

    def __or__(self, other: Any) -> "SOp":
        return binary(lambda a, b: bool(a) or bool(b), "|", self, other)

    def __invert__(self) -> "SOp":
        return Map(lambda a: not a, self).named(f"~{self}")

    def __repr__(self) -> str:
        return self.label or type(self).__name__.lower()


class Tokens(SOp):
    """The token at every position."""

    label = "tokens"


class Indices(SOp):
    """The index of every position, from 0."""

    label = "indices"


tokens, indices = Tokens(), Indices()


class Constant(SOp):
    """The same value everywhere."""

    def __init__(self, value: Value):
        self.value, self.label = value, repr(value)


class Map(SOp):
    """`function` of one operator, position by position; None stays None. An ArithmeticError gives None."""

    def __init__(self, function: Callable[[Value], Value], of: SOp, encoding: Encoding = "categorical"):
        self.function, self.reads, self.encoding = function, (sop(of),), _encoding(encoding)
        self.label = f"map({self.reads[0]})"


class SequenceMap(SOp):
    """`function` of several operators, position by position; None where one of them is None."""

    def __init__(self, function: Callable[..., Value], *of: SOp, encoding: Encoding = "categorical"):
        if not of:
            raise BadInput("sequence_map was given no operators to read")
        self.function, self.reads, self.encoding = function, tuple(map(sop, of)), _encoding(encoding)
        self.label = f"map({', '.join(map(str, self.reads))})"


class Linear(SOp):
    """constant + sum of factor * operator, of numerical operators; numerical."""

    encoding = "numerical"

    def __init__(self, terms: Mapping[SOp, float], constant: float = 0):
        self.reads, self.factors, self.constant = tuple(terms), tuple(terms.values()), constant
        for read in self.reads:
            _need(read, "numerical", "a linear combination")
        self.label = f"linear({', '.join(map(str, self.reads))})"


class Selector:
    """Which keys every query selects: `predicate(key value, query value)`. A None takes part in no match.

    Selectors combine with & | ~; two that read different operators are joined over the pairs of their values.
    """

    def __init__(self, keys: SOp, queries: SOp, predicate: Callable[[Value, Value], bool]):
        self.keys, self.queries, self.predicate = sop(keys), sop(queries), predicate
        for read in (self.keys, self.queries):
            _need(read, "categorical", "a selector")

    def _join(self, other: "Selector", both: Callable[[bool, bool], bool]) -> "Selector":
        if not isinstance(other, Selector) or isinstance(other, Closest) or isinstance(self, Closest):
            raise BadInput(f"& and | join two selectors made by select, not {self!r} and {other!r:.60}")
        p, q = self.predicate, other.predicate
        keys, left_key, right_key = _pair(self.keys, other.keys)
        queries, left_query, right_query = _pair(self.queries, other.queries)
        return Selector(keys, queries, lambda k, x: both(
            bool(p(left_key(k), left_query(x))), bool(q(right_key(k), right_query(x)))
        ))

    def __and__(self, other: "Selector") -> "Selector":
        return self._join(other, lambda a, b: a and b)

    def __or__(self, other: "Selector") -> "Selector":
        return self._join(other, lambda a, b: a or b)

    def __invert__(self) -> "Selector":
        if isinstance(self, Closest):
            raise BadInput("~ of select_closest selects no one position: use select")
        return Selector(self.keys, self.queries, lambda k, q: not self.predicate(k, q))

    def __bool__(self) -> bool:
        raise BadInput("a selector is neither true nor false: write & | ~ where you would write and, or, not")

    def __repr__(self) -> str:
        return f"{type(self).__name__.lower()}({self.keys}, {self.queries})"


class Closest(Selector):
    """One position a query: the nearest other one that matches, of two as near the left one; the query's own only
    if nothing else matches; position 0 (where a Transformer Program has its BOS) if nothing does.

    Friedman, Wettig & Chen 2023, Learning Transformer Programs, arXiv 2306.01128, section 3.1.
    """


class Aggregate(SOp):
    """What the selected positions hold: their mean where numerical; where categorical the one value they agree on
    (several different ones are an error). `default` where nothing is selected."""

    def __init__(self, selector: Selector, of: SOp, default: Value = None):
        self.selector, self.value = _selector(selector, "aggregate"), sop(of)
        self.encoding, self.reads = self.value.encoding, (selector.keys, selector.queries, self.value)
        self.default = 0 if default is None and self.encoding == "numerical" else default
        self.label = f"aggregate({self.value})"


class AggregateSum(SOp):
    """The sum, not the mean, of a numerical operator with whole values over the selected positions; 0 for none."""

    encoding = "numerical"

    def __init__(self, selector: Selector, of: SOp):
        self.selector, self.value = _selector(selector, "aggregate_sum", closest=False), sop(of)
        _need(self.value, "numerical", "aggregate_sum")
        self.reads = (selector.keys, selector.queries, self.value)
        self.label = f"sum({self.value})"


class SelectorWidth(SOp):
    """How many positions are selected."""

    def __init__(self, selector: Selector):
        self.selector, self.reads = _selector(selector, "selector_width", closest=False), ()
        self.reads = (selector.keys, selector.queries)
        self.label = "width"


class Readout(SOp):
    """The label of the largest score, the first of equals. The score of a label is its bias plus, for every operator
    read, its row of that operator's value (numerical: value times the one row). Only as a program's output."""

    def __init__(self, tables: Mapping[SOp, Any], labels: tuple[Value, ...], bias: tuple[float, ...]):
        self.reads, self.tables, self.labels, self.bias = tuple(tables), tuple(tables.values()), labels, bias
        self.label = "readout"


def sop(value: Any) -> SOp:
    """`value` itself if it is an operator, else the constant. Raises: BadInput for a selector or a function."""
    if isinstance(value, Selector) or callable(value):
        raise BadInput(f"{value!r:.60} stands where a sequence operator or a constant is needed")
    return value if isinstance(value, SOp) else Constant(value)


def binary(function: Callable[[Value, Value], Value], sign: str, left: Any, right: Any) -> SOp:
    """`left sign right`: a Map where one side is a constant, else a SequenceMap. What is linear in numerical operators
    stays numerical."""
    label = f"({left} {sign} {right})"
    if "numerical" in (getattr(left, "encoding", ""), getattr(right, "encoding", "")) and sign in ("+", "-", "*", "/"):
        linear = _linear(left, right, 1 if sign == "+" else -1) if sign in "+-" else _scaled(sign, left, right)
        if linear is not None:
            return linear.named(label)
    if not isinstance(right, SOp):
        return Map(lambda x: function(x, right), left).named(label)
    if not isinstance(left, SOp):
        return Map(lambda x: function(left, x), right).named(label)
    return SequenceMap(function, left, right).named(label)


def _linear(left: Any, right: Any, sign: int) -> Linear | None:
    """The sum (difference, for sign -1) of numerical operators and plain numbers; None for anything else."""
    terms, constant = {}, 0
    for side, factor in ((left, 1), (right, sign)):
        if isinstance(side, Linear):  # a sum of sums is one sum
            constant += factor * side.constant
            for read, inner in zip(side.reads, side.factors):
                terms[read] = terms.get(read, 0) + factor * inner
        elif isinstance(side, SOp) and side.encoding == "numerical":
            terms[side] = terms.get(side, 0) + factor
        elif _is_number(side):
            constant += factor * side
        else:
            return None
    return Linear(terms, constant)


def _scaled(sign: str, left: Any, right: Any) -> Linear | None:
    """A numerical operator times (by) a plain number; None for anything else."""
    node, factor = (left, right) if isinstance(left, SOp) else (right, left)
    if getattr(node, "encoding", "") != "numerical" or not _is_number(factor) or (sign == "/" and node is right):
        return None
    if sign == "/" and factor == 0:
        raise BadInput(f"{node} / 0 has no value anywhere")
    return Linear({node: factor if sign == "*" else Fraction(1) / Fraction(factor)})


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def walk(*roots: SOp) -> Iterator[SOp]:
    """Every operator below the roots once, those that are read before those that read them."""
    seen: set[int] = set()
    stack = [(root, False) for root in reversed(roots)]
    while stack:
        node, done = stack.pop()
        if done:
            yield node
        elif id(node) not in seen:
            seen.add(id(node))
            stack.append((node, True))
            stack += [(read, False) for read in reversed(node.reads)]


def _pair(a: SOp, b: SOp) -> tuple[SOp, Callable, Callable]:
    """One operator that holds the values of both, and how to take each out again."""
    if a is b:
        return a, lambda v: v, lambda v: v
    return SequenceMap(lambda x, y: (x, y), a, b).named(f"pair({a}, {b})"), lambda v: v[0], lambda v: v[1]


def _need(node: SOp, encoding: Encoding, where: str) -> None:
    if node.encoding != encoding:
        raise BadInput(f"{where} reads {node}, which is {node.encoding}; write {encoding}({node})")


def _selector(selector: Any, where: str, closest: bool = True) -> Selector:
    if not isinstance(selector, Selector):
        raise BadInput(f"{where} needs a selector, made by select(keys, queries, predicate), not {selector!r:.60}")
    if not closest and isinstance(selector, Closest):
        raise BadInput(f"{where} of select_closest: it selects one position, so use aggregate")
    return selector


def _encoding(encoding: Any) -> Encoding:
    if encoding not in ("categorical", "numerical"):
        raise BadInput(f"an operator is categorical or numerical, not {encoding!r:.40}")
    return encoding
