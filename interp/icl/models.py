"""Models that read examples: any sequence architecture of the catalog, built for a class of functions."""

import torch
from torch import Tensor

from interp.architectures.catalog import build as build_named
from interp.architectures.catalog import catalog
from interp.architectures.catalog import entry as entry_of
from interp.hooks.model import HookedModel
from interp.icl.layout import concatenated, interleave
from interp.results.errors import BadInput
from interp.tasks.functions import FunctionTask

ROWS = 512  # prompts in one forward


def build(architecture: str, task: FunctionTask, *, n: int, seed: int = 0, **sizes: int | None) -> HookedModel:
    """A model of the catalog with random weights that reads prompts of n points of `task` and says one number a token
    (of a dynamical system: d numbers).

    Raises BadInput for an architecture that does not read numbers, or is not causal: it would see the answers.
    """
    found = entry_of(architecture)
    if "d_input" not in found.sizes:
        there = ", ".join(e.name for e in catalog() if "d_input" in e.sizes)
        raise BadInput(f"{architecture} does not read numbers. These do: {there}")
    system = is_system(task)
    own = {"n_ctx": n if system else 2 * n} if "n_ctx" in found.sizes else {}
    model = build_named(architecture, seed=seed, d_input=task.d, d_output=task.d if system else 1, **own | sizes)
    if not model.map.causal:
        raise BadInput(f"{architecture} is not causal: at x_k it would see y_k")
    return model


def is_system(task: FunctionTask) -> bool:
    """Whether the points of a class make one another, so that tokens are points alone."""
    return hasattr(task, "memory")


def outputs(model: HookedModel, xs: Tensor, ys: Tensor) -> Tensor:
    """What the model says at every x_k, [batch, n], with gradients; of a dynamical system [batch, n, d].

    A model as wide as d reads the interleaved layout, one of width d + 1 the concatenated one.
    """
    if ys.dim() == 3:
        return model(xs)
    width = getattr(model.module, "d_input", None)
    if width not in (xs.shape[-1], xs.shape[-1] + 1):
        raise BadInput(f"{model.name} reads {'tokens' if width is None else f'{width} numbers'}; points of "
                       f"{xs.shape[-1]} need a model of d_input {xs.shape[-1]} (or one more, for concatenated pairs)")
    tokens = (interleave if width == xs.shape[-1] else concatenated)(xs, ys)
    return model(tokens.to(model.dtype))[:, ::2, 0]


@torch.no_grad()
def predict(model: HookedModel, xs: Tensor, ys: Tensor) -> Tensor:
    """The prediction at every x_k from the k examples before it, [batch, n]; for labels -1 and +1 log-odds of +1."""
    return torch.cat([outputs(model, x, y) for x, y in zip(xs.split(ROWS), ys.split(ROWS), strict=True)])
