"""What one could do with the examples of a prompt: predictors with one signature.

`predictor(xs [batch, n, d], ys [batch, n]) -> [batch, n]`, float64: the prediction at x_k uses the k examples before
it, and is the prior mean 0 at k = 0 (`null`, `elimination`: -1). Iterative ones take `steps`, and with `iterates=True`
give every iterate, [steps + 1, batch, n].
"""

from interp.icl.baselines.boolean import elimination, null, zero
from interp.icl.baselines.closed import averaging, least_squares, nearest_neighbours, ridge, ridge_path
from interp.icl.baselines.iterative import (
    chebyshev,
    conjugate_gradient,
    fitted_rate,
    gd_plus_plus,
    gradient_descent,
    heavy_ball,
    newton,
)
from interp.icl.baselines.library import boosted_trees, lasso, logistic, tree
from interp.icl.baselines.network import network
from interp.icl.baselines.table import baseline, baselines_for

__all__ = [
    "averaging", "baseline", "baselines_for", "boosted_trees", "chebyshev", "conjugate_gradient", "elimination",
    "fitted_rate", "gd_plus_plus", "gradient_descent", "heavy_ball", "lasso", "least_squares", "logistic",
    "nearest_neighbours", "network", "newton", "null", "ridge", "ridge_path", "tree", "zero",
]
