"""RASP: programs over sequences, written in Python, with a literal evaluator and a library.

    from interp.programs.rasp import select, selector_width, tokens, evaluate
    hist = selector_width(select(tokens, tokens, lambda k, q: k == q))
    evaluate(hist, "abac")          # [2, 1, 2, 1]
"""

from interp.programs.rasp.build import (
    aggregate,
    aggregate_sum,
    categorical,
    constant,
    linear,
    map,
    numerical,
    readout,
    select,
    select_all,
    select_closest,
    selector_width,
    sequence_map,
)
from interp.programs.rasp.evaluate import evaluate
from interp.programs.rasp.library import LIBRARY, names, program
from interp.programs.rasp.nodes import Selector, SOp, indices, tokens

__all__ = [
    "LIBRARY", "SOp", "Selector", "aggregate", "aggregate_sum", "categorical", "constant", "evaluate", "indices",
    "linear", "map", "names", "numerical", "program", "readout", "select", "select_all", "select_closest",
    "selector_width", "sequence_map", "tokens",
]
