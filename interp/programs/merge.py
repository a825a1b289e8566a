"""Two rewritings of `prune`: variables that are always equal become one; symbols that nothing holds go."""

from collections.abc import Hashable
from dataclasses import replace

import numpy as np

from interp.programs.program import (
    NOWHERE,
    Categorical,
    ClosestHead,
    Embedding,
    Head,
    Input,
    Lookup,
    Operator,
    Positions,
    Program,
)
from interp.programs.reach import Sets


def merge_equal(program: Program, exact: bool) -> Program:
    """Of steps of one kind with equal tables that read equal variables, all reads go to the first.

    Their score rows are added where that is `exact`.
    """
    first: dict[Hashable, str] = {}
    same: dict[str, str] = {}

    def merged(step: Operator) -> Operator:
        renamed = _read(step, same)
        same[step.out.name] = first.setdefault(_meaning(renamed), step.out.name)
        return renamed

    for step in program.inputs:
        same[step.out.name] = first.setdefault(_meaning(step), step.out.name)
    layers = tuple(tuple(merged(step) for step in layer) for layer in program.layers)
    if not exact:
        return replace(program, layers=layers)
    readout: dict[str, np.ndarray] = {}
    for name, rows in program.readout.items():
        kept = same[name]
        readout[kept] = readout[kept] + rows if kept in readout else rows
    return replace(program, layers=layers, readout=readout)


def _read(step: Operator, same: dict[str, str]) -> Operator:
    if isinstance(step, Lookup):
        return replace(step, first=same[step.first], second=same[step.second])
    return replace(step, query=same[step.query], key=same[step.key], value=same[step.value])


def _meaning(step: Input | Operator) -> Hashable:
    """What a step computes, without its name."""
    tables = [getattr(step, name).tobytes() for name in ("codes", "predicate", "table") if hasattr(step, name)]
    out = step.out.symbols if isinstance(step.out, Categorical) else step.out.top
    return type(step).__name__, step.reads, out, *tables


def drop_symbols(program: Program, found: Sets) -> Program:
    """The program without symbols that no variable of a family can hold; a family copies from one another."""
    family = {name: name for name in program.variables}
    for step in program.operators:
        if isinstance(step, ClosestHead):
            family[step.out.name] = family[step.value]
    held: dict[str, np.ndarray] = {}
    for step in program.steps:
        if isinstance(step.out, Categorical):
            root = family[step.out.name]
            held[root] = held.get(root, False) | found[step.out.name].any(0)
    for step in program.inputs:
        if isinstance(step, Positions):
            held[step.out.name] = np.ones(step.out.size, dtype=bool)
    kept = {name: np.flatnonzero(held[family[name]]) for name in program.variables if family[name] in held}
    inputs = tuple(_fewer(step, kept) for step in program.inputs)
    layers = tuple(tuple(_fewer(step, kept) for step in layer) for layer in program.layers)
    readout = {name: rows[kept[name]] if name in kept else rows for name, rows in program.readout.items()}
    return replace(program, inputs=inputs, layers=layers, readout=readout)


def _fewer(step: Input | Operator, kept: dict[str, np.ndarray]) -> Input | Operator:
    name = step.out.name
    if name in kept and len(kept[name]) < step.out.size:
        step = replace(step, out=Categorical(name, tuple(step.out.symbols[i] for i in kept[name])))
    if isinstance(step, Embedding):
        # a word that cannot stand anywhere (`end` where there is one position) has to have some code
        return replace(step, codes=np.maximum(_places(kept[name], step.codes.max())[step.codes], 0))
    if isinstance(step, Head):
        asked = step.predicate[kept[step.query]]
        return replace(step, predicate=_places(kept[step.key], asked.max())[asked])
    if isinstance(step, Lookup):
        rows, columns = (kept.get(read, slice(None)) for read in step.reads)
        asked = step.table[rows][:, columns]
        return replace(step, table=_places(kept[name], asked.max())[asked])
    return step


def _places(kept: np.ndarray, largest: int) -> np.ndarray:
    """Old index (up to `largest`) -> new index; the last entry, which index NOWHERE reads, is NOWHERE."""
    places = np.full(max(kept.max(), largest) + 2, NOWHERE)
    places[kept] = np.arange(len(kept))
    return places
