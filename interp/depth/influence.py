"""What a block changes: block influence (Men et al. 2024, ShortGPT, 2403.03853) and macro influence (FuseGPT).

    block influence  BI_l = 1 - mean over tokens of cos(h_l, h_{l+1})             what the block does to its own stream
    macro influence  MI_l = 1 - mean over tokens of cos(h_L, h_L without block l) what is left of that at the end

Both are 0 for a block that only scales its stream, and at the last block they are the same number. Surprise: a mean
that all tokens share makes every cosine near 1; `centred` takes it away first.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from interp.hooks import Patch
from interp.hooks.model import HookedModel, Inputs
from interp.lens.stream import stream_blocks


def mean_cosine(a: Tensor, b: Tensor, real: Tensor | None = None, centred: bool = False) -> float:
    """Mean over tokens of the cosine between a and b [..., d_model]; of `real` tokens (mask [...]) where it is given.

    `centred`: after the mean over those tokens was taken from each.
    """
    a, b = (v.float().flatten(0, -2) if real is None else v.float()[real.bool()] for v in (a, b))
    if centred:
        a, b = a - a.mean(0), b - b.mean(0)
    return float(F.cosine_similarity(a, b, dim=-1).mean())


def block_influence(resid_pre: Tensor, resid_post: Tensor, real: Tensor | None = None, *,
                    centred: bool = False) -> float:
    """1 - mean cosine of what enters and what leaves a block, [..., d_model] each."""
    return 1.0 - mean_cosine(resid_pre, resid_post, real, centred)


def block_influences(model: HookedModel, x: Inputs, *, centred: bool = False) -> dict[str, float]:
    """{block: its influence}, in order of depth; one forward."""
    blocks = stream_blocks(model)
    cache = model.read(x, list(dict.fromkeys(s for b in blocks for s in (b.resid_pre, b.resid_post))))
    real = _real(x)
    return {b.prefix: block_influence(cache[b.resid_pre], cache[b.resid_post], real, centred=centred) for b in blocks}


def macro_influences(model: HookedModel, x: Inputs, *, centred: bool = False) -> dict[str, float]:
    """{block: its macro influence}, in order of depth; a block is taken out by giving its input to the next one.

    Costs L forwards, of which the last is the clean one.
    """
    blocks = stream_blocks(model)
    end, real = blocks[-1].resid_post, _real(x)
    clean = model.read(x, [*(b.resid_pre for b in blocks), end])
    found = {}
    for block, following in zip(blocks, [*blocks[1:], None]):
        if following is None:
            final = clean[block.resid_pre]
        else:
            with model.edit(Patch(following.resid_pre, clean[block.resid_pre])):
                final = model.read(x, end)[end]
        found[block.prefix] = 1.0 - mean_cosine(clean[end], final, real, centred)
    return found


def _real(x: Inputs) -> Tensor | None:
    mask = None if isinstance(x, torch.Tensor) else x.get("attention_mask")
    return None if mask is None else mask.bool()
