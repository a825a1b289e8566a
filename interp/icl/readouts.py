"""What each depth of a model would answer: one linear read-out a depth, fitted in closed form.

    f_l(x_k) = h_l(x_k) r_l + c_l        the stream behind depth l at the token of x_k; r_l, c_l the same for all k

Fitted once, on prompts of the class the model was trained on (well-conditioned), and then held: on any other prompts
the read-outs only look. The last read-out is linear in the stream and so not the model, whose last norm divides.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from interp.hooks import HookedModel
from interp.icl.layout import concatenated, interleave
from interp.icl.models import ROWS
from interp.icl.ridge import Linear, fit_ridge
from interp.lens.stream import points
from interp.results.errors import BadInput
from interp.tasks.functions import FunctionTask

FIT_PROMPTS, FIT_SEED = 2000, 10_000
PER_WIDTH = 50
"""Rows that a fit has for every feature, at least."""


def tokens_of(model: HookedModel, xs: Tensor, ys: Tensor) -> Tensor:
    """The model's input for examples: interleaved for a width of d, concatenated for d + 1."""
    width = getattr(model.module, "d_input", None)
    if width not in (xs.shape[-1], xs.shape[-1] + 1):
        raise BadInput(f"{model.name} reads {'tokens' if width is None else f'{width} numbers'}; points of "
                       f"{xs.shape[-1]} need a model of d_input {xs.shape[-1]}, or one more for concatenated pairs")
    return (interleave if width == xs.shape[-1] else concatenated)(xs, ys).to(model.dtype)


def streams(model: HookedModel, xs: Tensor, ys: Tensor, sites: Sequence[str] | None = None
            ) -> list[Float[Tensor, "batch 2n d_model"]]:
    """The stream at every depth point 0 .. L (or at some sites) on prompts of examples."""
    sites = list(points(model) if sites is None else sites)
    parts = [[cache[s] for s in sites] for cache in
             (model.read(tokens_of(model, x, y), sites) for x, y in zip(xs.split(ROWS), ys.split(ROWS)))]
    return [torch.cat(some) for some in zip(*parts)]


@dataclass(frozen=True, eq=False)
class Readouts:
    """One read-out a depth point. Called on a model and prompts: predictions [depth, batch, n], float64."""

    maps: list[Linear]
    rows: int

    def __call__(self, model: HookedModel, xs: Tensor, ys: Tensor) -> Float[Tensor, "depth batch n"]:
        return self.of(streams(model, xs, ys))

    def of(self, found: Sequence[Tensor], first: int = 0) -> Float[Tensor, "depth batch n"]:
        """From streams at depth points `first` and above."""
        return torch.stack([read(h[:, ::2])[..., 0] for read, h in zip(self.maps[first:], found)])


def fit_readouts(
    model: HookedModel, task: FunctionTask, n: int, prompts: int = FIT_PROMPTS, seed: int = FIT_SEED,
    penalty: float = 1e-6,
) -> Readouts:
    """The read-outs of a model on `prompts` fresh prompts of n points of a class.

    Raises BadInput for fewer than 50 rows for every channel of the stream.
    """
    drawn = task.sample(prompts, n, seed)
    found = streams(model, drawn.xs, drawn.ys)
    rows, width = prompts * n, found[0].shape[-1]
    if rows < PER_WIDTH * width:
        raise BadInput(f"{prompts} prompts of {n} points are {rows} rows for {width} channels; give "
                       f"{-(-PER_WIDTH * width // n)} prompts at least")
    y = drawn.targets.flatten()[:, None]
    return Readouts([fit_ridge(h[:, ::2].flatten(0, 1), y, penalty) for h in found], rows)
