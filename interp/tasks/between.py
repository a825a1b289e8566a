"""How far an output is from that of another input: a task for any architecture of the catalog, trained or not.

    m(x) = <out(x) - (a + b) / 2, a - b> / (|a - b|^2 / 2)       a: output of the clean prompt, b: of the corrupt one

1 at the clean prompt's own output, -1 at the corrupt one's. It asks nothing of a model but that two inputs give two
outputs, so it suits models that no task was written for (series, graphs, images of any size). What it finds is where
the difference between two inputs passes, not what the model is good at.

Surprise: in an untrained iTransformer nearly the whole way (1.99 of 2) is the mean of the series, put back at the end.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from interp.results.errors import BadInput
from interp.tasks.metrics import PerPrompt
from interp.tasks.splits import check_size, split_by_cluster
from interp.tasks.task import Task


@dataclass(frozen=True, eq=False)
class Way(PerPrompt):
    """Where an output lies on the line from `other` (-1) to `own` (1), both outputs [batch, ...]. Right: above zero."""

    own: Float[Tensor, "batch ..."]
    other: Float[Tensor, "batch ..."]
    unit: ClassVar[str] = "half the way between the two outputs"
    bounds: ClassVar[tuple[float, float]] = (float("-inf"), float("inf"))

    def __call__(self, output: Float[Tensor, "batch ..."]) -> Float[Tensor, " batch"]:
        """The metric of every prompt. Raises BadInput for an output of another shape."""
        if output.shape != self.own.shape:
            raise BadInput(f"this metric is for outputs of shape {list(self.own.shape)}, not {list(output.shape)}")
        own, other = (side.to(output).flatten(1) for side in (self.own, self.other))
        line = own - other
        return ((output.flatten(1) - (own + other) / 2) * line).sum(1) / (line.square().sum(1) / 2)

    def accuracy(self, output: Float[Tensor, "batch ..."]) -> Float[Tensor, " batch"]:
        """1 where the output is nearer to its own than to the other, else 0."""
        return (self(output) > 0).to(output.dtype)


def between(model: Any = None, n: int = 48, seed: int = 0) -> Task:
    """Which of two random inputs a model was given: how far its output is from that of the other one.

    Inputs are the random examples of the model's own entry in the catalog (tokens, images, walks, graphs), paired two
    by two; every pair is a cluster. Raises BadInput for a model that is not of the catalog, and for one that gives a
    pair of inputs the same output.
    """
    recipe = getattr(model, "recipe", None) or {}
    if recipe.get("source") != "catalog":
        raise BadInput("task 'between' draws random inputs as the catalog does, for models that interp.build made"
                       + (f"; {model.name} is none" if model is not None else "; give model=..."))
    from interp.architectures.catalog import entry

    check_size("between", n)
    drawn = entry(recipe["name"]).example(model, batch=2 * n, seed=seed)
    clean, corrupt = drawn[:n], drawn[n:]
    with torch.no_grad():
        own, other = model(clean), model(corrupt)
    if torch.equal(own, other) or not (own - other).flatten(1).any(1).all():
        raise BadInput(f"{model.name} gives two of these inputs the same output, so there is nothing between them")
    prompts = pd.DataFrame({"clean": [f"input {i}" for i in range(n)], "corrupt": [f"input {n + i}" for i in range(n)]})
    clusters = np.arange(n)
    split = split_by_cluster(clusters, np.random.default_rng(seed))
    return Task("between", clean, corrupt, Way(own, other), prompts, clusters, split)
