"""A model whose groups of depths share one block each: what a block-recurrent surrogate is before it is fitted."""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace
from typing import Literal, get_args

import torch
from torch import nn

from interp.depth.rewired import put, shared_copy
from interp.hooks.model import HookedModel
from interp.hooks.sitemap import Block, NormRef, SiteMap
from interp.lens.stream import stream_blocks
from interp.results.errors import BadInput

Start = Literal["first", "middle", "average"]


class Again(nn.Module):
    """One more visit of a block that lives elsewhere, and whose parameters are counted there."""

    def __init__(self, block: nn.Module):
        super().__init__()
        self._block = [block]

    def forward(self, *args, **kwargs):
        return self._block[0](*args, **kwargs)


def tied(model: HookedModel, segments: Sequence[Sequence[int]], start: Start = "middle") -> HookedModel:
    """`model` with one block for all depths of a segment, its weights new tensors; the rest is shared with `model`.

    Every depth is in one segment; segments need not be contiguous, depths run in their order. A segment's block starts
    as that of its `first` or `middle` depth, or as the `average` of all. Where blocks of a segment are equal the model
    computes what it did. Raises BadInput for segments that leave a depth out or name one twice, for blocks that differ
    in their shapes, and for a model that shares its blocks already.
    """
    blocks = stream_blocks(model)
    if sorted(d for part in segments for d in part) != list(range(len(blocks))) or not all(segments):
        raise BadInput(f"segments {[list(part) for part in segments]} do not name each of the {len(blocks)} depths of "
                       f"{model.name} once")
    if start not in get_args(Start):
        raise BadInput(f"start is {start!r}; choose among {', '.join(get_args(Start))}")
    if len({b.path for b in blocks}) < len(blocks) or any(site.visit for site, _ in model.map.sites.values()):
        raise BadInput(f"{model.name} visits its blocks more than once already, so that its depths cannot be tied anew")
    copy = shared_copy(model)
    for part in map(sorted, segments):
        group = [blocks[d] for d in part]
        put(copy, group[0].path, _block_of(model, group, start))
        first = copy.module.get_submodule(group[0].path)
        for visit, block in enumerate(group[1:], 1):
            put(copy, block.path, Again(first))
            _revisit(copy.map, block, group[0], visit)
    return copy


def _block_of(model: HookedModel, group: list[Block], start: Start) -> nn.Module:
    modules = [model.module.get_submodule(b.path) for b in group]
    states = [module.state_dict() for module in modules]
    shapes = [{key: tuple(v.shape) for key, v in state.items()} for state in states]
    if any(s != shapes[0] for s in shapes):
        raise BadInput(f"the blocks {', '.join(b.prefix for b in group)} of {model.name} differ in their shapes, so "
                       "that one cannot stand for all")
    # the middle of an even number is the earlier one
    block = deepcopy(modules[{"first": 0, "middle": (len(group) - 1) // 2, "average": 0}[start]])
    if start == "average":
        block.load_state_dict({key: torch.stack([s[key].double() for s in states]).mean(0).to(states[0][key])
                               for key in states[0]})
    return block.requires_grad_(True)


def _revisit(m: SiteMap, block: Block, home: Block, visit: int) -> None:
    """Say on the map that a block is a later visit of another block's module."""
    def path(p: str) -> str:
        return home.path + p[len(block.path):] if p == block.path or p.startswith(f"{block.path}.") else p

    def norm(ref: NormRef | None) -> NormRef | None:
        return ref and replace(ref, path=path(ref.path))

    for name, (site, tap) in list(m.sites.items()):
        if path(tap.path) != tap.path:
            m.sites[name] = (replace(site, module=path(tap.path), visit=visit), replace(tap, path=path(tap.path)))
    steps = tuple(replace(step, norm=norm(step.norm)) for step in block.steps)
    m.blocks[block.prefix] = replace(block, path=home.path, visit=visit, steps=steps)
    for table in (m.roles, m.unused_parameters):
        for p in [p for p in table if path(p) != p]:
            del table[p]
