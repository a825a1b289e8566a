"""The graph evaluated on many sequences at once, with the checks that depend on the input.

Categorical variables are indices of their values, int64 [batch, pos], -1 for None; numerical ones float64 [batch, pos].
"""

from collections.abc import Sequence

import numpy as np

from interp.programs.compile.graph import Attend, Embed, Graph, Lookup, Scores, Steps, Sum, Times, Variable
from interp.programs.rasp.evaluate import exact
from interp.programs.rasp.nodes import Value
from interp.results.errors import BadInput

Arrays = list[np.ndarray]


def simulate(graph: Graph, ids: np.ndarray) -> Arrays:
    """Every variable of the graph on token indices [batch, pos], all of one length.

    Raises: BadInput, naming the construct and an input, where a categorical aggregate selects different values, or a
    numerical variable has no value.
    """
    found: Arrays = []
    for i in range(len(graph.ops)):
        value = _one(graph, i, found, ids)
        if graph.variables[i].encoding == "numerical" and np.isnan(value).any():
            _refuse(graph, i, ids, np.isnan(value), "is numerical and has no value; give what it reads a default")
        found.append(value)
    return found


def decode(variable: Variable, row: np.ndarray) -> list[Value]:
    """The values that an array of one sequence stands for; numbers are the listed ones where they are listed."""
    if variable.values is not None:
        return [None if i < 0 else variable.values[i] for i in row]
    if variable.numbers is None:
        return [float(x) for x in row]
    return [exact(variable.numbers[i]) for i in nearest_number(variable, row)]


def nearest_number(variable: Variable, x: np.ndarray) -> np.ndarray:
    """Index of the listed number that is nearest to each x."""
    known = np.array([float(number) for number in variable.numbers])
    right = np.searchsorted(known, x).clip(1, max(len(known) - 1, 1))
    left = right - 1
    right = right.clip(max=len(known) - 1)
    return np.where(np.abs(known[left] - x) <= np.abs(known[right] - x), left, right)


def label_scores(scores: Scores, graph: Graph, found: Arrays) -> np.ndarray:
    """Scores of an additive readout, [batch, pos, label]."""
    total = np.array(scores.bias, dtype=np.float64)
    for read, rows in scores.tables:
        table = np.array(rows)
        if graph.variables[read].encoding == "numerical":
            total = total + found[read][..., None] * table[0]
        else:
            total = total + np.vstack([table, np.zeros(len(scores.labels))])[found[read]]
    return np.broadcast_to(total, (*found[0].shape, len(scores.labels)))


def selection(graph: Graph, op: Attend, found: Arrays, shape: tuple[int, int]) -> np.ndarray:
    """Which keys every query of a head selects, [batch, query, key]."""
    batch, n = shape
    sizes = [1 if side is None else graph.variables[side].width for side in (op.queries, op.keys)]
    table = np.zeros((sizes[0] + 1, sizes[1] + 1), dtype=bool)  # the last row and column are for None
    for i, j in op.pairs:
        table[i, j] = True
    queries, keys = (np.zeros(shape, int) if side is None else found[side] for side in (op.queries, op.keys))
    chosen = table[queries[:, :, None], keys[:, None, :]]
    if graph.causal:
        chosen = chosen & np.tril(np.ones((n, n), dtype=bool))
    return chosen


def _one(graph: Graph, i: int, found: Arrays, ids: np.ndarray) -> np.ndarray:
    op, variable = graph.ops[i], graph.variables[i]
    match op:
        case Embed():
            return _embedded(op, variable, ids)
        case Lookup():
            sizes = [graph.variables[r].width + 1 for r in op.reads]
            table = _empty(variable, sizes)
            for key, out in op.table:
                table[key] = out
            return table[tuple(found[r] for r in op.reads)]
        case Steps():
            table = _empty(variable, [len(op.outs)])
            for at, out in enumerate(op.outs):
                if out is not None:
                    table[at] = out
            return table[nearest_number(graph.variables[op.reads[0]], found[op.reads[0]])]
        case Sum():
            terms = [float(f) * found[r] for f, r in zip(op.factors, op.reads)]
            return sum(terms, np.full(ids.shape, float(op.constant)))
        case Times():
            factors = np.array([*map(float, op.factors), np.nan])
            return factors[found[op.reads[0]]] * found[op.reads[1]]
    return _attended(graph, i, op, variable, found, ids)


def _empty(variable: Variable, sizes: list[int]) -> np.ndarray:
    return np.full(sizes, -1) if variable.encoding == "categorical" else np.full(sizes, np.nan)


def _embedded(op: Embed, variable: Variable, ids: np.ndarray) -> np.ndarray:
    if op.source == "tokens":
        return ids
    if op.source == "indices":
        return np.broadcast_to(np.arange(ids.shape[1]), ids.shape)
    return np.zeros(ids.shape, int) if variable.values is not None else np.full(ids.shape, float(variable.low))


def _attended(graph: Graph, i: int, op: Attend, variable: Variable, found: Arrays, ids: np.ndarray) -> np.ndarray:
    chosen = selection(graph, op, found, ids.shape)
    if op.kind == "closest":
        return np.take_along_axis(found[op.value], _closest(chosen), 1)
    counts = chosen.sum(-1)
    if op.kind == "width":
        return 1.0 / (counts + 1)
    if variable.encoding == "categorical":
        return _agreed(graph, i, op, found[op.value], chosen, ids)
    sums = (chosen * np.nan_to_num(found[op.value])[:, None, :]).sum(-1)
    if op.kind == "share":
        return sums / (counts + 1)
    return np.where(counts > 0, sums / np.maximum(counts, 1), float(op.default))


def _agreed(graph: Graph, i: int, op: Attend, held: np.ndarray, chosen: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """The one value of what is selected; refused where there are several."""
    low = np.where(chosen, held[:, None, :], np.iinfo(int).max).min(-1)
    high = np.where(chosen, held[:, None, :], -2).max(-1)
    some = chosen.any(-1)
    if (mixed := some & (low != high)).any():
        _refuse(graph, i, ids, mixed, "is a categorical aggregate and selects different values at once; select one "
                "position, or aggregate numerical(...) for their mean")
    source, target = graph.variables[op.value].values, graph.variables[i].values
    moved = np.array([*(target.index(value) for value in source), -1])
    default = -1 if op.default is None else op.default
    return np.where(some, moved[np.where(some, high, -1)], default)


def _closest(chosen: np.ndarray) -> np.ndarray:
    """Index of the one selected key, [batch, query]: nearest other, left before right; itself; else position 0."""
    n = chosen.shape[-1]
    return np.where(chosen, preference(n), -1).argmax(-1)


def preference(n: int) -> np.ndarray:
    """How much every query would rather have every key: larger is preferred, [query, key], 0 to 2n - 1."""
    offset = np.arange(n)[None, :] - np.arange(n)[:, None]
    rank = np.where(offset < 0, -2 * offset - 2, 2 * offset - 1)  # left of 1, right of 1, left of 2, ...
    return np.where(offset == 0, 0, 2 * n - 1 - rank)


def _refuse(graph: Graph, i: int, ids: np.ndarray, where: np.ndarray, why: str) -> None:
    row = int(np.argwhere(where)[0][0])
    example = [graph.vocab[t] for t in ids[row]]
    raise BadInput(f"{graph.labels[i]} {why} (input {example!r:.120})")


def encode_rows(graph: Graph, rows: Sequence[Sequence[Value]]) -> list[tuple[list[int], np.ndarray]]:
    """Sequences grouped by their length: (indices of the rows, token indices [batch, pos])."""
    index = {value: i for i, value in enumerate(graph.vocab)}
    by_length: dict[int, list[int]] = {}
    for i, row in enumerate(rows):
        by_length.setdefault(len(row), []).append(i)
    return [(group, np.array([[index[v] for v in rows[i]] for i in group])) for group in by_length.values()]

