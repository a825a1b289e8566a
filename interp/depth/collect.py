"""One pass over a model that leaves, for every token, what its depth profile is made of.

Per block and branch, with k what the stream keeps and c what is written beside it:

    norm = ||c||     relative = ||c|| / ||k||     cosine = cos(c, k)

A branch is measured where it is added (k: the stream it is added to, before any norm behind the sum), a block over all
its steps (k and c carried through them, norms at their own statistics), so pre-norm, post-norm, parallel, gated and
looped blocks are measured alike. Negative cosines erase, positive ones amplify, those near 0 write something new.

Paper: Csordas et al. 2025, "Do language models use their depth efficiently?", arXiv 2505.13898, section 3.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from interp.depth.engine import BUDGET, contribution_sites, parts_within, written
from interp.hooks import HookedModel
from interp.hooks.baselines import rows as input_rows
from interp.hooks.contributions import carry
from interp.hooks.sitemap import Block
from interp.lens.stream import points, real_tokens, stream_blocks
from interp.results.errors import RequiresResidualStream
from interp.results.progress import progress

STREAM, BLOCK = "stream", "block"
MEASURES = ("norm", "relative", "cosine")


@dataclass(frozen=True)
class Branch:
    """One branch of one block: the site of its write, what it is called in tables, its depth, and its step."""

    site: str
    kind: str
    depth: int
    step: Any


def branches(blocks: list[Block]) -> list[Branch]:
    """Every write of these blocks in order, depth counted from 0. Kinds are site kinds without their `hook_` and
    `_out`: attn, mlp, mixer, cross_attn ..."""
    return [
        Branch(write, _kind(write, block.prefix), depth, step)
        for depth, block in enumerate(blocks) for step in block.steps for write in step.writes
    ]


def _kind(write: str, prefix: str) -> str:
    return write[len(prefix) + 1 :].replace("hook_", "").removesuffix("_out")


@dataclass(frozen=True, eq=False)
class Collected:
    """`values[part][measure]` is [depth, batch, pos], NaN where a depth has no such branch.

    Parts: "stream" (norm, and `turn`, the cosine between a point and the next; depth points 0 to L), "block", and every
    kind of branch. Measures ending in "_centred" are of vectors without their mean over ordinary tokens. `real` [batch,
    pos].
    """

    values: dict[str, dict[str, Tensor]]
    real: Tensor


@torch.no_grad()
def collect(model: HookedModel, x: Any, budget: int = BUDGET) -> Collected:
    """Everything a profile reads, by one forward of `x`, or two where `budget` bytes do not hold it at once (means,
    which centring needs, then come first).

    Raises RequiresResidualStream for a model without equations, or whose depths differ in their positions.
    """
    blocks = stream_blocks(model)
    names = _sites(model, blocks)
    held = len(points(model)) + 2 * len(branches(blocks))
    slices = parts_within(model, x, held, budget)
    if len(slices) == 1:
        cache = model.read(x, names)
        means = _Means()
        means.add(model, x, blocks, cache)
        return _measured(model, x, blocks, cache, means.values())
    means = _Means()
    for cache, part in _caches(model, x, names, slices, "means"):
        means.add(model, part, blocks, cache)
    found = [_measured(model, part, blocks, cache, means.values())
             for cache, part in _caches(model, x, names, slices, "profile")]
    parts = found[0].values
    joined = {part: {m: torch.cat([f.values[part][m] for f in found], 1) for m in parts[part]} for part in parts}
    return Collected(joined, torch.cat([f.real for f in found]))


def _sites(model: HookedModel, blocks: list[Block]) -> list[str]:
    starts = [step.start for block in blocks for step in block.steps]
    return list(dict.fromkeys([*points(model), *starts, *contribution_sites(model, blocks)]))


def _caches(model, x, names, slices, label) -> Iterator[tuple[Mapping[str, Tensor], Any]]:
    for index in progress(slices, label):
        part = input_rows(x, index)
        yield model.read(part, names), part


def _pairs(model, blocks, cache) -> Iterator[tuple[str, int, Tensor, Tensor]]:
    """(part, depth, c, k) of every block and branch."""
    for depth, block in enumerate(blocks):
        stream, _, index = block.prefix.rpartition("blocks.")
        kept = carry(model, cache, int(index), cache[block.resid_pre], stream.rstrip(".") or None)
        yield BLOCK, depth, written(model, cache, block), kept
    for branch in branches(blocks):
        yield branch.kind, branch.depth, cache[branch.site], branch.step.carried(cache, cache[branch.step.start])


def _real(model, x, cache) -> Tensor:
    values = [cache[name] for name in points(model)]
    if len({value.shape[:2] for value in values}) > 1 or values[0].dim() != 3:
        raise RequiresResidualStream(f"the depths of {model.name} have positions "
                                     f"{sorted({tuple(value.shape[:-1]) for value in values})}; one profile needs the "
                                     "same [batch, pos] at all of them")
    return real_tokens(model, x, values[0])


class _Means:
    """Mean c and k over ordinary tokens: those no longer than four times the median of their stream."""

    def __init__(self) -> None:
        self.sums: dict[tuple[str, int], list] = {}

    def add(self, model, x, blocks, cache) -> None:
        """Count the tokens of one part of the prompts."""
        real = _real(model, x, cache)
        for part, depth, c, k in _pairs(model, blocks, cache):
            length = k.float().norm(dim=-1)
            ordinary = real & (length <= 4 * length[real].median())
            entry = self.sums.setdefault((part, depth), [0, 0, 0])
            for i, value in enumerate((c.float()[ordinary].sum(0), k.float()[ordinary].sum(0), int(ordinary.sum()))):
                entry[i] = entry[i] + value

    def values(self) -> dict[tuple[str, int], tuple[Tensor, Tensor]]:
        """{(part, depth): (mean c, mean k)}, each [d_model]."""
        return {key: (c / n, k / n) for key, (c, k, n) in self.sums.items()}


def _measured(model, x, blocks, cache, means) -> Collected:
    real = _real(model, x, cache)
    values: dict[str, dict[str, Tensor]] = {STREAM: _stream(model, cache)}
    for part, depth, c, k in _pairs(model, blocks, cache):
        own = values.setdefault(part, {})
        mean_c, mean_k = means[part, depth]
        for suffix, a, b in (("", c.float(), k.float()), ("_centred", c.float() - mean_c, k.float() - mean_k)):
            for measure, value in zip(MEASURES, _measures(a, b), strict=True):
                table = own.setdefault(measure + suffix, torch.full((len(blocks), *real.shape), torch.nan))
                if not table[depth].isnan().all():  # two branches of one kind in one block: the first has the name
                    raise RequiresResidualStream(f"block {depth} of {model.name} writes {part} twice")
                table[depth] = value.cpu()
    return Collected(values, real)


def _measures(c: Tensor, k: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    norm, kept = c.norm(dim=-1), k.norm(dim=-1).clamp(min=1e-6)
    return norm, norm / kept, (c * k).sum(-1) / (norm * kept).clamp(min=1e-12)


def _stream(model, cache) -> dict[str, Tensor]:
    values = [cache[name].float() for name in points(model)]
    turn = [F.cosine_similarity(a, b, dim=-1) for a, b in zip(values, values[1:])]
    return {"norm": torch.stack([value.norm(dim=-1) for value in values]).cpu(),
            "turn": torch.stack([*turn, torch.full_like(turn[0], torch.nan)]).cpu()}
