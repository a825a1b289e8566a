"""A smaller `Program` with the same answers to every input: each step is proved, none is tried on data.

What goes: operators that nothing reads, table entries and predicate rows that no input can ask for, tests that no key
can pass, reads that make no difference, variables equal to another one, and symbols that nothing can hold. Where
sums of scores are exact (`rounding.has_exact_scores`), rows that are always added go into the bias, and equal
variables are read out once; with other floats that could round to another answer, so there they stay.
"""

from dataclasses import dataclass, replace

import numpy as np

from interp.programs.evaluate import closeness
from interp.programs.merge import drop_symbols, merge_equal
from interp.programs.program import (
    NOWHERE,
    Categorical,
    ClosestHead,
    Lookup,
    Operator,
    Program,
)
from interp.programs.program_file import program_text
from interp.programs.python import to_python
from interp.programs.reach import Sets, match, pairs, reachable
from interp.programs.rounding import has_exact_scores


@dataclass(frozen=True)
class Size:
    """How long a program is: its variables, the rows and entries its tables hold, the lines of its Python file."""

    variables: int
    entries: int
    lines: int


def size(program: Program) -> Size:
    """The size of a program. Predicate rows that match nothing and impossible pairs are no entries."""
    entries = sum(int(np.any(rows, axis=1).sum()) for rows in program.readout.values())
    for step in program.operators:
        entries += int(((step.table if isinstance(step, Lookup) else step.predicate) != NOWHERE).sum())
    return Size(len(program.variables), entries, len(to_python(program).splitlines()))


def prune(program: Program, *, framed: bool = False) -> Program:
    """A program that gives the same answers and has nothing in it that can be proved useless.

    `framed` proves it only for sequences that `run` makes of tokens other than `begin` and `end`, which is shorter;
    otherwise for all ids. Pruning twice is pruning once.
    """
    framed = framed or program.provenance.get("pruned") == "framed"
    program = replace(program, provenance=program.provenance | {"pruned": "framed" if framed else "any input"})
    text = ""
    while text != (text := program_text(program)):
        program = _once(program, framed)
    return program


def _once(program: Program, framed: bool) -> Program:
    exact = has_exact_scores(program)
    found = reachable(program, framed=framed)
    layers = tuple(tuple(_simpler(program, step, found) for step in layer) for layer in program.layers)
    program = _readout(replace(program, layers=layers), found, exact)
    program = without_unread(merge_equal(program, exact))
    return drop_symbols(program, reachable(program, framed=framed))


def without_unread(program: Program) -> Program:
    """The program without inputs and operators that no score depends on."""
    needed = set(program.readout)
    for step in reversed(program.steps):
        if step.out.name in needed:
            needed.update(step.reads)
    inputs = tuple(step for step in program.inputs if step.out.name in needed)
    layers = [tuple(step for step in layer if step.out.name in needed) for layer in program.layers]
    return replace(program, inputs=inputs or program.inputs[:1], layers=tuple(layer for layer in layers if layer))


def _simpler(program: Program, step: Operator, found: Sets) -> Operator:
    if isinstance(step, Lookup):
        return _simpler_table(program, step, found)
    seen = closeness(program.n_ctx, program.causal) > 0
    predicate = np.full_like(step.predicate, NOWHERE)
    asked = found[step.query]
    for query in np.flatnonzero(asked.any(0)):
        places = np.flatnonzero(asked[:, query])
        if any((match(step, query, here, found)[0] & seen[here]).any() for here in places):
            predicate[query] = step.predicate[query]
    wanted = set(predicate[asked.any(0)].tolist())
    if wanted == {NOWHERE} and isinstance(step, ClosestHead):
        nothing = np.full(step.out.size, NOWHERE)
        return replace(step, query=step.value, key=step.value, predicate=nothing)
    if len(wanted) == 1 and step.query != step.key:
        return replace(step, query=step.key, predicate=np.full(program.variables[step.key].size, wanted.pop()))
    return replace(step, predicate=predicate)


def _simpler_table(program: Program, step: Lookup, found: Sets) -> Lookup:
    table = np.where(pairs(program, step, found), step.table, NOWHERE)
    if step.first != step.second:
        for name, rows in ((step.first, table), (step.second, table.T)):
            held = [set(row[row != NOWHERE].tolist()) for row in rows]
            if all(len(values) <= 1 for values in held):  # the other one makes no difference
                alone = np.full((len(held), len(held)), NOWHERE)
                np.fill_diagonal(alone, [next(iter(values), NOWHERE) for values in held])
                return replace(step, first=name, second=name, table=alone)
    return replace(step, table=table)


def _readout(program: Program, found: Sets, exact: bool) -> Program:
    readout, bias = {}, program.bias
    for name, rows in program.readout.items():
        held = found[name].any(0)
        if isinstance(program.variables[name], Categorical):
            rows = np.where(held[:, None], rows, 0.0)
            constant = rows[held.argmax()] if (rows[held] == rows[held.argmax()]).all() else None
        else:
            constant = rows[0] * held.argmax() if held.sum() == 1 else None
        if constant is not None and exact:
            bias = bias + constant
        elif rows.any() and (constant is None or constant.any()):
            readout[name] = rows
    return replace(program, readout=readout, bias=bias)
