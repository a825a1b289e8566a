"""Dropping the attention, MLPs or blocks that do least (He et al. 2024, What matters in transformers, 2406.15786).

    similarity_l = mean over tokens of cos(x_l, x_l + branch_l(x_l))         x_l the stream that the branch is added to

The branches with the highest similarity change the stream least and are dropped: their writes are held at zero.
Attention and MLPs are ranked apart or together (the paper's joint drop), or whole blocks. Surprises: a high similarity
says that a write is small beside the stream, not that nothing depends on it; and streams grow with depth, so late
branches look dispensable.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Literal, get_args

import torch
from torch.nn import functional as F

from interp.hooks import Ablate
from interp.hooks.model import HookedModel, Inputs
from interp.results.errors import BadInput, RequiresResidualStream

Branches = Literal["attn", "mlp", "both", "block"]
_ATTN, _MLP = ("hook_attn_out", "hook_mixer_out"), ("hook_mlp_out",)
_KINDS = {"attn": _ATTN, "mlp": _MLP, "both": _ATTN + _MLP}


def similarities(model: HookedModel, x: Inputs, branches: Branches = "both") -> dict[str, float]:
    """{site of a branch's write: mean cosine between the stream before and behind its addition}, best to drop first.

    Of blocks: {`blocks.3`: the cosine over the whole block}. Mean over real tokens. Raises BadInput for branches that
    are not known or not there, RequiresResidualStream for a model with a block that does more than add to its stream.
    """
    pairs = _pairs(model, branches)
    cache = model.read(x, list(dict.fromkeys(name for pair in pairs.values() for name in pair)))
    real = x.get("attention_mask") if not isinstance(x, torch.Tensor) else None
    found = {}
    for name, (start, end) in pairs.items():
        after = cache[end] if branches == "block" else cache[start] + cache[end]
        cosine = F.cosine_similarity(cache[start], after, dim=-1)
        found[name] = float(cosine.mean() if real is None else cosine[real.bool()].mean())
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def _pairs(model: HookedModel, branches: Branches) -> dict[str, tuple[str, str]]:
    """{what may be dropped: (the stream before it, what it writes, or for a block the stream behind it)}."""
    if branches not in get_args(Branches):
        raise BadInput(f"branches is {branches!r}; choose among {', '.join(get_args(Branches))}")
    found = {}
    for block in model.map.blocks.values():
        plain = all(step.norm is None and step.keep == 1.0 for step in block.steps)
        if not block.steps or not plain:
            raise RequiresResidualStream(f"{block.prefix} of {model.name} does more with its stream than add to it, so "
                                         "a branch cannot be taken out of a sum")
        if branches == "block":
            found[block.prefix] = (block.resid_pre, block.resid_post)
        else:
            found |= {name: (step.start, name) for step in block.steps for name in step.writes
                      if name.rpartition(".")[2] in _KINDS[branches]}
    if not found:
        raise BadInput(f"{model.name} has no branch that is {branches}")
    return found


def ranking(model: HookedModel, x: Inputs, n: int, branches: Branches = "both") -> list[str]:
    """The `n` branches (or blocks) to drop first. Raises as `similarities`, and BadInput for more than there are."""
    found = list(similarities(model, x, branches))
    if not 0 <= n <= len(found):
        raise BadInput(f"{n} branches are to be dropped; {model.name} has {len(found)} of that kind")
    return found[:n]


@contextmanager
def dropped(model: HookedModel, names: Sequence[str]) -> Iterator[HookedModel]:
    """The model without these branches (`blocks.3.hook_attn_out`) or blocks (`blocks.3`) for the length of a `with`."""
    blocks = model.map.blocks
    writes = [write for name in names for write in (
        [w for step in blocks[name].steps for w in step.writes] if name in blocks else [name])]
    with model.edit(*(Ablate(write) for write in dict.fromkeys(writes))):
        yield model
