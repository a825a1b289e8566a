"""Predictors of Boolean functions: a constant, and the elimination of literals (Valiant 1984)."""

import torch
from torch import Tensor

from interp.icl.layout import check_pairs
from interp.results.errors import BadInput


def null(xs: Tensor, ys: Tensor) -> Tensor:
    """Always -1."""
    check_pairs(xs, ys)
    return torch.full(ys.shape, -1.0, dtype=torch.float64)


def zero(xs: Tensor, ys: Tensor) -> Tensor:
    """Always 0: the prior mean of real functions."""
    check_pairs(xs, ys)
    return torch.zeros(ys.shape, dtype=torch.float64)


def elimination(xs: Tensor, ys: Tensor, signed: bool = True) -> Tensor:
    """The longest conjunction that all positive examples meet: +1 where x meets it, else -1.

    Never wrong on a negative point. Before the first positive example every literal stands, so that with negated
    literals (`signed`) nothing can be met. Raises BadInput for points or labels other than -1 and +1.
    """
    check_pairs(xs, ys)
    if not ((xs.abs() == 1).all() and (ys.abs() == 1).all()):
        raise BadInput("elimination is for points and labels of -1 and +1")
    positive = (ys > 0)[..., None]
    # behind the positive examples before k: which coordinates have been -1, and which +1
    false = (positive & (xs < 0)).long().cumsum(1) - (positive & (xs < 0)).long() > 0
    true = (positive & (xs > 0)).long().cumsum(1) - (positive & (xs > 0)).long() > 0
    met = (false | (xs > 0)).all(-1)
    if signed:
        met = met & (true | (xs < 0)).all(-1)
    return torch.where(met, 1.0, -1.0).double()
