"""From a RASP expression to a graph of tables: values are inferred, maps fused, equal operations merged."""

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from itertools import product
from math import prod
from typing import Any

from interp.programs.compile.graph import Attend, Embed, Graph, Lookup, Op, Scores, Steps, Sum, Times, Variable
from interp.programs.rasp.evaluate import call, exact
from interp.programs.rasp.nodes import (
    Aggregate,
    AggregateSum,
    Closest,
    Constant,
    Encoding,
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
)
from interp.programs.rasp.values import combinations, means, number, ordered
from interp.results.errors import BadInput

MOST_ROWS = 100_000
"""Rows of one table; above that the weights would not fit anywhere either."""
Function = Callable[..., Value]


def lower(program: SOp, vocab: tuple[Value, ...], length: int, causal: bool, distractors: tuple[SOp, ...]) -> Graph:
    """The graph of a program and its distractors, dead operations left out.

    Raises: BadInput, naming the construct, for what cannot be compiled.
    """
    lowering = _Lowering(Graph(vocab, length, causal))
    graph = lowering.graph
    graph.out = lowering.readout(program) if isinstance(program, Readout) else lowering.lower(program)
    graph.others = tuple(lowering.lower(other) for other in distractors)
    return _without_dead(graph)


class _Lowering:
    def __init__(self, graph: Graph):
        self.graph = graph
        self.known: dict[int, int] = {}
        self.merged: dict[tuple[Op, Variable], int] = {}

    # -- bookkeeping ---------------------------------------------------------------------------------------------

    def add(self, op: Op, variable: Variable, label: str) -> int:
        """The index of this operation: a new one, or that of an equal one."""
        key = (op, variable)
        if key not in self.merged:
            self.merged[key] = len(self.graph.ops)
            self.graph.ops.append(op)
            self.graph.variables.append(variable)
            self.graph.labels.append(label)
        return self.merged[key]

    def variable(self, index: int) -> Variable:
        return self.graph.variables[index]

    def lower(self, node: SOp) -> int:
        if id(node) not in self.known:
            self.known[id(node)] = self._lower(node)
        return self.known[id(node)]

    def _lower(self, node: SOp) -> int:
        match node:
            case Tokens():
                return self.add(Embed("tokens"), Variable(self.graph.vocab), "tokens")
            case Indices():
                return self.add(Embed("indices"), Variable(tuple(range(self.graph.length))), "indices")
            case Constant():
                return self.constant(node.value, "categorical", str(node))
            case Map() | SequenceMap() | SelectorWidth():
                return self.function(node)
            case Linear():
                return self.linear(node)
            case Aggregate():
                return self.aggregate(node)
            case AggregateSum():
                return self.sum(node)
            case Readout():
                raise BadInput("a readout is the output of a program and nothing reads it")
        raise BadInput(f"{type(node).__name__} ({node}) cannot be compiled")

    def constant(self, value: Value, encoding: Encoding, label: str) -> int:
        if value is None:
            raise BadInput(f"{label} is None everywhere, so there is nothing to compute")
        if encoding == "categorical":
            return self.add(Embed("constant"), Variable((value,)), label)
        x = number(value, label)
        return self.add(Embed("constant"), Variable(None, (x,), x, x), label)

    # -- functions position by position --------------------------------------------------------------------------

    def function(self, node: "Map | SequenceMap | SelectorWidth") -> int:
        label = str(node)
        if isinstance(node, SelectorWidth):
            return self.steps(self.width_code(node), lambda code: int(1 / code - 1), node.encoding, label)
        reads = (self.lower(node.reads[0]),) if isinstance(node, Map) else tuple(map(self.categorical, node.reads))
        return self.table(reads, lambda *values: call(node, *values), node.encoding, label)

    def categorical(self, node: SOp) -> int:
        """The operator with a direction a value; a numerical one is converted."""
        index = self.lower(node)
        if self.variable(index).encoding == "categorical":
            return index
        return self.table((index,), lambda x: x, "categorical", f"categorical({node})")

    def table(self, reads: tuple[int, ...], function: Function, encoding: Encoding, label: str) -> int:
        """The variable that a function of others comes to; a function of one other table is one table with it."""
        # what is constant, or read twice, is no direction of the table
        different = tuple(dict.fromkeys(r for r in reads if not self._is_constant(r)))

        def of(*values: Value) -> Value:
            picked = dict(zip(different, values))
            return function(*(picked[r] if r in picked else self.only_value(r) for r in reads))

        inner = self.graph.ops[different[0]] if len(different) == 1 else None
        if isinstance(inner, Steps):
            numbers = self.variable(inner.reads[0]).numbers
            known = dict(zip(numbers, (self.value_of(different[0], out) for out in inner.outs)))
            return self.steps(inner.reads[0], lambda x: None if known[x] is None else of(known[x]), encoding, label)
        if isinstance(inner, Lookup):
            found = {key: exact(of(self.value_of(different[0], out))) for key, out in inner.table}
            return self.written(inner.reads, found, encoding, self.variable(different[0]).partial, label)
        if inner is not None and self.variable(different[0]).encoding == "numerical":
            return self.steps(different[0], of, encoding, label)
        sizes = [len(self.variable(r).values) for r in different]
        if prod(sizes) > MOST_ROWS:
            raise BadInput(f"{label} reads {' x '.join(map(str, sizes))} combinations of values; {MOST_ROWS} fit")
        found = {key: exact(of(*(self.variable(r).values[i] for r, i in zip(different, key))))
                 for key in product(*map(range, sizes))}
        return self.written(different, found, encoding, any(self.variable(r).partial for r in different), label)

    def only_value(self, constant: int) -> Value:
        held = self.variable(constant)
        return exact(held.low) if held.values is None else held.values[0]

    def value_of(self, i: int, out: "int | Fraction | None") -> Value:
        """What a table of variable `i` means by `out`."""
        names = self.variable(i).values
        return None if out is None else exact(out) if names is None else names[out]

    def _is_constant(self, index: int) -> bool:
        return self.graph.ops[index] == Embed("constant")

    def written(self, reads: tuple[int, ...], found: dict, encoding: Encoding, partial: bool, label: str) -> int:
        """The variable that a table of exact values writes, or what it comes to: its input, or a constant."""
        partial = partial or None in found.values()
        outs, variable = self.outs(found.values(), encoding, partial, label)
        if not reads or (len(set(outs)) == 1 and not partial):
            return self.constant(next(iter(found.values())), encoding, label)
        if len(reads) == 1 and encoding == "categorical" and self._changes_nothing(reads[0], found):
            return reads[0]
        table = tuple((key, out) for key, out in zip(found, outs) if out is not None)
        return self.add(Lookup(reads, table), variable, label)

    def _changes_nothing(self, read: int, found: dict) -> bool:
        names = self.variable(read).values
        return len(found) == len(names) and all(out == names[i] for (i,), out in found.items())

    def outs(self, values: Any, encoding: Encoding, partial: bool, label: str) -> tuple[list, Variable]:
        """Values as a table holds them, and the variable they make up."""
        values = list(values)
        if all(value is None for value in values):
            raise BadInput(f"{label} is None everywhere, so there is nothing to compute")
        if encoding == "categorical":
            names = ordered(values)
            index = {value: i for i, value in enumerate(names)}
            return [None if v is None else index[v] for v in values], Variable(names, partial=partial)
        numbers = [None if v is None else number(v, label) for v in values]
        known = tuple(sorted({x for x in numbers if x is not None}))
        return numbers, Variable(None, known, known[0], known[-1], partial)

    def steps(self, read: int, function: Function, encoding: Encoding, label: str) -> int:
        numbers = self.variable(read).numbers
        if numbers is None:
            raise BadInput(f"{label} maps {self.graph.labels[read]}, which takes too many different numbers to list; "
                           "make it categorical earlier, or the sequences shorter")
        found = [exact(function(exact(x))) for x in numbers]
        partial = None in found
        outs, variable = self.outs(found, encoding, partial, label)
        if len(set(outs)) == 1:
            return self.constant(found[0], encoding, label)
        if encoding == "numerical" and tuple(outs) == numbers:
            return read
        return self.add(Steps((read,), tuple(outs)), variable, label)

    def linear(self, node: Linear) -> int:
        reads = [self.lower(read) for read in node.reads]
        factors = [number(f, str(node)) for f in node.factors]
        constant = number(node.constant, str(node))
        known = [self.variable(r) for r in reads]
        ends = [sorted((f * v.low, f * v.high)) for f, v in zip(factors, known)]
        variable = Variable(
            None, combinations([v.numbers for v in known], factors, constant),
            constant + sum(low for low, _ in ends), constant + sum(high for _, high in ends),
        )
        return self.add(Sum(tuple(reads), tuple(factors), constant), variable, str(node))

    # -- attention -----------------------------------------------------------------------------------------------

    def sides(self, selector: Selector) -> tuple[int | None, int | None, tuple[tuple[int, int], ...]]:
        """(queries, keys, matching pairs of indices); a side that makes no difference is None."""
        keys, queries = self.lower(selector.keys), self.lower(selector.queries)
        k, q = self.variable(keys), self.variable(queries)
        matches = [[_holds(selector, key, query) for key in k.values] for query in q.values]
        if not q.partial and all(row == matches[0] for row in matches):
            queries, matches = None, matches[:1]
        if not k.partial and all(row == row[:1] * len(row) for row in matches):
            keys, matches = None, [row[:1] for row in matches]
        pairs = [(i, j) for i, row in enumerate(matches) for j, hit in enumerate(row) if hit]
        return queries, keys, tuple(pairs)

    def width_code(self, node: SelectorWidth | AggregateSum) -> int:
        queries, keys, pairs = self.sides(node.selector)
        numbers = tuple(Fraction(1, w + 1) for w in reversed(range(self.graph.length + 1)))
        variable = Variable(None, numbers, numbers[0], numbers[-1])
        return self.add(Attend("width", queries, keys, pairs), variable, f"{node}.code")

    def aggregate(self, node: Aggregate) -> int:
        value = self.lower(node.value)
        held = self.variable(value)
        if isinstance(node.selector, Closest):
            return self.closest(node, value)
        queries, keys, pairs = self.sides(node.selector)
        every = queries is None and keys is None and bool(pairs)
        if held.encoding == "categorical":
            names = held.values if node.default is None else ordered((*held.values, node.default))
            default = None if node.default is None else names.index(node.default)
            partial = held.partial or (default is None and not every)
            return self.add(Attend("mean", queries, keys, pairs, value, default),
                            Variable(names, partial=partial), str(node))
        default = number(node.default, str(node))
        numbers = None if held.numbers is None else means(held.numbers, self.graph.length)
        if numbers is not None:
            numbers = tuple(sorted({*numbers, default}))
        low, high = min(held.low, default, Fraction(0)), max(held.high, default, Fraction(0))
        return self.add(Attend("mean", queries, keys, pairs, value, default),
                        Variable(None, numbers, low, high), str(node))

    def closest(self, node: Aggregate, value: int) -> int:
        selector, index = node.selector, self.lower(Indices())
        keys, queries = self.lower(selector.keys), self.lower(selector.queries)
        k, q = self.variable(keys), self.variable(queries)
        pairs = tuple((i, j) for i, query in enumerate(q.values) for j, key in enumerate(k.values)
                      if _holds(selector, key, query))
        # the key at position 0 apart: there it must win without a match and count like any other with one
        first = self.table((keys, index), lambda key, i: key if i == 0 else None, "categorical", f"{selector.keys}@0")
        op = Attend("closest", queries, keys, pairs, value, first=first, index=index)
        return self.add(op, self.variable(value), str(node))

    def sum(self, node: AggregateSum) -> int:
        value = self.lower(node.value)
        held, length = self.variable(value), self.graph.length
        if held.numbers is None or any(x.denominator != 1 for x in held.numbers):
            raise BadInput(f"{node} sums {node.value}, which is not known to hold whole numbers only")
        code = self.width_code(node)
        if self._is_constant(value):
            return self.steps(code, lambda c: held.numbers[0] * int(1 / c - 1), "numerical", str(node))
        queries, keys, pairs = self.sides(node.selector)
        low, high = min(held.low, Fraction(0)), max(held.high, Fraction(0))
        share = self.add(Attend("share", queries, keys, pairs, value), Variable(None, None, low, high), f"{node}.share")
        width = self.steps(code, lambda c: int(1 / c - 1), "categorical", f"{node}.width")
        numbers = tuple(Fraction(x) for x in range(int(low) * length, int(high) * length + 1))
        variable = Variable(None, numbers, numbers[0], numbers[-1])
        factors = tuple(Fraction(w + 1) for w in self.variable(width).values)
        return self.add(Times((width, share), factors), variable, str(node))

    def readout(self, node: Readout) -> Scores:
        tables = []
        for read, table in zip(node.reads, node.tables):
            index = self.lower(read)
            held = self.variable(index)
            if held.encoding == "numerical":
                rows: tuple = (table,)
            else:
                rows = tuple(table.get(value, (0.0,) * len(node.labels)) for value in held.values)
            tables.append((index, rows))
        return Scores(node.labels, node.bias, tuple(tables))


def _holds(selector: Selector, key: Value, query: Value) -> bool:
    try:
        return bool(selector.predicate(key, query))
    except Exception as error:
        raise BadInput(f"the predicate of {selector} fails at key {key!r}, query {query!r}: {error}") from error


def without_empty(graph: Graph, empty: set[int]) -> Graph:
    """The graph without marks of keys at position 0 that are never there, `empty` being variables without a value."""
    ops = [replace(op, first=None) if isinstance(op, Attend) and op.first in empty else op for op in graph.ops]
    return _without_dead(replace(graph, ops=ops))


def _without_dead(graph: Graph) -> Graph:
    """The graph with only what its outputs need, in the same order."""
    alive = sorted(graph.below(*graph.outputs, *graph.others))
    place = {old: new for new, old in enumerate(alive)}

    def moved(op: Op) -> Op:
        if isinstance(op, Attend):
            at = {name: place.get(getattr(op, name)) for name in ("queries", "keys", "value", "first", "index")}
            return Attend(op.kind, pairs=op.pairs, default=op.default, **at)
        fields = {name: value for name, value in vars(op).items() if name != "reads"}
        return op if isinstance(op, Embed) else type(op)(reads=tuple(place[r] for r in op.reads), **fields)

    labels: list[str] = []
    for label in (graph.labels[i] for i in alive):
        taken = sum(old.partition(" #")[0] == label for old in labels)
        labels.append(f"{label} #{taken + 1}" if taken else label)
    out = graph.out
    if isinstance(out, Scores):
        out = Scores(out.labels, out.bias, tuple((place[read], rows) for read, rows in out.tables))
    else:
        out = place[out]
    return Graph(
        graph.vocab, graph.length, graph.causal,
        [graph.variables[i] for i in alive], [moved(graph.ops[i]) for i in alive], labels,
        out, tuple(place[i] for i in graph.others),
    )
