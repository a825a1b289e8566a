"""Boolean functions that count (Bhattamishra et al. 2023, arXiv 2310.03016, section 3 and its code), x uniform on
{-1, +1}^d.

    majority   y = sign(w . x - 1/2), w in {0, 1}      threshold  y = sign(w . x - b), w in {-1, 0, 1}, b -2.5 .. 2.5
    halfspace  the same, w in {-3 .. 3}                parity     y = product of x_i over a subset of coordinates

A tie is -1. No Bayes predictor is given.
"""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from interp.results.errors import BadInput
from interp.tasks.functions.boolean import Hypercube, literals
from interp.tasks.functions.episodes import Latents, check_counts, check_share, signs
from interp.tasks.functions.linear import inner


@dataclass(frozen=True, kw_only=True)
class Majority(Hypercube):
    """More than half of the chosen coordinates are +1; each is chosen with probability `chosen`."""

    d: int = 8
    chosen: float = 0.3
    name = "majority"

    def __post_init__(self) -> None:
        check_counts(d=self.d)
        check_share(chosen=self.chosen)

    def latents(self, batch: int, generator: Generator) -> Latents:
        return {"w": (torch.rand(batch, self.d, generator=generator) < self.chosen).float(),
                "b": torch.full((batch,), 0.5)}

    def values(self, xs: Tensor, latents: Latents) -> Tensor:
        return signs(inner(xs, latents["w"]) - latents["b"][:, None])


@dataclass(frozen=True, kw_only=True)
class Threshold(Majority):
    """Weights -1, 0 and 1 and a threshold drawn from -2.5, -1.5 ... 2.5."""

    name = "threshold"

    def latents(self, batch: int, generator: Generator) -> Latents:
        w = literals((batch, self.d), self.chosen, generator)
        return {"w": w, "b": torch.randint(-3, 3, (batch,), generator=generator) + 0.5}


@dataclass(frozen=True, kw_only=True)
class IntegerHalfspace(Hypercube):
    """Weights uniform on -3 ... 3, threshold 1/2."""

    d: int = 8
    name = "halfspace"

    def __post_init__(self) -> None:
        check_counts(d=self.d)

    def latents(self, batch: int, generator: Generator) -> Latents:
        return {"w": torch.randint(-3, 4, (batch, self.d), generator=generator).float(),
                "b": torch.full((batch,), 0.5)}

    def values(self, xs: Tensor, latents: Latents) -> Tensor:
        return signs(inner(xs, latents["w"]) - latents["b"][:, None])


@dataclass(frozen=True, kw_only=True)
class Parity(Hypercube):
    """The product of a subset of coordinates: every subset as likely, or all of `size`; of none it is +1."""

    d: int = 8
    size: int | None = None

    def __post_init__(self) -> None:
        check_counts(d=self.d)
        if self.size is not None and not 1 <= self.size <= self.d:
            raise BadInput(f"size is {self.size}; a subset of {self.d} coordinates has 1 to {self.d}")

    @property
    def name(self) -> str:
        return "parity" if self.size is None else "sparse-parity"

    def latents(self, batch: int, generator: Generator) -> Latents:
        if self.size is None:
            return {"w": torch.randint(0, 2, (batch, self.d), generator=generator).float()}
        rank = torch.rand(batch, self.d, generator=generator).argsort(1).argsort(1)
        return {"w": (rank < self.size).float()}

    def values(self, xs: Tensor, latents: Latents) -> Tensor:
        return torch.where(latents["w"][:, None] > 0, xs, 1.0).prod(-1)
