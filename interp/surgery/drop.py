"""Dropping the attention, MLPs or blocks that do least (He et al. 2024, What matters in transformers, 2406.15786; Men
et al. 2024, ShortGPT, 2403.03853; FuseGPT).

    cosine_l = mean over tokens of cos(x_l, x_l + branch_l(x_l))         x_l the stream that the branch is added to
    macro_l  = mean over tokens of cos(x_L, x_L without branch l)        x_L the stream behind the last block

What changes the stream least, there (`cosine`; of blocks 1 - block influence) or at the end (`macro`, 1 - macro
influence), is dropped. Attention and MLPs are ranked apart or together (the papers' joint drop), or whole blocks; one
shot, or one at a time with scores anew. Surprises: a high similarity says that a write is small beside the stream, not
that nothing depends on it; and streams grow with depth, so late branches look dispensable.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Literal, get_args

import torch
from torch import Tensor

from interp.depth.influence import macro_influences, mean_cosine
from interp.depth.rewired import without
from interp.hooks import Ablate
from interp.hooks.model import HookedModel, Inputs
from interp.results.errors import BadInput, RequiresResidualStream
from interp.surgery.report import Surgery, compared

Branches = Literal["attn", "mlp", "both", "block"]
Score = Literal["cosine", "centred", "macro"]
_ATTN, _MLP = ("hook_attn_out", "hook_mixer_out"), ("hook_mlp_out",)
_KINDS = {"attn": _ATTN, "mlp": _MLP, "both": _ATTN + _MLP}


def similarities(model: HookedModel, x: Inputs, branches: Branches = "both", by: Score = "cosine") -> dict[str, float]:
    """{what may be dropped: mean cosine between a stream with and without it}, best to drop first.

    Branches are named by the site of their write, blocks as `blocks.3`. `by`: the stream right behind the branch
    (`cosine`; `centred` after the tokens' mean was taken from both), or the last one (`macro`, one forward a
    branch). Mean over real tokens. Raises BadInput for branches or scores that are not known or not there,
    RequiresResidualStream for branches of a model with a block that does more than add to its stream.
    """
    if by not in get_args(Score):
        raise BadInput(f"by is {by!r}; choose among {', '.join(get_args(Score))}")
    pairs = droppable(model, branches)
    found = _at_the_end(model, x, branches, list(pairs)) if by == "macro" else {}
    if by != "macro":
        cache, real = model.read(x, list(dict.fromkeys(name for pair in pairs.values() for name in pair))), _real(x)
        for name, (start, end) in pairs.items():
            after = cache[end] if branches == "block" else cache[start] + cache[end]
            found[name] = mean_cosine(cache[start], after, real, by == "centred")
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def _at_the_end(model: HookedModel, x: Inputs, branches: Branches, names: list[str]) -> dict[str, float]:
    if branches == "block":
        return {name: 1 - value for name, value in macro_influences(model, x).items() if name in names}
    end = list(model.map.blocks.values())[-1].resid_post
    clean, found = model.read(x, end)[end], {}
    for name in names:
        with model.edit(Ablate(name)):
            found[name] = mean_cosine(clean, model.read(x, end)[end], _real(x))
    return found


def _real(x: Inputs) -> Tensor | None:
    return None if isinstance(x, torch.Tensor) else x.get("attention_mask")


def droppable(model: HookedModel, branches: Branches) -> dict[str, tuple[str, str]]:
    """{what may be dropped: (the stream before it, what it writes, or for a block the stream behind it)}, by depth.

    Raises as `similarities`.
    """
    if branches not in get_args(Branches):
        raise BadInput(f"branches is {branches!r}; choose among {', '.join(get_args(Branches))}")
    found = {}
    for block in model.map.blocks.values():
        plain = all(step.norm is None and step.keep == 1.0 for step in block.steps)
        if branches != "block" and (not block.steps or not plain):
            raise RequiresResidualStream(f"{block.prefix} of {model.name} does more with its stream than add to it, so "
                                         "a branch cannot be taken out of a sum")
        if block.steps and not any(step.writes for step in block.steps):
            continue  # taken out before
        if branches == "block":
            found[block.prefix] = (block.resid_pre, block.resid_post)
        else:
            found |= {name: (step.start, name) for step in block.steps for name in step.writes
                      if name.rpartition(".")[2] in _KINDS[branches]}
    if not found:
        raise BadInput(f"{model.name} has no branch that is {branches}")
    return found


def ranking(model: HookedModel, x: Inputs, n: int, branches: Branches = "both", by: Score = "cosine",
            iterative: bool = False) -> list[str]:
    """The `n` branches (or blocks) to drop first; `iterative` scores what is left anew after each.

    Raises as `similarities`, and BadInput for more than there are.
    """
    found = list(similarities(model, x, branches, by))
    if not 0 <= n <= len(found):
        raise BadInput(f"{n} branches are to be dropped; {model.name} has {len(found)} of that kind")
    if not iterative or n == 0:
        return found[:n]
    chosen = found[:1]
    while len(chosen) < n:
        left = similarities(without(model, chosen), x, branches, by)
        chosen.append(next(name for name in left if name not in chosen))
    return chosen


def drop(model: HookedModel, names: Sequence[str]) -> tuple[HookedModel, Surgery]:
    """The model without these branches (`blocks.3.hook_attn_out`) or blocks (`blocks.3`), and what went.

    Its modules are gone: nothing of them is computed or counted. The model itself stays as it was and shares its
    tensors with the new one. Depths keep their numbers. Raises BadInput as `interp.depth.rewired.without`.
    """
    cut = without(model, names)
    return cut, compared("drop", model, cut, tuple(dict.fromkeys(names)))


@contextmanager
def dropped(model: HookedModel, names: Sequence[str]) -> Iterator[HookedModel]:
    """The same for the length of a `with`, by holding the writes at zero: for single visits of a shared block too."""
    blocks = model.map.blocks
    writes = [write for name in names for write in (
        [w for step in blocks[name].steps for w in step.writes] if name in blocks else [name])]
    with model.edit(*(Ablate(write) for write in dict.fromkeys(writes))):
        yield model
