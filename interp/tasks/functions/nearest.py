"""The label of the nearest earlier point (Bhattamishra et al. 2023, arXiv 2310.03016, section 5).

The first `start` labels are random, but for exact repeats, which copy; behind them y_k is the label of the earlier
point with the largest product with x_k, the first on ties.
"""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from interp.tasks.functions.boolean import Hypercube
from interp.tasks.functions.episodes import Latents, check_counts


@dataclass(frozen=True, kw_only=True)
class NearestNeighbour(Hypercube):
    """y_k = the label of the nearest point before it, from k = `start` on. Latents: "seed", the random labels."""

    d: int = 8
    start: int = 8
    name = "nearest-neighbour"

    def __post_init__(self) -> None:
        check_counts(d=self.d, start=self.start)

    def latents(self, batch: int, generator: Generator) -> Latents:
        return {"first": 2.0 * torch.randint(0, 2, (batch, self.start), generator=generator) - 1}

    def values(self, xs: Tensor, latents: Latents) -> Tensor:
        near = xs @ xs.transpose(1, 2)
        batch, n = xs.shape[:2]
        row, ys = torch.arange(batch), torch.zeros(batch, n)
        ys[:, : self.start] = latents["first"][:, :n]
        for k in range(1, n):
            best, which = near[:, k, :k].max(1)
            copies = (best == self.d) | (k >= self.start)
            ys[:, k] = torch.where(copies, ys[row, which], ys[:, k])
        return ys

    def bayes(self, xs: Tensor, ys: Tensor) -> Tensor:
        """The rule itself; 0 at random labels."""
        near = xs @ xs.transpose(1, 2)
        said = torch.zeros_like(ys)
        row = torch.arange(len(xs))
        for k in range(1, xs.shape[1]):
            best, which = near[:, k, :k].max(1)
            said[:, k] = torch.where((best == self.d) | (k >= self.start), ys[row, which], 0.0)
        return said
