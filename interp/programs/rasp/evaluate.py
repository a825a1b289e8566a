"""What a program means: a literal evaluator, one sequence at a time. Slow on purpose, and the oracle of the compiler.

Numbers are exact: means are fractions, not floats.
"""

import math
from collections.abc import Sequence
from fractions import Fraction
from numbers import Rational
from typing import Any

import numpy as np

from interp.programs.rasp.nodes import (
    Aggregate,
    AggregateSum,
    Closest,
    Constant,
    Indices,
    Linear,
    Map,
    Readout,
    Selector,
    SelectorWidth,
    SequenceMap,
    SOp,
    Tokens,
    Value,
    walk,
)
from interp.results.errors import BadInput

Values = list[Value]


def evaluate(program: SOp, inputs: Sequence[Value], causal: bool = False) -> Values:
    """The value of `program` at every position of `inputs`: None is "don't care", fractions are exact.

    Raises: BadInput for an aggregate of several different categorical values, naming it.
    """
    return evaluate_all(program, inputs, causal)[program]


def evaluate_all(program: SOp, inputs: Sequence[Value], causal: bool = False) -> "dict[SOp, Values]":
    """Like `evaluate`, with every operator below the program."""
    found = _ById()
    for node in walk(program):
        found[node] = [exact(value) for value in _values(node, list(inputs), found, causal)]
    return found


def selected(selector: Selector, found: "dict[SOp, Values]", n: int, causal: bool) -> list[list[int]]:
    """The positions that every query selects."""
    keys, queries = found[selector.keys], found[selector.queries]
    matches = [
        [j for j in range(i + 1 if causal else n) if None not in (keys[j], queries[i])
         and selector.predicate(keys[j], queries[i])]
        for i in range(n)
    ]
    if isinstance(selector, Closest):
        return [[closest(i, found)] for i, found in enumerate(matches)]
    return matches


def closest(query: int, matches: list[int]) -> int:
    """The nearest match other than the query's own, left before right; then its own; then position 0."""
    others = [j for j in matches if j != query]
    if others:
        return min(others, key=lambda j: (abs(j - query), j))
    return query if query in matches else 0


def exact(value: Any) -> Value:
    """Whole numbers as int, other rationals as Fraction, NaN and infinity as None; anything else as it is."""
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, Rational | np.integer):
        return int(value) if value == int(value) else Fraction(value)
    if isinstance(value, float | np.floating):
        return None if not math.isfinite(value) else int(value) if value == int(value) else float(value)
    return value


def plain(value: Any) -> Value:
    """A value as a person wants to see it: fractions become floats."""
    return float(value) if isinstance(value, Fraction) else value


def _values(node: SOp, inputs: Values, found: "dict[SOp, Values]", causal: bool) -> Values:
    n = len(inputs)
    match node:
        case Tokens():
            return inputs
        case Indices():
            return list(range(n))
        case Constant():
            return [node.value] * n
        case Map() | SequenceMap():
            return [call(node, *(found[read][i] for read in node.reads)) for i in range(n)]
        case Linear():
            return [_linear(node, [found[read][i] for read in node.reads]) for i in range(n)]
        case SelectorWidth():
            return [len(chosen) for chosen in selected(node.selector, found, n, causal)]
        case AggregateSum() | Aggregate():
            held = [[found[node.value][j] for j in chosen] for chosen in selected(node.selector, found, n, causal)]
            return [_aggregate(node, values) for values in held]
        case Readout():
            return [_readout(node, [found[read][i] for read in node.reads]) for i in range(n)]
    raise BadInput(f"{type(node).__name__} is no construct of the language")


def call(node: "Map | SequenceMap", *arguments: Value) -> Value:
    """The function of a map at one position. Raises: BadInput where it fails, but for arithmetic, which gives None."""
    if None in arguments:
        return None
    try:
        return node.function(*arguments)
    except ArithmeticError:
        return None
    except Exception as error:
        raise BadInput(f"the function of {node} fails at {', '.join(map(repr, arguments))}: {error}") from error


def _linear(node: Linear, values: Values) -> Value:
    if None in values:
        return None
    return sum((_fraction(f) * _fraction(v) for f, v in zip(node.factors, values)), _fraction(node.constant))


def _fraction(number: Any) -> Fraction:
    return Fraction(number)


def _aggregate(node: "Aggregate | AggregateSum", held: Values) -> Value:
    if not held:
        return 0 if isinstance(node, AggregateSum) else node.default
    if node.encoding == "categorical":
        if any(value != held[0] for value in held):
            raise BadInput(f"{node} is categorical and selects different values at once: {held[:4]}. "
                           "Select one position, or aggregate numerical(...) for their mean")
        return held[0]
    if None in held:
        raise BadInput(f"{node} is numerical and selects a position without a value: give what it reads a default")
    total = sum(map(_fraction, held))
    return total if isinstance(node, AggregateSum) else total / len(held)


def _readout(node: Readout, values: Values) -> Value:
    scores = np.array(node.bias, dtype=np.float64)
    for table, value in zip(node.tables, values):
        if isinstance(table, tuple):
            scores = scores + float(value) * np.array(table)
        elif value is not None:
            scores = scores + np.array(table.get(value, np.zeros(len(scores))))
    return node.labels[int(scores.argmax())]


class _ById(dict):
    """Operators compare position by position, so a table of them looks them up by identity."""

    def __setitem__(self, key: SOp, value: Values) -> None:
        super().__setitem__(id(key), value)

    def __getitem__(self, key: SOp) -> Values:
        return super().__getitem__(id(key))
