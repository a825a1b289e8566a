"""Families of iterative algorithms that the depths of a model are compared with, each with its variants.

A variant fixes what the algorithm does not say: step sizes. "Own bounds" takes them from each prompt's eigenvalues, so
that it follows the scale of the points; a fixed rate does not. Which variant stands for a family is decided on prompts
of the training distribution, by the model's own answers: every family is given its best chance before it is judged.

Surprise: a read-out fitted on answers does not say the iterate that the stream holds. Early iterates are too small, and
least squares stretches them. So iterates are stretched by the same least squares, c_j = sum y a_j / sum a_j^2 on
prompts of the training distribution, and then held as the read-outs are; a planted solver is found with it and not
without.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from interp.icl import baselines
from interp.icl.similarity import error_similarity
from interp.tasks.functions import FunctionTask

Iterates = Callable[[Tensor, Tensor, int], Tensor]
OWN = "own bounds"
CHOOSING = 300
"""Prompts on which variants are compared; scales are fitted on all that are given."""


@dataclass(frozen=True)
class Family:
    """`variants[name](xs, ys, last)` gives the iterates [0 .. last, batch, n]; `steps` are those that depths are
    compared with. `variant` and `scales` [step] are what `fitted` found; before, the first variant and 1."""

    name: str
    steps: tuple[int, ...]
    variants: dict[str, Iterates]
    variant: str = ""
    scales: tuple[float, ...] = ()

    def iterates(self, xs: Tensor, ys: Tensor) -> Float[Tensor, "step batch n"]:
        """The iterates of the fitted variant at `steps`, diverged ones as large numbers."""
        return self.at(self.steps, xs, ys)

    def at(self, numbers: Sequence[int], xs: Tensor, ys: Tensor) -> Float[Tensor, "step batch n"]:
        """The same after any numbers of steps."""
        every = self.variants[self.variant or next(iter(self.variants))](xs, ys, max(numbers))
        return _bounded(every[torch.tensor(numbers)])

    @property
    def scale(self) -> Float[Tensor, " step"]:
        """What a read-out stretches each iterate by."""
        return torch.tensor(self.scales or (1.0,) * len(self.steps), dtype=torch.float64)

    def __call__(self, xs: Tensor, ys: Tensor) -> Float[Tensor, "step batch n"]:
        """What read-outs say of the iterates: iterates times scales."""
        return self.iterates(xs, ys) * self.scale[:, None, None]

    def fitted(self, xs: Tensor, ys: Tensor, said: Float[Tensor, "depth batch n"]) -> "Family":
        """The family as read-outs see it: with the scale of every step, and the variant whose best steps are most like
        the answers `said` [depth, some first prompts, n] of all depths, by SimE."""
        few = slice(said.shape[1])
        tried = {}
        for name in self.variants:
            one = replace(self, variant=name)
            iterates = one.iterates(xs, ys)
            one = replace(one, scales=_scales(iterates, ys))  # by all prompts: variants differ by little
            shown = iterates[:, few] * one.scale[:, None, None]
            alike = error_similarity(said[:, None, :, 1:], shown[None, ..., 1:], ys[few, 1:])
            tried[float(alike.mean(-1).amax(1).mean())] = one
        return tried[max(tried)]


def _bounded(iterates: Tensor) -> Tensor:
    """Diverged ones as large numbers."""
    return iterates.double().nan_to_num(1e12, 1e12, -1e12).clamp(-1e12, 1e12)


def _scales(iterates: Tensor, ys: Tensor) -> tuple[float, ...]:
    """Least squares of the answers on each iterate."""
    size = iterates.square().sum((1, 2))
    found = torch.where(size > 0, (iterates * ys).sum((1, 2)) / size.clamp_min(1e-300), 1.0)
    return tuple(found.tolist())


def family(name: str, steps: tuple[int, ...], method: Callable[..., Tensor], *settings: dict[str, float]) -> Family:
    """A family of a baseline with `iterates=`: its own bounds, and fixed settings."""
    def iterates(**given: float) -> Iterates:
        return lambda xs, ys, last: method(xs, ys, last, iterates=True, **given)

    named = {", ".join(f"{key} {value:.3g}" for key, value in given.items()): iterates(**given) for given in settings}
    return Family(name, steps, {OWN: iterates()} | named)


def families_for(task: FunctionTask, n: int) -> list[Family]:
    """Gradient descent, GD++, heavy ball, Chebyshev, conjugate gradients and Newton, for prompts of n points of a class
    with points of variance 1."""
    rates = [share / n for share in (0.1, 0.2, 0.4, 0.8)]
    slow = (*range(13), 16, 20, 24, 32, 48, 64, 96, 128)
    return [
        family("gradient descent", slow, baselines.gradient_descent, *({"rate": r} for r in rates)),
        family("GD++", tuple(range(17)), baselines.gd_plus_plus, *({"rate": r} for r in rates)),
        family("heavy ball", slow[:-2], baselines.heavy_ball,
               *({"rate": r, "momentum": m} for r in rates for m in (0.5, 0.9))),
        family("Chebyshev", (*range(13), 16, 20, 24, 32), baselines.chebyshev),
        family("conjugate gradients", tuple(range(task.d + 2)), baselines.conjugate_gradient),
        family("Newton", tuple(range(17)), baselines.newton),
    ]
