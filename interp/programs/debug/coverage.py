"""Which predicate rows, table entries and score rows are used on given sequences, how often, and where first."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Int

from interp.programs.evaluate import closeness, matches, values
from interp.programs.inputs import Tokens, same_length
from interp.programs.program import NOWHERE, Categorical, ClosestHead, Head, Lookup, Program, Variable
from interp.programs.reach import Sets, pairs, reachable

Use = tuple[str, str]
"""(variable, part): "predicate" and "match" of a head, "table" of a lookup, "readout" of anything that is scored."""


@dataclass(frozen=True)
class Coverage:
    """Every branch that an input can reach (`reach` proves where none can) with how many positions used it.

    `rows` has a dict a branch: variable, part, when (the values that lead there), then (what follows), count (of
    positions, begin and end included), example (tokens) and pos (in the framed sequence), None where count is 0.
    """

    program: str
    sequences: int
    rows: list[dict]

    @property
    def unused(self) -> list[dict]:
        """Branches that none of the sequences used."""
        return [row for row in self.rows if not row["count"]]

    def frame(self) -> pd.DataFrame:
        """The rows as a table; `attrs` say what was run."""
        frame = pd.DataFrame(self.rows)
        frame.attrs = {"program": self.program, "sequences": self.sequences, "unit": "positions"}
        return frame


def coverage(program: Program, sequences: Sequence[Tokens]) -> Coverage:
    """What of `program` the sequences use. Raises BadInput for sequences it cannot read."""
    counts: dict[Use, np.ndarray] = {}
    first: dict[tuple[Use, int], tuple[int, int]] = {}
    for places, ids in same_length(program, sequences):
        for use, branch in uses(program, values(program, ids)).items():
            size = branches(program, use)
            counts[use] = counts.get(use, 0) + np.bincount(branch.ravel(), minlength=size)
            for index, flat in zip(*np.unique(branch, return_index=True)):
                row, pos = divmod(int(flat), ids.shape[1])
                seen = first.get((use, int(index)))
                first[use, int(index)] = min(seen or (places[row], pos), (places[row], pos))
    rows, possible = [], reachable(program)
    for use, found in counts.items():
        reached = _reached(program, use, possible)
        for index, count in enumerate(found):
            if reached[index] and (labels := _label(program, use, index)) is not None:
                place = first.get((use, index))
                example = None if place is None else list(map(str, sequences[place[0]]))
                rows.append({"variable": use[0], "part": use[1], "when": labels[0], "then": labels[1],
                             "count": int(count), "example": example, "pos": None if place is None else place[1]})
    return Coverage(program.name, len(sequences), rows)


def uses(program: Program, found: dict[str, np.ndarray]) -> dict[Use, Int[np.ndarray, "batch pos"]]:
    """The index of the branch that each position uses, from `evaluate.values`."""
    order = closeness(next(iter(found.values())).shape[1], program.causal)
    used: dict[Use, np.ndarray] = {}
    for step in program.operators:
        name = step.out.name
        if isinstance(step, Lookup):
            used[name, "table"] = found[step.first] * program.variables[step.second].size + found[step.second]
        else:
            used[name, "predicate"] = found[step.query]
            used[name, "match"] = (matches(step, found) & (order > 0)).any(-1).astype(int)
    for name in program.readout:
        if isinstance(program.variables[name], Categorical):
            used[name, "readout"] = found[name]
    return used


def branches(program: Program, use: Use) -> int:
    """How many branches a part has."""
    step = program.writer(use[0])
    if use[1] == "table":
        return step.table.size
    if use[1] == "predicate":
        return step.predicate.size
    return 2 if use[1] == "match" else step.out.size


def _reached(program: Program, use: Use, possible: Sets) -> np.ndarray:
    """Which branches of a part can be used at all."""
    step = program.writer(use[0])
    if use[1] == "table":
        return pairs(program, step, possible).ravel()
    if use[1] == "predicate":
        return possible[step.query].any(0)
    return np.ones(2, dtype=bool) if use[1] == "match" else possible[use[0]].any(0)


def shown(variable: Variable, index: int) -> str:
    """A value as text: the symbol, or the number."""
    return variable.symbols[index] if isinstance(variable, Categorical) else str(int(index))


def _label(program: Program, use: Use, index: int) -> tuple[str, str] | None:
    """(when, then) of a branch; None for a pair that the table says cannot occur."""
    step, kinds = program.writer(use[0]), program.variables
    if use[1] == "table":
        one, two = divmod(index, kinds[step.second].size)
        value = step.table[one, two]
        when = f"{step.first} = {shown(kinds[step.first], one)}, {step.second} = {shown(kinds[step.second], two)}"
        return None if value == NOWHERE else (when, f"{use[0]} = {shown(step.out, value)}")
    if use[1] == "predicate":
        wanted = step.predicate[index]
        then = "no key" if wanted == NOWHERE else f"{step.key} = {shown(kinds[step.key], wanted)}"
        return f"{step.query} = {shown(kinds[step.query], index)}", then
    if use[1] == "match":
        return ("some key matches", "read") if index else ("no key matches", _without(step))
    return f"{use[0]} = {shown(step.out, index)}", "score row"


def _without(step: Head) -> str:
    return "read position 0" if isinstance(step, ClosestHead) else "0"
