"""Linear functions (Garg et al. 2022, What can transformers learn in-context?, arXiv 2208.01066, section 3).

    y = w . x,  x ~ N(0, I),  w ~ N(0, I)       noisy: + sigma z        sparse: all but s entries of w are 0
    ill-conditioned: x = U diag(l) U^T z, half of l is kappa times the other half, sum l^2 = d
"""

from dataclasses import dataclass
from itertools import combinations
from math import comb, sqrt

import torch
from torch import Generator, Tensor

from interp.results.errors import BadInput
from interp.tasks.functions.episodes import Drawn, Latents, check_counts, signs
from interp.tasks.functions.solve import mixture_posterior, posterior

MOST_SUPPORTS = 2000


def gaussian_weights(batch: int, d: int, generator: Generator) -> dict[str, Tensor]:
    """{"w": [batch, d]} from N(0, I)."""
    return {"w": torch.randn(batch, d, generator=generator)}


def inner(xs: Tensor, w: Tensor) -> Tensor:
    """w . x for every point, [batch, n]."""
    return torch.einsum("bnd,bd->bn", xs, w)


@dataclass(frozen=True, kw_only=True)
class Linear(Drawn):
    """y = w . x. Bayes: the shortest weights that fit."""

    d: int = 5
    name = "linear"

    def __post_init__(self) -> None:
        check_counts(d=self.d)

    @property
    def scale(self) -> float:
        return float(self.d)

    def latents(self, batch: int, generator: Generator) -> Latents:
        return gaussian_weights(batch, self.d, generator)

    def values(self, xs: Tensor, latents: Latents) -> Tensor:
        return inner(xs, latents["w"])

    def bayes(self, xs: Tensor, ys: Tensor) -> Tensor:
        return posterior(xs, ys, 0.0)


@dataclass(frozen=True, kw_only=True)
class Noisy(Linear):
    """y = w . x + noise z. Bayes: ridge with penalty noise^2."""

    noise: float = 0.5
    name = "noisy"

    def observed(self, values: Tensor, generator: Generator) -> Tensor:
        return values + self.noise * torch.randn(values.shape, generator=generator)

    def bayes(self, xs: Tensor, ys: Tensor) -> Tensor:
        return posterior(xs, ys, self.noise**2)


@dataclass(frozen=True, kw_only=True)
class Sparse(Linear):
    """y = w . x with `nonzero` entries of w drawn, the rest 0. Bayes: over all supports, up to 2000 of them."""

    d: int = 8
    nonzero: int = 2
    name = "sparse"

    def __post_init__(self) -> None:
        check_counts(d=self.d, nonzero=self.nonzero)
        if self.nonzero > self.d:
            raise BadInput(f"nonzero is {self.nonzero}; w has {self.d} entries")

    @property
    def scale(self) -> float:
        return float(self.nonzero)

    def latents(self, batch: int, generator: Generator) -> Latents:
        w = gaussian_weights(batch, self.d, generator)["w"]
        rank = torch.rand(batch, self.d, generator=generator).argsort(1).argsort(1)
        return {"w": w * (rank < self.nonzero)}

    def bayes(self, xs: Tensor, ys: Tensor) -> Tensor | None:
        if comb(self.d, self.nonzero) > MOST_SUPPORTS:
            return None
        supports = torch.tensor(list(combinations(range(self.d), self.nonzero)))
        rows = [mixture_posterior(x[:, :, supports].permute(2, 0, 1, 3), y, 0.0)[0]
                for x, y in zip(xs.split(256), ys.split(256))]
        return torch.cat(rows)


@dataclass(frozen=True, kw_only=True)
class IllConditioned(Linear):
    """Linear, with points stretched `condition` times along half of a random basis of each prompt."""

    condition: float = 10.0
    name = "ill-conditioned"

    def __post_init__(self) -> None:
        check_counts(d=self.d)
        if not self.condition >= 1:
            raise BadInput(f"condition is {self.condition}; a number of at least 1 is needed")

    def inputs(self, batch: int, n: int, latents: Latents, generator: Generator) -> Tensor:
        z = torch.randn(batch, n, self.d, generator=generator)
        return stretched(z, conditioned(self.d, self.condition), generator)


@dataclass(frozen=True, kw_only=True)
class Classification(Linear):
    """y = sign(w . x), a random halfspace through 0."""

    name = "classification"
    labels = "sign"
    scale = 1.0

    def values(self, xs: Tensor, latents: Latents) -> Tensor:
        return signs(inner(xs, latents["w"]))

    def bayes(self, xs: Tensor, ys: Tensor) -> None:
        return None


def conditioned(d: int, condition: float) -> Tensor:
    """`condition` for the first half of d directions, 1 for the others."""
    return torch.where(torch.arange(d) < d // 2, condition, 1.0)


def stretched(xs: Tensor, lengths: Tensor, generator: Generator) -> Tensor:
    """xs U diag(lengths) U^T with a random rotation U for every prompt; lengths are scaled so that |x|^2 stays d on
    average."""
    d = xs.shape[-1]
    basis = rotations(len(xs), d, generator)
    lengths = lengths * sqrt(d / float((lengths**2).sum()))
    return xs @ (basis * lengths) @ basis.transpose(1, 2)


def rotations(batch: int, d: int, generator: Generator) -> Tensor:
    """Uniform orthogonal matrices [batch, d, d] (Mezzadri 2007, arXiv math-ph/0609050)."""
    q, r = torch.linalg.qr(torch.randn(batch, d, d, generator=generator))
    return q * torch.where(r.diagonal(dim1=1, dim2=2) < 0, -1.0, 1.0)[:, None]
