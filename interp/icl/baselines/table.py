"""Predictors by name, and those that stand beside a class of functions by default."""

from collections.abc import Callable
from functools import partial

from torch import Tensor

from interp.icl.baselines.boolean import elimination, null, zero
from interp.icl.baselines.closed import averaging, least_squares, nearest_neighbours, ridge
from interp.icl.baselines.iterative import (
    chebyshev,
    conjugate_gradient,
    gd_plus_plus,
    gradient_descent,
    heavy_ball,
    newton,
)
from interp.icl.baselines.library import boosted_trees, lasso, logistic, tree
from interp.icl.baselines.network import network
from interp.results.errors import BadInput, nearest
from interp.tasks.functions import FunctionTask

Predictor = Callable[[Tensor, Tensor], Tensor]

_TABLE: dict[str, Predictor] = {
    "zero": zero,
    "null": null,
    "least squares": least_squares,
    "ridge": ridge,
    "averaging": averaging,
    "3 nearest": partial(nearest_neighbours, neighbours=3),
    "nearest": partial(nearest_neighbours, neighbours=1),
    "gradient descent": gradient_descent,
    "gd++": gd_plus_plus,
    "heavy ball": heavy_ball,
    "chebyshev": chebyshev,
    "conjugate gradient": conjugate_gradient,
    "newton": newton,
    "lasso": lasso,
    "logistic": logistic,
    "elimination": elimination,
    "tree": tree,
    "boosted trees": boosted_trees,
    "network": network,
}


def baseline(name: str) -> Predictor:
    """The predictor called `name`, a trailing number its steps or neighbours: "newton 3", "lasso".

    Raises BadInput for an unknown name, naming the nearest.
    """
    if name in _TABLE:
        return _TABLE[name]
    first, _, count = name.rpartition(" ")
    if first in ("gradient descent", "gd++", "heavy ball", "chebyshev", "conjugate gradient", "newton"):
        if count.isdigit():
            return partial(_TABLE[first], steps=int(count))
    raise BadInput(f"there is no baseline {name!r}.{nearest(name, _TABLE)} There are: {', '.join(_TABLE)}; those that "
                   "take steps may have them behind: 'newton 3'")


def baselines_for(task: FunctionTask) -> dict[str, Predictor]:
    """What a model of this class is compared with where nothing is said: cheap ones, and Bayes where it is known."""
    base = getattr(task, "base", task)
    names = ["least squares", "averaging", "3 nearest"] if task.labels == "real" else ["null", "averaging", "nearest"]
    found = {name: _TABLE[name] for name in names}
    if base.name in ("conjunction", "teaching"):
        found["elimination"] = partial(elimination, signed=getattr(base, "signed", True))
    return found
