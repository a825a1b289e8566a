"""`Recipe`: how one small model of the garden is made: architecture, data from a seed, schedule, metrics."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from jaxtyping import Float, Int
from torch import Generator, Tensor

from interp.hooks.model import HookedModel

IGNORE = -100


@dataclass(frozen=True)
class Batch:
    """Token ids [batch, pos] and what each position should predict [batch, pos], `IGNORE` where nothing; or pixels
    [batch, channels, side, side] and the class of each image [batch]."""

    tokens: Int[Tensor, "batch pos"] | Float[Tensor, "batch channels side side"]
    targets: Int[Tensor, "batch pos"] | Int[Tensor, " batch"]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A model of the garden. `data(rows, generator)` draws a training batch; `metrics(model)` measures on held-out
    data that depends on nothing but the recipe, `baseline()` what something simpler reaches there; `about` says what
    the model does and what its tokens are. A model that is not trained on the next token of `data` brings its own
    `fit(model, seed=, steps=, folder=)`; one that learns in context names its `task`, a class of functions.
    """

    name: str
    about: str
    architecture: str
    sizes: dict[str, int | None]
    steps: int
    batch: int
    rate: float
    metrics: Callable[[HookedModel], dict[str, Any]]
    data: Callable[[int, Generator], Batch] | None = None
    fit: Callable[..., HookedModel] | None = None
    task: str | None = None
    weight_decay: float = 0.01
    warmup: int = 100
    baseline: Callable[[], dict[str, Any]] | None = None
    tokenizer: Callable[[], Any] | None = None
