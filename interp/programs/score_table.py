"""The readout as text: one aligned row of scores for each value of each variable."""

import numpy as np

from interp.programs.program import Categorical, Program, Variable
from interp.programs.python_text import INDENT, WIDTH, number, quoted, value


def score_lines(program: Program) -> list[str]:
    """LABELS, BIAS and SCORES. Labels that are never an answer have no column."""
    kept = [i for i, label in enumerate(program.labels) if label not in program.never]
    labels = [quoted(program.labels[i]) for i in kept]
    bias = _cells(program.bias, kept)
    blocks = {name: [_cells(row, kept) for row in table] for name, table in program.readout.items()}
    rows = [labels, bias, *(row for block in blocks.values() for row in block)]
    widths = [max(map(len, column)) for column in zip(*rows)]
    firsts = {name: _firsts(program.variables[name], name) for name in blocks}
    left = min(40, max(map(len, ["LABELS = ", *(first for column in firsts.values() for first in column)])))
    lines = [
        *_row("LABELS = ".ljust(left) + "(", labels, widths, ")"),
        *_row("BIAS = ".ljust(left) + "(", bias, widths, ")"),
        "SCORES = {",
    ]
    for name, block in blocks.items():
        rows = [_row(first.ljust(left) + "(", cells, widths, "),") for first, cells in zip(firsts[name], block)]
        body = [line for row in rows for line in row]
        categorical = isinstance(program.variables[name], Categorical)
        lines += [f"{INDENT}{quoted(name)}: {{", *body, f"{INDENT}}},"] if categorical else body
    return [*lines, "}"]


def _cells(row: np.ndarray, kept: list[int]) -> list[str]:
    return [number(row[i]) for i in kept]


def _firsts(variable: Variable, name: str) -> list[str]:
    if isinstance(variable, Categorical):
        return [f"{INDENT * 2}{value(variable, i)}: " for i in range(variable.size)]
    return [f"{INDENT}{quoted(name)}: "]


def _row(first: str, items: list[str], widths: list[int], end: str) -> list[str]:
    """Right-aligned columns; what does not fit goes on below, under the bracket."""
    lines = [first]
    for item, width in zip(items, widths):
        piece = item.rjust(width) + ", "
        if len(lines[-1]) + len(piece) + len(end) > WIDTH and lines[-1].strip() and lines[-1] is not first:
            lines[-1] = lines[-1].rstrip()
            lines.append(" " * len(first))
        lines[-1] += piece
    lines[-1] = (lines[-1].rstrip() if len(items) == 1 else lines[-1].rstrip().rstrip(",")) + end
    return lines
