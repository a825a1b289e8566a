"""The runs that the laws of `check_model` compare: one model, one input, everything cached once."""

import contextlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from interp.hooks.cache import Cache

Finding = tuple[str, str, float, str]


def relative(new: Tensor, old: Tensor) -> float:
    """Largest absolute difference over the largest finite absolute value of `old`; equal infinities differ by 0."""
    if new.shape != old.shape:
        return math.inf
    new, old = new.detach().double(), old.detach().double()
    gap = torch.where(new == old, torch.zeros_like(old), (new - old).abs())
    size = torch.where(old.isfinite(), old.abs(), torch.zeros_like(old)).amax() if old.numel() else old.sum()
    worst = gap.amax() if gap.numel() else gap.sum()
    return float(torch.nan_to_num(worst, nan=torch.inf) / size.clamp(min=1e-30))


def attempt(compute: Callable[[], Tensor], old: Tensor) -> tuple[float, str]:
    """Error of a computed value, and a note; sites whose shapes do not even fit together are infinitely wrong."""
    try:
        return relative(compute(), old), ""
    except RuntimeError as error:
        return math.inf, f"shapes do not fit: {error}"


@dataclass
class Bench:
    """One model, one input, and the runs that several laws share."""

    model: Any
    x: Any
    seed: int = 0
    plain: Tensor = field(init=False)

    def __post_init__(self):
        self.plain = self.run()

    def chance(self):
        """A model with declared random sites draws the same numbers in every run; others are left alone."""
        if not self.model.map.random_sites:
            return contextlib.nullcontext()
        return seeded(self.seed)

    def run(self, handlers=(), open_roles=False, x=None) -> Tensor:
        """Main output with handlers set, without gradients."""
        with torch.no_grad(), self.chance(), self.model.firing(handlers, open_roles=open_roles):
            return self.model(self.x if x is None else x).clone()

    def read(self, x=None) -> tuple[Tensor, Cache]:
        with self.chance():
            return self.model.run_with_cache(self.x if x is None else x)

    @cached_property
    def cached(self) -> tuple[Tensor, Cache]:
        """Output and cache of a run with every default site cached."""
        return self.read()

    @property
    def cache(self) -> Cache:
        return self.cached[1]


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield
