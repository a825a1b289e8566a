"""The smallest part of a `Program` that still solves a sub-problem, found by greedy removal."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from interp.programs.evaluate import predict
from interp.programs.inputs import Tokens, run_many, same_length
from interp.programs.program import NOWHERE, Categorical, Lookup, Operator, Program
from interp.programs.program_file import program_text
from interp.programs.prune import Size, prune, size
from interp.results.errors import BadInput


@dataclass(frozen=True)
class Smallest:
    """A part of a program that answers some sequences as asked.

    Minimal in one sense: no single readout, operator, predicate row, score row or table row or column can go
    (set to nothing, zero, or the table's commonest value) without an error on these sequences. Greedy, so another
    order of removal may end smaller. On other sequences `program` may answer differently from the whole one.
    """

    program: Program
    before: Size
    after: Size
    sequences: int
    removed: int
    tried: int


def smallest(
    program: Program, sequences: Sequence[Tokens], answers: Sequence[Sequence[str | None]] | None = None
) -> Smallest:
    """The part of `program` that gives `answers` (default: its own; None: any will do) on `sequences`.

    Raises BadInput where the whole program does not, with the number of sequences it gets wrong.
    """
    asked = [list(map(str, sequence)) for sequence in sequences]
    judge = _Judge(program, asked, run_many(program, asked) if answers is None else answers)
    if wrong := judge.wrong(program):
        raise BadInput(f"{program.name} itself answers {wrong} of {len(asked)} sequences otherwise than asked")
    now, removed, text = program, 0, ""
    while text != (text := program_text(now)):
        now, gone = _greedy(now, judge)
        removed += gone
        now = prune(now)
    if judge.wrong(now):
        raise AssertionError("pruning changed an answer")
    return Smallest(now, size(program), size(now), len(asked), removed, judge.tried)


class _Judge:
    """Counts the sequences that a program answers otherwise than asked."""

    def __init__(self, program: Program, sequences: list[list[str]], wanted: Sequence[Sequence[str | None]]) -> None:
        if not sequences or len(wanted) != len(sequences):
            raise BadInput(f"{len(sequences)} sequences and answers to {len(wanted)}: give as many, one or more")
        self.tried = 0
        self.groups = []
        first = program.begin is not None
        for places, ids in same_length(program, sequences):
            rows = [self._labels(program, sequences[place], wanted[place]) for place in places]
            self.groups.append((ids, np.array(rows), slice(first, ids.shape[1] - (program.end is not None))))

    @staticmethod
    def _labels(program: Program, tokens: list[str], wanted: Sequence[str | None]) -> list[int]:
        if len(wanted) != (1 if program.pooled else len(tokens)):
            raise BadInput(f"{' '.join(tokens)!r:.60} has {len(tokens)} tokens and {len(wanted)} answers")
        if unknown := set(wanted) - {None, *program.labels}:
            raise BadInput(f"{program.name} never answers {unknown.pop()!r}; its labels: {', '.join(program.labels)}")
        return [-1 if label is None else program.labels.index(label) for label in wanted]

    def wrong(self, program: Program) -> int:
        self.tried += 1
        bad = 0
        for ids, wanted, inner in self.groups:
            found = predict(program, ids)
            found = found[:, None] if program.pooled else found[:, inner]
            bad += int(((found != wanted) & (wanted >= 0)).any(1).sum())
        return bad


def _greedy(program: Program, judge: _Judge) -> tuple[Program, int]:
    """Removals, large ones first, until a whole round finds none; how many there were."""
    total, last = 0, -1
    while total != last:
        last = total
        for removal in list(_removals(program)):
            smaller = removal(program)
            if smaller is not None and not judge.wrong(smaller):
                program, total = smaller, total + 1
    return program, total


def _removals(program: Program) -> Iterator:
    """Functions from a program to one with less in it, or None where it has not got that any more."""
    for name in program.readout:
        yield lambda p, name=name: _without_readout(p, name)
    for step in reversed(list(program.operators)):
        yield lambda p, name=step.out.name: _rewritten(p, name, _emptied)
    for step in program.operators:
        for axis, n in enumerate(step.table.shape if isinstance(step, Lookup) else step.predicate.shape):
            for index in range(n):
                yield lambda p, name=step.out.name, a=axis, i=index: _rewritten(p, name, lambda s: _cut(s, a, i))
    for name in program.readout:
        if isinstance(program.variables[name], Categorical):
            for index in range(program.variables[name].size):
                yield lambda p, name=name, i=index: _without_row(p, name, i)


def _without_readout(program: Program, name: str) -> Program:
    return replace(program, readout={other: rows for other, rows in program.readout.items() if other != name})


def _without_row(program: Program, name: str, index: int) -> Program | None:
    if name not in program.readout or not program.readout[name][index].any():
        return None
    rows = program.readout[name].copy()
    rows[index] = 0
    return replace(program, readout={**program.readout, name: rows})


def _rewritten(program: Program, name: str, change) -> Program | None:
    step = program.writer(name)
    if (changed := change(step)) is None:
        return None
    layers = tuple(tuple(changed if one is step else one for one in layer) for layer in program.layers)
    return replace(program, layers=layers)


def _emptied(step: Operator) -> Operator | None:
    """A head that matches nothing, a table of one value; None if it is that already."""
    if isinstance(step, Lookup):
        table = np.where(step.table == NOWHERE, NOWHERE, _commonest(step.table))
        return None if (table == step.table).all() else replace(step, table=table)
    nothing = np.full_like(step.predicate, NOWHERE)
    return None if (step.predicate == nothing).all() else replace(step, predicate=nothing)


def _cut(step: Operator, axis: int, index: int) -> Operator | None:
    """The operator with one predicate row matching nothing, or one row or column of its table at the commonest."""
    name = "table" if isinstance(step, Lookup) else "predicate"
    table = getattr(step, name).copy()
    part = np.moveaxis(table, axis, 0)
    common = _commonest(table) if isinstance(step, Lookup) else NOWHERE
    part[index] = np.where(part[index] == NOWHERE, NOWHERE, common)
    return None if (table == getattr(step, name)).all() else replace(step, **{name: table})


def _commonest(table: np.ndarray) -> int:
    held = table[table != NOWHERE]
    return int(np.bincount(held).argmax()) if held.size else NOWHERE
