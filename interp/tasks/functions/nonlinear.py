"""Functions that are not linear in x (Garg et al. 2022, arXiv 2208.01066, section 5), x ~ N(0, I).

    quadratic   y = w . x^2 / sqrt(3)                             network   y = sqrt(2 / h) w2 . relu(W1 x)
    tree        a complete binary tree: each node asks the sign of one coordinate, each leaf is N(0, 1)
"""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from interp.tasks.functions.episodes import Drawn, Latents, check_counts
from interp.tasks.functions.linear import Linear, inner
from interp.tasks.functions.solve import posterior


@dataclass(frozen=True, kw_only=True)
class Quadratic(Linear):
    """y = w . x^2 / sqrt(3), w ~ N(0, I). Bayes: the shortest weights on x^2 that fit."""

    name = "quadratic"

    def values(self, xs: Tensor, latents: Latents) -> Tensor:
        return inner(xs**2, latents["w"]) / 3**0.5

    def bayes(self, xs: Tensor, ys: Tensor) -> Tensor:
        return posterior(xs**2, ys, 0.0)


@dataclass(frozen=True, kw_only=True)
class Network(Drawn):
    """y = sqrt(2 / hidden) w2 . relu(W1 x), all weights N(0, 1)."""

    d: int = 5
    hidden: int = 100
    name = "network"

    def __post_init__(self) -> None:
        check_counts(d=self.d, hidden=self.hidden)

    @property
    def scale(self) -> float:
        return float(self.d)

    def latents(self, batch: int, generator: Generator) -> Latents:
        return {"w1": torch.randn(batch, self.hidden, self.d, generator=generator),
                "w2": torch.randn(batch, self.hidden, generator=generator)}

    def values(self, xs: Tensor, latents: Latents) -> Tensor:
        hidden = torch.einsum("bnd,bhd->bnh", xs, latents["w1"]).relu()
        return (2 / self.hidden) ** 0.5 * torch.einsum("bnh,bh->bn", hidden, latents["w2"])


@dataclass(frozen=True, kw_only=True)
class Tree(Drawn):
    """A decision tree of `depth` questions. Latents: "coordinate" of every inner node [batch, 2^depth - 1], root
    first, children of i at 2 i + 1 (not positive) and 2 i + 2 (positive); "leaf" [batch, 2^depth]."""

    d: int = 5
    depth: int = 4
    name = "tree"

    def __post_init__(self) -> None:
        check_counts(d=self.d, depth=self.depth)

    def latents(self, batch: int, generator: Generator) -> Latents:
        inside = 2**self.depth - 1
        return {"coordinate": torch.randint(self.d, (batch, inside), generator=generator),
                "leaf": torch.randn(batch, inside + 1, generator=generator)}

    def values(self, xs: Tensor, latents: Latents) -> Tensor:
        node = torch.zeros(xs.shape[:2], dtype=torch.long)
        for _ in range(self.depth):
            asked = latents["coordinate"].gather(1, node)
            positive = xs.gather(2, asked[..., None])[..., 0] > 0
            node = 2 * node + 1 + positive.long()
        return latents["leaf"].gather(1, node - (2**self.depth - 1))
