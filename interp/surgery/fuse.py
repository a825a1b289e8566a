"""A dropped block fused into its neighbours in closed form (the aim of FuseGPT, whose fusion is trained).

Without block l its neighbours' MLPs take over what they can see of its work: the map that writes what is inside the MLP
to the stream is changed by the ridge regression, over tokens of calibration, of what is missing on what is inside:

    before  dW = ridge(post_{l-1} -> c_l)                    c_l what block l added to the stream
    behind  dW = ridge(post'_{l+1} -> h_{l+2} - h'_{l+2})    on the model with the first change, h the full model's

Surprise: the first may lower the error behind the block and yet raise the loss, where few tokens with large streams
(massive activations) carry the squares; `weighting="token"` divides every token by the size of its stream.
"""

from typing import Literal

import torch
from torch import Tensor

from interp.depth.rewired import without
from interp.hooks.contributions import block_at
from interp.hooks.model import HookedModel, Inputs
from interp.results.errors import BadInput
from interp.surgery.flatten import live_blocks
from interp.surgery.linears import linears, set_linear
from interp.surgery.report import Surgery, compared


def ridge_map(inside: Tensor, missing: Tensor, ridge: float) -> Tensor:
    """The map [out, in] that writes `missing` [token, out] best of `inside` [token, in]; ridge is relative to the mean
    square of a column of `inside`."""
    a, b = inside.double(), missing.double()
    gram = a.T @ a / len(a)
    gram = gram + ridge * gram.diagonal().mean() * torch.eye(len(gram), dtype=gram.dtype)
    return torch.linalg.solve(gram, a.T @ b / len(a)).T


def fuse(model: HookedModel, depth: int, x: Inputs, *, ridge: float = 1.0,
         weighting: Literal["none", "token"] = "token") -> tuple[HookedModel, Surgery]:
    """The model without the block at `depth`, its neighbours' MLPs refitted on the tokens of `x`.

    The report has the error of the stream behind the next block, relative to the full model's, dropped (`dropped`) and
    fused (`fused`), on `x` itself: measure the loss on other text. Raises BadInput for a block without any neighbour
    with an MLP, and as `interp.surgery.flatten.flatten`.
    """
    block, blocks = block_at(model, depth), live_blocks(model)
    at = next((i for i, b in enumerate(blocks) if b.prefix == block.prefix), None)
    if at is None:
        raise BadInput(f"{block.prefix} of {model.name} was taken out before")
    sides = [(i, f"{blocks[i].prefix}.mlp.hook_post") for i in (at - 1, at + 1) if 0 <= i < len(blocks)]
    sides = [(i, site) for i, site in sides if site in model.map.sites]
    if not sides:
        raise BadInput(f"{block.prefix} of {model.name} has no neighbour with an MLP to be fused into")
    fused, (after,) = without(model, [block.prefix]), ([blocks[min(at + 1, len(blocks) - 1)].resid_post],)
    end = after[0]
    clean = model.read(x, list(dict.fromkeys([block.resid_pre, block.resid_post, end])))
    gaps = {"dropped": _gap(fused, x, end, clean[end])}
    for i, site in sides:
        # the neighbour before writes right where the block did; the one behind is fitted to what then still misses
        to = block.resid_post if i < at else end
        cache = fused.read(x, [site, to])
        missing, size = clean[to] - cache[to], clean[to].norm(dim=-1, keepdim=True)
        weight = 1 / size.clamp_min(1e-6) if weighting == "token" else torch.ones_like(size)
        change = ridge_map((cache[site] * weight).flatten(0, -2), (missing * weight).flatten(0, -2), ridge)
        path = linears(model, blocks[i]).writes["mlp.hook_post"]
        down = fused.module.get_submodule(path)
        set_linear(fused, path, down.weight + change.to(down.weight), down.bias)
    gaps["fused"] = _gap(fused, x, end, clean[end])
    return fused, compared("fuse", model, fused, (block.prefix,), **gaps)


def _gap(model: HookedModel, x: Inputs, site: str, clean: Tensor) -> float:
    """Relative distance of a site's value, every token weighing the same."""
    value = model.read(x, site)[site]
    return float(((value - clean).norm(dim=-1) / clean.norm(dim=-1)).mean())
