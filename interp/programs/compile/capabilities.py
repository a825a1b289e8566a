"""What is exact where: every primitive of the language against every back end.

exact: all answers right, and a component outside the truth has no effect at all. measured: all answers right on the
probe, while rounding (rotation), the variables' own size (norms) or crowding (compression) leaks from each variable
into the others; the margin and the floor of the compiled model say how much. refused: an error that names the
construct.
"""

from collections.abc import Callable
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from interp.programs.rasp import (
    aggregate,
    aggregate_sum,
    constant,
    map,
    numerical,
    readout,
    select,
    select_all,
    select_closest,
    selector_width,
    sequence_map,
)
from interp.programs.rasp.nodes import SOp, indices, tokens

if TYPE_CHECKING:
    import pandas as pd

EXACT, MEASURED, REFUSED = "exact", "measured", "refused"

BACK_ENDS: dict[str, dict[str, Any]] = {
    "plain": {}, "causal": {"causal": True}, "distractors": {"distractors": ("length", "reverse")},
    "rotated": {"rotate": 0}, "layernorm": {"norm": "layernorm"}, "rmsnorm": {"norm": "rmsnorm"},
    "layernorm, rotated": {"norm": "layernorm", "rotate": 0}, "compressed to its rank": {"compress": "rank"},
}
"""Options of `compile` by back end; for the last, `Compiled.rank` of the plain model is the number to give."""
_MEASURED = {"rotated", "layernorm", "rmsnorm", "layernorm, rotated", "compressed to its rank"}


def _same(key: Any, query: Any) -> bool:
    return key == query


def _before(key: Any, query: Any) -> bool:
    return key <= query


def _order() -> SOp:
    return map(lambda t: "ab".index(t), tokens, "numerical").named("order")


def _sum_of_means() -> SOp:
    """A sum of four means of numbers that share no divisor, so that nearly all its values are different."""
    scales = (Fraction(1, 101), Fraction(1, 103), Fraction(1, 107), Fraction(1, 109))
    return sum(aggregate(select(indices, indices, _before), map(lambda i, x=x: i * i * x, indices, "numerical"))
               for x in scales)


PROBES: dict[str, Callable[[], SOp]] = {
    "map, categorical": lambda: map(lambda t: {"a": "x"}.get(t, "y"), tokens),
    "map, to a number": lambda: map(lambda t: 3 * "ab".index(t) - 1, tokens, "numerical"),
    "map, of a number": lambda: aggregate(select(indices, indices, _before), _order()) > Fraction(1, 2),
    "map, number to number": lambda: map(lambda x: x * x, aggregate(select_all(), _order()), "numerical"),
    "sequence_map": lambda: sequence_map(lambda t, i: (t, i % 2), tokens, indices),
    "sequence_map of three": lambda: sequence_map(lambda t, i, w: (t, i < w), tokens, indices, selector_width(
        select(tokens, tokens, _same))),
    "and, or, not": lambda: (tokens == "a") & ~(indices == 1) | (indices == 2),
    "linear combination": lambda: 2 + aggregate(select(indices, indices, _before), _order()) - _order(),
    "select and aggregate, categorical": lambda: aggregate(select(indices, indices, lambda k, q: k == q - 1), tokens),
    "aggregate with a default": lambda: aggregate(select(indices, indices, lambda k, q: k == q - 1), tokens, "none"),
    "aggregate, numerical": lambda: aggregate(select(indices, indices, _before), _order()),
    "selector_width": lambda: selector_width(select(tokens, tokens, _same)),
    "selectors joined by & | ~": lambda: selector_width(
        select(tokens, tokens, _same) & ~select(indices, indices, _same) | select(indices, indices, _before)),
    "select_closest": lambda: aggregate(select_closest(tokens, tokens, _same), indices),
    "aggregate_sum": lambda: aggregate_sum(select(indices, indices, _before), map(
        lambda t: {"a": 2, "b": -1}[t], tokens, "numerical")),
    "readout": lambda: readout(
        {tokens: {"a": [0.5, 0.0, -1.0], "b": [0.0, 1.0, 0.2]}, _order(): [-0.3, 0.1, 0.9]}, "xyz", [0.0, 0.05, 0.3]),
    "constant": lambda: sequence_map(lambda t, c: t + c, tokens, constant("c")),
    "aggregate of several different values": lambda: aggregate(select_all(), tokens),
    "a number with no value": lambda: numerical(aggregate(select(indices, indices, lambda k, q: k < 0), indices) + 1),
    "sum of fractions": lambda: aggregate_sum(select_all(), map(lambda t: Fraction(1, 2), tokens, "numerical")),
    "map of too many numbers": lambda: _sum_of_means() > 0,
}
"""A small program for every primitive, over the tokens a and b."""
_REFUSED = {
    "aggregate of several different values", "a number with no value", "sum of fractions",
    "map of too many numbers",
}


def capability(primitive: str, back_end: str) -> str:
    """"exact", "measured" or "refused"."""
    if primitive in _REFUSED:
        return REFUSED
    return MEASURED if back_end in _MEASURED else EXACT


def capabilities() -> "pd.DataFrame":
    """One row a primitive, one column a back end: exact, measured or refused (see the module for what they mean).

    Gradients are no part of it: where everything is exact, softmax and tables are flat around every value, so that
    gradient methods see little or nothing; patching sees all.
    """
    import pandas as pd

    rows = {primitive: [capability(primitive, back_end) for back_end in BACK_ENDS] for primitive in PROBES}
    return pd.DataFrame.from_dict(rows, orient="index", columns=list(BACK_ENDS)).rename_axis("primitive")
