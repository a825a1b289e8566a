"""`Episodes`: prompts that show examples of a function, and what a class of functions must know to draw them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from interp.results.errors import BadInput

Latents = Mapping[str, Tensor]
Labels = Literal["real", "sign"]


@dataclass(frozen=True, eq=False)
class Episodes:
    """Prompts of n points each. What is predicted at x_k may use the k examples before it, k = 0 .. n - 1.

    `xs` [batch, n, d] and `ys` [batch, n] (numbers, or -1 and +1; [batch, n, d] for a dynamical system, whose y_k is
    x_k+1). `latents` hold the function of each prompt, [batch, ...] under names of its class. Where `queries` [batch,
    n, d] are given, the point that is asked behind the first k examples is queries_k and not x_k, and its answer
    `answers` [batch, n].
    """

    xs: Float[Tensor, "batch n d"]
    ys: Float[Tensor, "batch n"]
    latents: Latents
    queries: Tensor | None = None
    answers: Tensor | None = None

    @property
    def targets(self) -> Tensor:
        """What a prediction at every k is compared with, [batch, n]."""
        return self.ys if self.answers is None else self.answers

    def __len__(self) -> int:
        return len(self.xs)


@runtime_checkable
class FunctionTask(Protocol):
    """A distribution over functions and over the points they are shown at.

    `labels` are "real" or "sign" (-1, +1). Squared errors are divided by `scale`, so that predicting 0 costs 1 on
    average. `bayes(xs, ys)` is the posterior mean of every y_k given the k examples before it, [batch, n], or None
    where it is not known (or too large to sum up).
    """

    @property
    def name(self) -> str: ...
    @property
    def d(self) -> int: ...
    @property
    def labels(self) -> Labels: ...
    @property
    def scale(self) -> float: ...
    def sample(self, batch: int, n: int, seed: int) -> Episodes: ...
    def bayes(self, xs: Tensor, ys: Tensor) -> Tensor | None: ...


class Drawn:
    """`sample` for a class that says how its latents and points are drawn and what its functions are.

    The class has `latents(batch, generator)`, `inputs(batch, n, latents, generator)`, `values(xs, latents)` without
    noise and, where there is some, `observed(values, generator)` with it.
    """

    labels: Labels = "real"
    scale: float = 1.0

    def sample(self, batch: int, n: int, seed: int) -> Episodes:
        """`batch` prompts of n points that depend on `seed` alone. Raises BadInput for sizes below 1."""
        check_counts(batch=batch, n=n)
        generator = torch.Generator().manual_seed(seed)
        latents = self.latents(batch, generator)
        xs = self.inputs(batch, n, latents, generator)
        return Episodes(xs, self.observed(self.values(xs, latents), generator), latents)

    def inputs(self, batch: int, n: int, latents: Latents, generator: Generator) -> Tensor:
        """Points x ~ N(0, I), [batch, n, d]."""
        return torch.randn(batch, n, self.d, generator=generator)

    def observed(self, values: Tensor, generator: Generator) -> Tensor:
        """Values as the prompt shows them: here without noise."""
        return values

    def bayes(self, xs: Tensor, ys: Tensor) -> Tensor | None:
        """Not known."""
        return None


def check_counts(**counts: int) -> None:
    """Raise BadInput for a count that is no whole number of at least 1."""
    for name, value in counts.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise BadInput(f"{name} is {value!r}; a whole number of at least 1 is needed")


def check_share(**shares: float) -> None:
    """Raise BadInput for a share outside [0, 1]."""
    for name, value in shares.items():
        if not 0 <= value <= 1:
            raise BadInput(f"{name} is {value!r}; a share from 0 to 1 is needed")


def signs(x: Tensor) -> Tensor:
    """-1 below 0 and at 0, +1 above."""
    return torch.where(x > 0, 1.0, -1.0)
