"""Baselines: what an activation is replaced by when a source is taken away.

"zero", a mapping of tensors, `Mean`, `Counterfactual` or `Resample`. The mean of ablations is not the ablation with the
mean, so `Resample` gives several draws whose *effects* are averaged.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from interp.hooks.index import Lengths
from interp.hooks.site import Site
from interp.results.errors import BadInput

CHUNK = 32


@dataclass(frozen=True, eq=False)
class Mean:
    """Mean activation over `over`: one per position (aligned prompts), or one for all real positions."""

    over: Any
    per: Literal["position", "all"] = "position"


@dataclass(frozen=True, eq=False)
class Counterfactual:
    """The activations of other inputs, row for row: activation patching from `inputs`."""

    inputs: Any


@dataclass(frozen=True, eq=False)
class Resample:
    """Activations of randomly drawn rows of `inputs`; `draws` independent assignments, seeded."""

    inputs: Any
    draws: int = 8
    seed: int = 0


Baseline = Literal["zero"] | Mapping[str, Tensor] | Mean | Counterfactual | Resample


def rows(x: Any, index: slice | Tensor) -> Any:
    """Rows of an input, tensor or mapping."""
    if isinstance(x, Tensor):
        return x[index]
    return {k: v[index] if isinstance(v, Tensor) and v.dim() else v for k, v in x.items()}


def resolve(model, sites: Sequence[Site], baseline: Baseline, x: Any = None) -> list[dict[str, Tensor]]:
    """Replacement tensors per draw: {site: tensor that broadcasts to the site of a run on `x`}.

    One entry but for `Resample`. Raises BadInput for an unknown baseline, a missing site or a wrong batch.
    """
    names = [site.name for site in sites]
    if isinstance(baseline, str):
        if baseline != "zero":
            raise BadInput(f'baseline {baseline!r} is unknown; give "zero", a mapping of tensors, Mean(over=...), '
                           "Counterfactual(inputs) or Resample(inputs)")
        return [{name: torch.zeros((), dtype=model.dtype, device=model.device) for name in names}]
    if isinstance(baseline, Mapping):
        missing = [name for name in names if name not in baseline]
        if missing:
            raise BadInput(f"the baseline has no tensor for {missing[0]!r}")
        return [{name: baseline[name] for name in names}]
    if isinstance(baseline, Mean):
        mean = _mean(model, sites, baseline)
        batch = 1 if x is None else model.batch_of(x)[0]
        return [{n: v.repeat(batch, *[1] * (v.dim() - 1)) if v.shape[0] > 1 else v for n, v in mean.items()}]
    if isinstance(baseline, Counterfactual):
        if x is not None and model.batch_of(baseline.inputs) != model.batch_of(x):
            raise BadInput(f"clean and counterfactual inputs differ in shape: {model.batch_of(x)} and "
                           f"{model.batch_of(baseline.inputs)} (batch, tokens); align them token by token")
        return [dict(_read(model, baseline.inputs, names))]
    if isinstance(baseline, Resample):
        if x is None:
            raise BadInput("Resample needs to know the batch it replaces; use Counterfactual for a fixed one")
        pool = dict(_read(model, baseline.inputs, names))
        generator = torch.Generator().manual_seed(baseline.seed)
        size, batch = model.batch_of(baseline.inputs)[0], model.batch_of(x)[0]
        picks = [torch.randint(size, (batch,), generator=generator) for _ in range(baseline.draws)]
        return [{name: _pick(value, pick, size) for name, value in pool.items()} for pick in picks]
    raise BadInput(f"{type(baseline).__name__} is no baseline")


def _read(model, x: Any, names: list[str]) -> dict[str, Tensor]:
    """Activations of all rows, run in chunks; sites without a batch axis are kept once."""
    batch = model.batch_of(x)[0]
    parts = [model.read(rows(x, slice(i, i + CHUNK)), names) for i in range(0, batch, CHUNK)]
    joined = {}
    for name in names:
        pieces = [part[name] for part in parts]
        joined[name] = torch.cat(pieces) if pieces[0].shape[0] > 1 or batch == len(pieces) else pieces[0]
    return joined


def _by_prompt(value: Tensor, batch: int) -> Tensor:
    """A row a prompt, [batch, rows of one, ...]: windows of an image are its rows; one shared row stays one."""
    count = batch if value.shape[0] % batch == 0 else 1
    return value.reshape(count, value.shape[0] // count, *value.shape[1:])


def _pick(value: Tensor, pick: Tensor, batch: int) -> Tensor:
    """The rows of the picked prompts; a value that all prompts share stays as it is."""
    rows = _by_prompt(value, batch)
    return value if len(rows) != batch else rows[pick].flatten(0, 1)


def _mean(model, sites: Sequence[Site], baseline: Mean) -> dict[str, Tensor]:
    batch = model.batch_of(baseline.over)[0]
    sums: dict[str, Tensor] = {}
    weights: dict[str, Tensor] = {}
    for i in range(0, batch, CHUNK):
        part = rows(baseline.over, slice(i, i + CHUNK))
        cache, lengths = model.read(part, [s.name for s in sites]), model.lengths(part)
        for site in sites:
            value, weight = cache[site.name], _weight(site, cache[site.name], lengths)
            n = len(_by_prompt(value, len(lengths.first)))
            axes = [0] if baseline.per == "position" else [0, 1]  # each window of an image is a place, as a position is
            if baseline.per == "all" and site.pos_axis is not None:
                axes.append(site.pos_axis + 1)
            total, count = (
                t.reshape(n, -1, *t.shape[1:]).sum(axes, keepdim=True).flatten(0, 1) for t in (value * weight, weight)
            )
            sums[site.name] = sums.get(site.name, 0) + total
            weights[site.name] = weights.get(site.name, 0) + count
    return {name: sums[name] / weights[name].clamp(min=1) for name in sums}


def _weight(site: Site, value: Tensor, lengths: Lengths) -> Tensor:
    """1 at real tokens, 0 at padding, with as many axes as the value."""
    shape = [1] * value.dim()
    shape[0] = value.shape[0]
    if site.pos_axis is None or len(lengths.first) != value.shape[0]:
        return torch.ones(shape, dtype=value.dtype, device=value.device)
    lengths = lengths.along(site, value)
    width = shape[site.pos_axis] = value.shape[site.pos_axis]
    place = torch.arange(width)[None]
    real = (place >= lengths.first[:, None]) & (place < lengths.stop[:, None])
    return real.reshape(shape).to(value)
