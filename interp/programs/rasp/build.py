"""The functions that programs are written with."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from interp.programs.rasp.nodes import (
    Aggregate,
    AggregateSum,
    Closest,
    Constant,
    Encoding,
    Linear,
    Map,
    Readout,
    Selector,
    SelectorWidth,
    SequenceMap,
    SOp,
    Value,
    sop,
)
from interp.results.errors import BadInput


def constant(value: Value) -> SOp:
    """The same value at every position."""
    return Constant(value)


def map(function: Callable[[Value], Value], of: SOp, encoding: Encoding = "categorical") -> SOp:
    """`function(value)` at every position; None stays None, and an ArithmeticError gives None."""
    return Map(function, of, encoding)


def sequence_map(function: Callable[..., Value], *of: SOp, encoding: Encoding = "categorical") -> SOp:
    """`function(value, value, ...)` of several operators at every position; None where one of them is None."""
    return SequenceMap(function, *of, encoding=encoding)


def numerical(of: SOp) -> SOp:
    """The same values, which must be numbers, along one direction."""
    of = sop(of)
    return of if of.encoding == "numerical" else Map(lambda x: x, of, "numerical").named(str(of))


def categorical(of: SOp) -> SOp:
    """The same values with a direction each."""
    of = sop(of)
    return of if of.encoding == "categorical" else Map(lambda x: x, of).named(str(of))


def linear(terms: Mapping[SOp, float], constant: float = 0) -> SOp:
    """constant + sum of factor * operator; operators and result are numerical."""
    return Linear(terms, constant)


def select(keys: SOp, queries: SOp, predicate: Callable[[Value, Value], bool]) -> Selector:
    """For every query the keys with `predicate(key value, query value)`; both operators are categorical."""
    return Selector(keys, queries, predicate)


def select_all() -> Selector:
    """Every key for every query (in a causal program: every key so far)."""
    return Selector(Constant(True), Constant(True), lambda k, q: True)


def select_closest(keys: SOp, queries: SOp, predicate: Callable[[Value, Value], bool]) -> Closest:
    """For every query the nearest other position that matches; see `Closest` for ties and for no match."""
    return Closest(keys, queries, predicate)


def aggregate(selector: Selector, of: SOp, default: Value = None) -> SOp:
    """Mean of a numerical operator over what is selected, or the one value of a categorical one.

    `default` is the value where nothing is selected: None (don't care), for a numerical operator 0.
    """
    return Aggregate(selector, of, default)


def aggregate_sum(selector: Selector, of: SOp) -> SOp:
    """Sum of a numerical operator with whole values over what is selected; 0 where nothing is."""
    return AggregateSum(selector, of)


def selector_width(selector: Selector) -> SOp:
    """The number of positions that every query selects, categorical."""
    return SelectorWidth(selector)


def readout(tables: Mapping[SOp, Any], labels: Sequence[Value], bias: Sequence[float] | None = None) -> SOp:
    """The label with the largest sum of scores, the first of equals: a linear layer and argmax.

    tables: {categorical operator: {value: one score a label}, numerical operator: one weight a label}.
    Raises: BadInput where a row has not one number a label.
    """
    labels = tuple(labels)
    bias = tuple(float(x) for x in (bias if bias is not None else np.zeros(len(labels))))
    checked: dict[SOp, Any] = {}
    for node, table in tables.items():
        rows = table if isinstance(table, Mapping) else {"": table}
        if isinstance(table, Mapping) != (node.encoding == "categorical"):
            raise BadInput(f"readout of {node}: a categorical operator has rows by value, a numerical one row")
        rows = {value: tuple(float(x) for x in row) for value, row in rows.items()}
        for value, row in rows.items():
            if len(row) != len(labels) or not np.isfinite(row).all():
                raise BadInput(f"readout of {node}: the row of {value!r:.40} is not {len(labels)} finite numbers")
        checked[node] = rows if node.encoding == "categorical" else rows[""]
    if len(bias) != len(labels) or not labels:
        raise BadInput(f"readout has {len(labels)} labels and {len(bias)} biases")
    return Readout(checked, labels, bias)
