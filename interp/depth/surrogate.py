"""Block-recurrent surrogates: a trained model's depths redone by fewer blocks, each visited several times (Raptor).

    loss = tf * mean over depths of |B(h_d) - h_{d+1}|^2 / var_{d+1}  +  (1 - tf) * the same for the model's own rollout

tf falls from 1 to 0 over the first quarter of the steps (the paper's first stage); only the tied blocks learn. If depth
is a few blocks repeated, segments along the phases should be fitted better than the same number of blocks at depths
drawn at random. Deviations: no depth scale and no other block (the paper's blocks have both), so that only which depths
share a block differs between two surrogates; the variance of each depth weighs it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from interp.depth.rewired import parameter_count
from interp.depth.tied import Start, tied
from interp.hooks import Patch
from interp.hooks.model import HookedModel, Inputs
from interp.lens.stream import stream_blocks
from interp.results import plots

if TYPE_CHECKING:
    import plotly.graph_objects as go

TEACHING = 0.25


@dataclass(frozen=True, eq=False)
class Surrogate:
    """How well tied blocks redo a model, on inputs that they were not fitted on.

    `r2` [L]: 1 - squared error / variance of the stream behind every depth, the surrogate running on its own;
    `r2_taught` [L] with the model's stream as every block's input; `history` the training loss of every step.
    """

    segments: list[list[int]]
    r2: np.ndarray
    r2_taught: np.ndarray
    parameters: int
    parameters_before: int
    history: np.ndarray
    model: str

    def frame(self) -> pd.DataFrame:
        """One row a depth."""
        label = {d: i for i, part in enumerate(self.segments) for d in part}
        frame = pd.DataFrame({"depth": range(len(self.r2)), "block": [label[d] for d in range(len(self.r2))],
                              "r2": self.r2, "r2_taught": self.r2_taught})
        frame.attrs |= {"model": self.model, "parameters": self.parameters,
                        "parameters_before": self.parameters_before}
        return frame

    def figure(self) -> "go.Figure":
        """Both curves by depth."""
        depths = list(range(len(self.r2)))
        figure = plots.curve_with_band(depths, self.r2, name="on its own", x_title="depth", y_title="R2",
                                       title=f"{self.model} by {len(self.segments)} blocks")
        return plots.curve_with_band(depths, self.r2_taught, name="one step", figure=figure)

    def save(self, run):
        """Table and figure into a run."""
        return run.save_views("surrogate", self)


def fit_surrogate(model: HookedModel, segments: Sequence[Sequence[int]], x: Inputs, held_out: Inputs, *,
                  steps: int = 300, batch: int = 64, rate: float = 1e-3, seed: int = 0,
                  start: Start = "middle") -> tuple[HookedModel, Surrogate]:
    """The model with one block a segment, fitted to its streams on `x`, and its fidelity on `held_out`.

    Adam with a cosine to 0, gradients clipped at 1. `model` stays as it was. Raises as `tied`.
    """
    surrogate = tied(model, segments, start)
    blocks = stream_blocks(model)
    pre, post = [b.resid_pre for b in blocks], [b.resid_post for b in blocks]
    target = model.read(x, list(dict.fromkeys([*pre, *post])))
    scale = {name: _variance(target[name]) for name in post}
    own = {id(p): p for b in stream_blocks(surrogate) for p in surrogate.module.get_submodule(b.path).parameters()}
    optimiser = torch.optim.Adam(own.values(), lr=rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, max(steps, 1))
    generator = torch.Generator().manual_seed(seed)
    history = []
    for step in range(steps):
        rows = torch.randint(0, len(target[post[0]]), (batch,), generator=generator)
        taught = max(0.0, 1 - step / max(1.0, TEACHING * steps))
        here = {name: value[rows] for name, value in target.items()}
        losses = [weight * _loss(surrogate, _take(x, rows), here, pre, post, scale, alone)
                  for weight, alone in ((taught, False), (1 - taught, True)) if weight]
        loss = sum(losses)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(own.values(), 1.0)
        optimiser.step()
        schedule.step()
        history.append(float(loss.detach()))
    r2, taught = fidelity(model, surrogate, held_out)
    return surrogate, Surrogate([sorted(part) for part in segments], r2, taught, parameter_count(surrogate),
                                parameter_count(model), np.array(history), model.name)


def fidelity(model: HookedModel, surrogate: HookedModel, x: Inputs) -> tuple[np.ndarray, np.ndarray]:
    """(R2 of every depth's stream with the surrogate on its own [L], with the model's stream as every input [L])."""
    blocks = stream_blocks(model)
    pre, post = [b.resid_pre for b in blocks], [b.resid_post for b in blocks]
    target = model.read(x, list(dict.fromkeys([*pre, *post])))
    alone = surrogate.read(x, post)
    with surrogate.edit(*(Patch(name, target[name]) for name in pre)):
        taught = surrogate.read(x, post)
    return tuple(np.array([1 - float(_error(cache[n], target[n]) / _variance(target[n])) for n in post])
                 for cache in (alone, taught))


def _loss(surrogate: HookedModel, x: Inputs, target: Mapping[str, Tensor], pre: list[str], post: list[str],
          scale: Mapping[str, Tensor], alone: bool) -> Tensor:
    with surrogate.edit(*(() if alone else (Patch(name, target[name]) for name in pre))):
        cache = surrogate.run_with_cache(x, post, grad=True)[1]
    return sum(_error(cache[name], target[name]) / scale[name] for name in post) / len(post)


def _error(a: Tensor, b: Tensor) -> Tensor:
    return (a - b).pow(2).sum(-1).mean()


def _variance(value: Tensor) -> Tensor:
    return (value - value.flatten(0, -2).mean(0)).pow(2).sum(-1).mean()


def _take(x: Inputs, rows: Tensor) -> Inputs:
    return x[rows] if isinstance(x, Tensor) else {key: v[rows] if isinstance(v, Tensor) else v for key, v in x.items()}
