"""Bayes for conjunctions by counting: every hypothesis that fits, weighted by its prior and by the points it draws.

    p(x | w) = (1 - balance) 2^-d + balance [x meets w] 2^(|w| - d)          the points, too, say what w is
"""

import itertools
from functools import cache
from math import log

import torch
from torch import Tensor

ROWS = 2**23  # hypotheses x points held at once


@cache
def clause_hypotheses(d: int, literal: float) -> tuple[Tensor, Tensor]:
    """All conjunctions [3^d, d] and the logarithm of the prior of each, without the impossible ones."""
    w = torch.tensor(list(itertools.product((-1.0, 0.0, 1.0), repeat=d)))
    count = w.abs().sum(1).double()
    asked = torch.special.xlogy(count, torch.tensor(literal / 2).double())
    prior = asked + torch.special.xlogy(d - count, torch.tensor(1 - literal).double())
    return w[prior.isfinite()], prior[prior.isfinite()]


def hypotheses_posterior(xs: Tensor, ys: Tensor, w: Tensor, prior: Tensor, balance: float) -> Tensor:
    """Posterior mean of y_k [batch, n] given the examples before k and the point x_k itself."""
    step = max(1, ROWS // (len(w) * xs.shape[1]))
    return torch.cat([_posterior(x, y, w, prior, balance) for x, y in zip(xs.split(step), ys.split(step))]).to(ys.dtype)


def _posterior(xs: Tensor, ys: Tensor, w: Tensor, prior: Tensor, balance: float) -> Tensor:
    count = w.abs().sum(1)
    met = torch.einsum("bnd,hd->bhn", xs, w) > count[:, None] - 1
    drawn = torch.log1p(met * (balance / max(1 - balance, 1e-12) * 2.0 ** count.double())[:, None])
    drawn = drawn + log(max(1 - balance, 1e-12))
    wrong = met != (ys > 0)[:, None]
    logs = torch.where(wrong, -torch.inf, drawn)
    before = logs.cumsum(-1).roll(1, -1)
    before[..., 0] = 0.0
    weight = (prior[:, None] + before + drawn).softmax(1)
    # labels that no conjunction explains leave nothing to weigh: then nothing is known
    said = (weight * torch.where(met, 1.0, -1.0)).sum(1)
    return torch.nan_to_num(said, nan=0.0)
