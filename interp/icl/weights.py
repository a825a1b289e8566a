"""The maps of an attention head between streams, read from any model: what it asks, what it offers, what it copies.

    QK = W_Q W_K^T [query stream, key stream]        OV = W_V W_O [stream, stream]        rows are what is read

A projection is asked for its linear part (its value at the unit vectors less its value at zero), so that fused,
transposed and grouped ones need no case of their own. The gain of the norm in front, and its centring, belong to the
map; its division does not, and neither do rotary turns and filters of queries and keys: QK is as at distance 0.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from interp.hooks import HookedModel
from interp.hooks.contributions import block_at
from interp.hooks.roles import Norm
from interp.hooks.tap import Call
from interp.results.errors import MissingSite, RequiresPattern


@dataclass(frozen=True, eq=False)
class HeadWeights:
    """The four maps of every head at one depth; q and k [head, d_model, d_head], v the same, o [head, d_head,
    d_model]. Key/value heads are repeated for the query heads they serve."""

    q: Float[Tensor, "head d_model d_head"]
    k: Float[Tensor, "head d_model d_head"]
    v: Float[Tensor, "head d_model d_head"]
    o: Float[Tensor, "head d_head d_model"]


@torch.no_grad()
def head_weights(model: HookedModel, depth: int) -> HeadWeights:
    """The maps of the attention heads at a depth, float64.

    Raises RequiresPattern for a depth without attention heads.
    """
    block = block_at(model, depth)
    if f"{block.prefix}.attn.hook_z" not in model.map.sites:
        raise RequiresPattern(f"{block.prefix} of {model.name} has no attention heads, whose weights could be read")
    found = {}
    fold = _norm(model, block.prefix)
    n_heads = model.site(f"{block.prefix}.attn.hook_z").heads
    for letter in "qkv":
        site, tap = model.map.sites[f"{block.prefix}.attn.hook_{letter}"]
        module = model.module.get_submodule(tap.path)
        weight = tap.view.read(linear_part(module, _width(module)), Call(module))  # [d_model, head, d_head]
        weight = weight.transpose(0, 1).double().repeat_interleave(n_heads // weight.shape[1], 0)
        found[letter] = fold(weight)
    _, tap = model.map.sites[f"{block.prefix}.attn.hook_z"]
    module = model.module.get_submodule(tap.path)
    return HeadWeights(**found, o=linear_part(module, _width(module)).double().unflatten(0, (n_heads, -1)))


def linear_part(module: nn.Module, width: int) -> Float[Tensor, "width out"]:
    """The matrix of an affine module, rows its inputs."""
    weight = next(module.parameters())
    unit = torch.eye(width, dtype=weight.dtype, device=weight.device)
    return module(unit) - module(torch.zeros_like(unit[:1]))


def _width(module: nn.Module) -> int:
    """How many inputs an affine module reads."""
    weight = module.weight
    return weight.shape[1] if isinstance(module, nn.Linear) else weight.shape[0]  # Conv1D keeps [in, out]


def _norm(model: HookedModel, prefix: str):
    """What the norm in front of a block's attention does to a map [..., d_model, out] behind it."""
    name = f"{prefix}.ln1.hook_scale"
    steps = model.map.blocks[prefix].steps
    if name not in model.map.sites or any(step.norm is not None and step.norm.scale == name for step in steps):
        return lambda weight: weight  # none, or behind the sum: the attention reads the stream itself
    path = model.map.sites[name][1].path
    return gain_of(model.map.roles[path], model.module.get_submodule(path))


def gain_of(role: Norm, module: nn.Module):
    """A norm's linear part, without its division, in front of a map [..., d_model, out]."""
    gain = role.gain(module)

    def fold(weight: Tensor) -> Tensor:
        weight = weight if gain is None else gain.double()[:, None] * weight
        return weight - weight.mean(-2, keepdim=True) if role.center else weight

    return fold


@torch.no_grad()
def token_maps(
    model: HookedModel, ids: Tensor | None = None, *, embedding: bool = True, chunk: int = 1024
) -> tuple[Tensor | None, Tensor]:
    """(embedding [token, d_model], unembedding [d_model, token]) of the vocabulary or of some `ids`, float64; the gain
    of the last norm is in the unembedding. Without `embedding`, None in its place.

    Raises MissingSite for a model without token embeddings or without an unembedding.
    """
    if "hook_embed" not in model.map.sites or model.map.unembed is None or model.map.d_vocab is None:
        raise MissingSite(f"{model.name} has no embedding and unembedding of one vocabulary")
    ids = torch.arange(model.map.d_vocab) if ids is None else ids
    unembed = model.module.get_submodule(model.map.unembed)
    out = unembed.weight[ids].T.double() if isinstance(unembed, nn.Linear) else \
        linear_part(unembed, _width(unembed))[:, ids].double()
    ref = model.map.final_norm
    if ref is not None:
        out = gain_of(ref.role, model.module.get_submodule(ref.path))(out)
    if not embedding:
        return None, out
    return torch.cat([model.read(part[:, None], "hook_embed")["hook_embed"][:, 0].double()
                      for part in ids.split(chunk)]), out
