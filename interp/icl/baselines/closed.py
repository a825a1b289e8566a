"""Predictors with a closed form: least squares, ridge, averaging, nearest neighbours.

    least_squares  w_k = pinv(X_<k) y_<k         ridge      w_k = (X_<k^T X_<k + penalty I)^-1 X_<k^T y_<k
    averaging      w_k = sum_i<k y_i x_i / k     neighbours  mean of y over the nearest of the k examples

Shapes everywhere: xs [batch, n, d], ys [batch, n] -> [batch, n], the prediction at x_k from the k examples before it,
in float64; at k = 0 it is 0, the prior mean.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from interp.icl.layout import check_pairs
from interp.results.errors import BadInput
from interp.tasks.functions.solve import min_norm_weights, moments, predictions, ridge_weights

DECIMALS = 7  # distances that agree so far are ties, and the first of them counts


def least_squares(xs: Tensor, ys: Tensor) -> Tensor:
    """The shortest weights of least squared error: Bayes for noiseless linear functions with w ~ N(0, I)."""
    check_pairs(xs, ys)
    return predictions(xs, min_norm_weights(xs, ys))


def ridge(xs: Tensor, ys: Tensor, penalty: float = 0.25) -> Tensor:
    """Ridge; with noise of variance s^2 and w ~ N(0, t^2 I) it is Bayes at penalty s^2 / t^2. Raises BadInput for a
    penalty that is not positive."""
    check_pairs(xs, ys)
    if not penalty > 0:
        raise BadInput(f"penalty is {penalty}; ridge needs one above 0, and least_squares has none")
    return predictions(xs, ridge_weights(xs, ys, penalty))


def ridge_path(xs: Tensor, ys: Tensor, penalties: Sequence[float] = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)) -> Tensor:
    """Ridge at every penalty, [penalty, batch, n]."""
    return torch.stack([ridge(xs, ys, penalty) for penalty in penalties])


def averaging(xs: Tensor, ys: Tensor) -> Tensor:
    """w = the mean of y_i x_i, a plain Hebbian guess: one step of gradient descent of size 1 / k."""
    check_pairs(xs, ys)
    count = torch.arange(xs.shape[1]).clamp(min=1)[:, None]
    return predictions(xs, moments(xs, ys)[1] / count)


def nearest_neighbours(
    xs: Tensor, ys: Tensor, neighbours: int = 3, metric: Literal["euclidean", "cosine"] = "euclidean"
) -> Tensor:
    """The mean answer of the nearest examples, of all where there are fewer; of equally near ones the first count.

    Raises BadInput for an unknown metric or no neighbours.
    """
    check_pairs(xs, ys)
    if neighbours < 1 or metric not in ("euclidean", "cosine"):
        raise BadInput(f"{neighbours} neighbours by {metric!r} were asked for; at least 1, by euclidean or cosine")
    x, y = xs.double(), ys.double()
    if metric == "cosine":
        x = torch.nn.functional.normalize(x, dim=-1)
    # the length of the query is the same for all examples, so that what is left of the distance orders them
    near = x @ x.transpose(1, 2) - (0.5 * x.square().sum(-1)[:, None] if metric == "euclidean" else 0.0)
    near = near.round(decimals=DECIMALS)
    said = torch.zeros_like(y)
    for k in range(1, xs.shape[1]):
        order = near[:, k, :k].argsort(dim=-1, descending=True, stable=True)[:, :neighbours]
        said[:, k] = y.gather(1, order).mean(1)
    return said
