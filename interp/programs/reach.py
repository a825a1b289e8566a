"""Which values a variable can take at each position, for any input: a proof by sets, never a guess from data.

Sets grow only: what is left out cannot occur; what is in may still be impossible, since variables are taken one by one.
"""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Bool

from interp.programs.evaluate import closeness
from interp.programs.program import (
    NOWHERE,
    ClosestHead,
    CountingHead,
    Embedding,
    Head,
    Input,
    Lookup,
    Operator,
    Positions,
    Program,
)

_FEW = 8  # numbers a variable may take for their sums to be listed; above that, everything between the extremes

Sets = dict[str, Bool[np.ndarray, "pos value"]]


def reachable(program: Program, *, framed: bool = False) -> Sets:
    """For each variable, True where a value can occur at a position, in a sequence of any length up to n_ctx.

    By default any word may stand anywhere, as `predict` allows. `framed`: `begin` stands at position 0, `end` nowhere
    before position 1, and neither of them twice, as in `run` of tokens that are neither.
    """
    found: Sets = {}
    for step in program.steps:
        found[step.out.name] = np.stack(list(_rows(program, step, found, framed)))
    return found


def pairs(program: Program, step: Lookup, found: Sets) -> Bool[np.ndarray, "first second"]:
    """The entries of a table that can be asked for."""
    first, second = found[step.first], found[step.second]
    if step.first == step.second:
        return np.diag(first.any(0))
    return (first.T.astype(np.float32) @ second.astype(np.float32)) > 0


def _rows(program: Program, step: Input | Operator, found: Sets, framed: bool) -> Iterator[np.ndarray]:
    order = closeness(program.n_ctx, program.causal)
    for here in range(program.n_ctx):
        row = np.zeros(step.out.size, dtype=bool)
        if isinstance(step, Embedding):
            row[step.codes[_words(program, here, framed)]] = True
        elif isinstance(step, Positions):
            row[here] = True
        elif isinstance(step, Lookup):
            first, second = (found[name][here] for name in step.reads)
            asked = np.diag(first) if step.first == step.second else np.outer(first, second)
            held = step.table[asked]
            row[held[held != NOWHERE]] = True
        elif isinstance(step, ClosestHead):
            for query in np.flatnonzero(found[step.query][here]):
                row |= _copied(step, query, here, found, order[here])
        elif isinstance(step, CountingHead):
            for query in _distinct(step, found[step.query][here]):
                row |= _summed(step, query, here, found, order[here] > 0)
        else:
            row[1] = True
        yield row


def _words(program: Program, here: int, framed: bool) -> Bool[np.ndarray, " word"]:
    words = np.array(program.vocab, dtype=object)
    allowed = np.ones(len(words), dtype=bool)
    if framed and program.begin is not None:
        allowed &= (words == program.begin) == (here == 0)
    if framed and program.end is not None and here == 0:
        allowed &= words != program.end
    return allowed


def match(
    head: Head, query: int, here: int, found: Sets
) -> tuple[Bool[np.ndarray, " pos"], Bool[np.ndarray, " pos"]]:
    """Positions whose key may be the one that a query value at `here` looks for, and those whose key surely is."""
    wanted = head.predicate[query]
    if wanted == NOWHERE:
        none = np.zeros(len(found[head.key]), dtype=bool)
        return none, none
    keys = found[head.key]
    may = keys[:, wanted].copy()
    sure = may & (keys.sum(1) == 1) & (np.arange(len(keys)) <= here)  # a later position may not be there
    if head.query == head.key:
        may[here] = sure[here] = wanted == query
    return may, sure


def _copied(head: ClosestHead, query: int, here: int, found: Sets, order: np.ndarray) -> np.ndarray:
    may, sure = match(head, query, here, found)
    nearest = (order * sure).max()
    sources = may & (order > 0) & (order >= nearest)
    if nearest == 0:
        sources[0] = True
    return found[head.value][sources].any(0)


def _distinct(head: CountingHead, queries: np.ndarray) -> list[int]:
    """One query value for each key looked for; all of them where the own key depends on the query."""
    held = np.flatnonzero(queries)
    return list(held if head.query == head.key else {head.predicate[query]: query for query in held}.values())


def _summed(head: CountingHead, query: int, here: int, found: Sets, seen: np.ndarray) -> np.ndarray:
    may, sure = match(head, query, here, found)
    possible = [np.flatnonzero(values) for values in found[head.value][may & seen]]
    counted = (sure & seen)[may & seen]
    row = np.zeros(head.out.size, dtype=bool)
    if any(len(values) > _FEW for values in possible):
        low = sum(int(values.min()) for values, always in zip(possible, counted) if always)
        high = sum(int(values.max()) for values in possible if len(values))
        row[low : high + 1] = True
        return row
    sums = 1  # bit s is set where the sum can be s
    for values, always in zip(possible, counted):
        terms = {int(value) for value in values} | (set() if always else {0})
        sums = sum_of_sets(sums, terms)
    row[[s for s in range(row.size) if sums >> s & 1]] = True
    return row


def sum_of_sets(sums: int, terms: set[int]) -> int:
    """Bits of all sums of a bit of `sums` and a term."""
    total = 0
    for term in terms:
        total |= sums << term
    return total
