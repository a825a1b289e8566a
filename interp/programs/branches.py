"""Tables as chains of `if`: equal rows merged, ranges of numbers as comparisons, what cannot occur raised."""

from collections.abc import Callable, Hashable, Sequence

import numpy as np

from interp.programs.program import NOWHERE, Categorical, Head, Lookup, Numerical, Variable
from interp.programs.python_text import INDENT, bracketed, is_counted, is_whole, value

Body = Callable[[int], list[str]]
"""Lines that end in a return or raise, for an indentation depth."""


def predicate_lines(head: Head, query: Categorical, key: Categorical, name: str) -> list[str]:
    """Body of the function from a query value, called `name`, to the key value that is looked for."""
    step = _shift(head, query, key)
    outcomes = []
    for index, wanted in enumerate(head.predicate.tolist()):
        if wanted == NOWHERE:
            outcomes.append("return None")
        elif step is not None and wanted - index == step:
            outcomes.append(f"return {name}" + (f" {'+-'[step < 0]} {abs(step)}" if step else ""))
        else:
            outcomes.append(f"return {value(key, wanted)}")
    return _branch(name, query, outcomes, _statement, 1)


def lookup_lines(step: Lookup, first: Variable, second: Variable, names: Sequence[str]) -> list[str]:
    """Body of the function from a pair of values, called `names`, to the output: the shorter of two nestings."""
    one, two = names[0], names[-1]
    shown = ", ".join(f"{{{name}!r}}" for name in dict.fromkeys(names))
    outcomes = [f'raise ValueError(f"{shown} cannot occur")']
    outcomes += [f"return {value(step.out, i)}" for i in range(step.out.size)]
    table = np.array(outcomes, dtype=object)[step.table + 1]
    if step.first == step.second:
        return _branch(one, first, np.diagonal(table).tolist(), _statement, 1)
    return min(_nested(one, first, two, second, table), _nested(two, second, one, first, table.T), key=len)


def _nested(outer: str, outer_kind: Variable, inner: str, inner_kind: Variable, table: np.ndarray) -> list[str]:
    def body(row: tuple[str, ...]) -> Body:
        return lambda depth: _branch(inner, inner_kind, row, _statement, depth)

    return _branch(outer, outer_kind, [tuple(row) for row in table.tolist()], body, 1)


def _statement(text: str) -> Body:
    return lambda depth: [INDENT * depth + text]


def _branch(name: str, kind: Variable, outcomes: Sequence[Hashable], body: Callable, depth: int) -> list[str]:
    """Outcomes of all values of one variable: a chain of `if`, the commonest outcome last and without a test."""
    groups = _runs(outcomes) if isinstance(kind, Numerical) else _sets(outcomes)
    lines = []
    for outcome, indices in groups[:-1]:
        lines += _test(name, kind, indices, depth) + body(outcome)(depth + 1)
    return lines + body(groups[-1][0])(depth)


def _runs(outcomes: Sequence[Hashable]) -> list[tuple[Hashable, list[int]]]:
    groups: list[tuple[Hashable, list[int]]] = []
    for index, outcome in enumerate(outcomes):
        if groups and groups[-1][0] == outcome:
            groups[-1][1].append(index)
        else:
            groups.append((outcome, [index]))
    if len(groups) == 3 and groups[0][0] == groups[2][0]:
        return [groups[1], groups[2]]  # a range inside another: one test instead of two
    # tested in rising order, so what is smaller has left already
    return [(outcome, held if len(held) == 1 else list(range(held[-1] + 1))) for outcome, held in groups]


def _sets(outcomes: Sequence[Hashable]) -> list[tuple[Hashable, list[int]]]:
    groups: dict[Hashable, list[int]] = {}
    for index, outcome in enumerate(outcomes):
        groups.setdefault(outcome, []).append(index)
    # stable, so of equally common outcomes the last one is left without a test
    return sorted(groups.items(), key=lambda group: (_raises(group[0]), len(group[1])))


def _raises(outcome: Hashable) -> bool:
    return isinstance(outcome, str) and outcome.startswith("raise")


def _test(name: str, kind: Variable, indices: list[int], depth: int) -> list[str]:
    first, last, indent = indices[0], indices[-1], INDENT * depth
    low, high = value(kind, first), value(kind, last)  # pruned symbols are no longer their own index
    if len(indices) == 1:
        return [f"{indent}if {name} == {low}:"]
    if is_whole(kind) and last - first == len(indices) - 1:
        if first == 0:
            return [f"{indent}if {name} <= {high}:"]
        if last == kind.size - 1:
            return [f"{indent}if {name} >= {low}:"]
        if len(indices) > 2:
            return [f"{indent}if {low} <= {name} <= {high}:"]
    return bracketed(f"if {name} in {{", [value(kind, i) for i in indices], "}:", depth)


def _shift(head: Head, query: Categorical, key: Categorical) -> int | None:
    """The difference key - query that most rows have, where saying it is shorter than listing them."""
    rows = [(i, wanted) for i, wanted in enumerate(head.predicate.tolist()) if wanted != NOWHERE]
    steps = [wanted - i for i, wanted in rows]
    if not (is_counted(query) and is_counted(key)):
        steps = [step for step in steps if step == 0] if query.symbols == key.symbols else []
    if not steps:
        return None
    best = max(sorted(set(steps), key=abs), key=steps.count)
    return best if steps.count(best) >= 3 or steps.count(best) == len(rows) > 1 else None
