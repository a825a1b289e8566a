"""Scores in whole numbers: shorter to read, and added without rounding, so that their order cannot matter."""

from dataclasses import replace

import numpy as np

from interp.programs.program import Categorical, Program
from interp.results.errors import BadInput

_BITS = 53  # of a float's whole part


def has_exact_scores(program: Program) -> bool:
    """Whether sums of this program's scores are exact in any order, so that rows may be added up beforehand."""
    return grain(program) is not None


def grain(program: Program) -> float | None:
    """The power of two that all sums of scores are whole multiples of, where they are exact; else None."""
    tables = [(1, program.bias)]
    for name, rows in program.readout.items():
        variable = program.variables[name]
        tables.append((1 if isinstance(variable, Categorical) else max(1, variable.top), rows))
    ratios = [float(x).as_integer_ratio() for _, rows in tables for x in rows.ravel()]
    finest = max((below.bit_length() - 1 for _, below in ratios), default=0)
    largest = sum(times * float(np.abs(rows).max(initial=0)) for times, rows in tables) * program.n_ctx
    return 2.0**-finest if largest < 2.0 ** (_BITS - finest - 1) else None


def rounded(program: Program, decimals: int = 3) -> Program:
    """The program with scores times 10^decimals, as whole numbers, `centred`. Answers of a small margin can change.

    A label's sum moves by half a unit for each variable of the readout at most (for a number times its value).
    """
    scale = 10.0**decimals
    if not 0 <= decimals <= 9:
        raise BadInput(f"scores cannot be rounded to {decimals} decimals; 0 to 9 can be had")
    return centred(replace(
        program,
        readout={name: np.rint(rows * scale) for name, rows in program.readout.items()},
        bias=np.rint(program.bias * scale),
        provenance=program.provenance | {"scores_times": int(scale)},
    ))


def centred(program: Program) -> Program:
    """The same answers from scores that are easier to compare: rows near 0 are values that make little difference.

    From every row goes its median over labels, which all labels share; from all rows of a variable their median, which
    the bias takes; a label that is never an answer gets 0. Raises BadInput where sums of scores are not exact.
    """
    if (step := grain(program)) is None:
        raise BadInput(f"sums of {program.name} are not exact, so moving scores could change answers: round them")
    allowed = ~np.isin(program.labels, program.never)

    def level(rows: np.ndarray) -> np.ndarray:
        shared = step * np.rint(np.median(rows[..., allowed], axis=-1, keepdims=True) / step)
        return np.where(allowed, rows - shared, 0.0) + 0.0  # and no -0.0

    readout, bias = {}, program.bias
    for name, rows in program.readout.items():
        rows = level(rows)
        if isinstance(program.variables[name], Categorical):
            usual = step * np.rint(np.median(rows, axis=0) / step)
            rows, bias = rows - usual, bias + usual
        readout[name] = rows
    return replace(program, readout=readout, bias=level(bias))
