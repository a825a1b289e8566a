"""Looped, recursive and routed models, visit by visit: do loops settle, what does each add, who takes how many.

    residual_t     mean over tokens of |z_{t+1} - z_t| / |z_t|              z_t the stream before visit t of a loop
    contraction_t  mean over tokens of |z_{t+1} - z_t| / |z_t - z_{t-1}|    below 1: steps shrink, towards a fixed point
    loss_t         the metric of the model's own head, read from the stream behind visit t

`with_loops` gives the same weights another number of visits, also more than were trained. Surprises: a norm behind the
sum keeps |z| fixed, so that residuals of post-norm loops (ALBERT) and pre-norm ones (whose stream grows) are not one
scale; and steps may shrink relative to a growing stream without the stream settling anywhere.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from interp.depth.rewired import shared_copy
from interp.hooks.model import HookedModel, Inputs
from interp.hooks.sitemap import Block
from interp.lens.head import Head
from interp.lens.stream import points, real_tokens, stream_blocks
from interp.parts.model import Model
from interp.parts.sitemap import site_map
from interp.results import plots
from interp.results.errors import BadInput, MissingSite

if TYPE_CHECKING:
    import plotly.graph_objects as go

Metric = Callable[[Tensor], Tensor]


def loops(model: HookedModel) -> dict[str, list[Block]]:
    """{module path of the first: visits in order} of the depths that share weights: whole blocks, or some of their
    parameters (branches, or maps but for a low-rank part of each visit's own).

    Raises BadInput for a model whose depths share nothing.
    """
    found: list[tuple[set[int], list[Block]]] = []
    for block in stream_blocks(model):
        mine = {id(p) for p in model.module.get_submodule(block.path).parameters()}
        shared = next((entry for entry in found if entry[0] & mine), None)
        if shared is None:
            found.append((mine, [block]))
        else:
            shared[0].update(mine)
            shared[1].append(block)
    several = {blocks[0].path: blocks for _, blocks in found if len(blocks) > 1}
    if not several:
        raise BadInput(f"no two depths of {model.name} share weights; loops are what models such as looped, mor, "
                       "algoformer or ALBERT have")
    return several


@dataclass(frozen=True, eq=False)
class Loops:
    """`table`: one row a visit: loop (module path), visit, depth, residual, contraction, cosine between the streams
    before and behind it, norm of the stream behind it, and metric where one was given. Means over real tokens."""

    table: pd.DataFrame
    unit: str
    model: str

    def frame(self) -> pd.DataFrame:
        """The table."""
        return self.table

    def figure(self) -> "go.Figure":
        """Residual and contraction by depth."""
        figure = None
        for measure in ("residual", "contraction"):
            rows = self.table[self.table[measure].notna()]
            figure = plots.curve_with_band(rows["depth"], rows[measure], name=measure, x_title="depth (visit)",
                                           y_title="ratio", title=f"{self.model}: does the loop settle?", figure=figure)
        return figure

    def save(self, run):
        """Table and figure into a run."""
        return run.save_views("loops", self)


def visits(model: HookedModel, x: Inputs, metric: Metric | None = None, unit: str = "loss") -> Loops:
    """What every visit of a looped block does on `x`; `metric` maps the model's output to [batch] numbers.

    Raises BadInput for a model without loops.
    """
    found = loops(model)
    names = points(model)
    if metric is None:
        cache = model.read(x, names)
    else:
        head = Head(model, x, keep=names)
        cache = head.kept
    real = real_tokens(model, x, cache[names[0]])
    depth_of = {block.prefix: depth for depth, block in enumerate(stream_blocks(model))}
    rows = []
    for path, blocks in found.items():
        before = None
        for visit, block in enumerate(blocks):
            depth = depth_of[block.prefix]
            z, after = (cache[name].float().cpu()[real] for name in names[depth: depth + 2])
            step = (after - z).norm(dim=-1)
            row = {"loop": path, "visit": visit, "depth": depth,
                   "residual": float((step / z.norm(dim=-1).clamp_min(1e-12)).mean()),
                   "contraction": np.nan if before is None else _ratio(step, before),
                   "cosine": float(nn.functional.cosine_similarity(z, after, dim=-1).mean()),
                   "norm": float(after.norm(dim=-1).mean())}
            if metric is not None:
                with torch.no_grad():
                    row[unit] = float(metric(head(cache[block.resid_post])).mean())
            rows.append(row)
            before = step
    return Loops(pd.DataFrame(rows), unit, model.name)


def _ratio(step: Tensor, before: Tensor) -> float:
    """Mean ratio over the tokens that moved before; a routed token that is out moves no more."""
    moved = before > 0
    return float((step[moved] / before[moved]).mean()) if moved.any() else np.nan


def with_loops(model: HookedModel, n: int) -> HookedModel:
    """The model with `n` visits of its loop, the same tensors: fewer than it was trained with, as many, or more.

    For models of parts whose blocks (all, or all but the first and last) are one, and for ALBERT. Raises BadInput for
    others: whose visits have weights of their own (relaxed-recursive, widenet) or a router over a fixed number (mor).
    """
    loops(model)
    if n < 1:
        raise BadInput(f"{n} loops were asked for; 1 at least is needed")
    copy = shared_copy(model)
    module = copy.module
    of_parts = isinstance(module, Model) and isinstance(module.spec.block, tuple)
    if of_parts and {"blocks", "middle"} & {*module.spec.tied}:
        module.spec = replace(module.spec, n_layers=n + 2 if "middle" in module.spec.tied else n)
        return HookedModel(module, site_map(module), name=model.name, tokenizer=model.tokenizer)
    config = getattr(module, "config", None)
    if getattr(config, "model_type", "") == "albert" and config.num_hidden_groups == 1:
        from interp.adapters.transformers import hook

        # the encoder reads the number in its own config, which is the module's
        for part in module.modules():
            if getattr(part, "config", None) is not None:
                part.config.num_hidden_layers = n
        return hook(module, name=model.name, tokenizer=model.tokenizer)
    raise BadInput(f"{model.name} cannot be given {n} loops: its visits have weights of their own, or a router that "
                   "chooses among the trained number of them")


def by_loops(model: HookedModel, x: Inputs, metric: Metric, counts: list[int]) -> pd.DataFrame:
    """The metric of the model's output with each number of loops: loops, value [mean over the batch], change (mean
    distance between the streams before and behind the last block, relative), trained (whether it is the model's own
    number). Raises as `with_loops`."""
    own = max(map(len, loops(model).values()))
    rows = []
    for n in counts:
        changed = with_loops(model, n)
        names = points(changed)[-2:]
        before, end = (changed.read(x, names)[name] for name in names)
        with torch.no_grad():
            value = float(metric(changed(x)).mean())
        change = ((end - before).norm(dim=-1) / before.norm(dim=-1).clamp_min(1e-12)).mean()
        rows.append({"loops": n, "value": value, "change": float(change), "trained": n == own})
    return pd.DataFrame(rows)


def recursion_depths(model: HookedModel, x: Inputs) -> pd.DataFrame:
    """How many tokens take how many visits of a routed model: visits, tokens, share.

    A token takes a visit where its router weight is not 0. Raises MissingSite for a model without such a router.
    """
    names = [f"{block.prefix}.router.hook_weight" for block in stream_blocks(model)]
    sites = [model.map.sites.get(name) for name in names]
    if len({block.path for block in stream_blocks(model)}) > 1 or not all(sites):
        raise MissingSite(f"{model.name} has no router that says of each token how often it is visited (router."
                          "hook_weight at every depth); mor and mor-expert have")
    cache = model.read(x, [points(model)[0], *names])
    real = real_tokens(model, x, cache[points(model)[0]])
    taken = torch.stack([cache[name][..., 0] != 0 for name in names]).sum(0)[real]
    counts = torch.bincount(taken, minlength=len(names) + 1)
    return pd.DataFrame({"visits": range(len(names) + 1), "tokens": counts.tolist(),
                         "share": (counts / counts.sum()).tolist()})
