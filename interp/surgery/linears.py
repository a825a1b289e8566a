"""The linear maps of one pre-norm block, found by their sites: what flatten, narrow and fuse put others in place of."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from interp.depth.rewired import put
from interp.hooks.model import HookedModel
from interp.hooks.sitemap import Block
from interp.hooks.tap import Heads, Result
from interp.results.errors import BadInput, RequiresResidualStream

READS = {"attn.hook_q": "ln1", "attn.hook_k": "ln1", "attn.hook_v": "ln1", "mlp.hook_pre": "ln2",
         "mlp.hook_pre_linear": "ln2"}
"""Sites of projections that read the stream, each with the norm that it reads it through."""
WRITES = ("attn.hook_z", "mlp.hook_post")
"""Sites that are the input of a projection that writes to the stream."""


@dataclass(frozen=True)
class Linears:
    """{site: path of its linear map}: those that read the stream and those that write to it; {norm: its path}."""

    block: Block
    reads: dict[str, str]
    writes: dict[str, str]
    norms: dict[str, str]


def linears(model: HookedModel, block: Block) -> Linears:
    """The maps of `block`. Raises RequiresResidualStream where the block does more than add to its stream, BadInput
    where its projections are no linear maps of their own (fused, convolutions) or it is shared by depths."""
    if any(step.norm is not None or step.keep != 1.0 for step in block.steps) or not block.steps:
        raise RequiresResidualStream(f"{block.prefix} of {model.name} does more with its stream than add to it")
    sites = {name: model.map.sites.get(f"{block.prefix}.{name}") for name in (*READS, *WRITES)}
    sites = {name: found for name, found in sites.items() if found is not None}
    for site, tap in sites.values():
        fused = isinstance(tap.view, Heads) and tap.view.parts > 1
        if fused or not isinstance(model.module.get_submodule(tap.path), nn.Linear):
            raise BadInput(f"{site.name} of {model.name} is not at a linear map of its own (it is fused, or of another "
                           "kind), so heads and neurons cannot be put side by side")
        if len(model.tied(site)) > 1:
            raise BadInput(f"{block.prefix} of {model.name} shares its maps with other depths, so that changing it "
                           "would change them")
    if not sites:
        raise BadInput(f"{block.prefix} of {model.name} shows no projections of heads or neurons")
    norms = {norm: found[1].path for norm in ("ln1", "ln2")
             if (found := model.map.sites.get(f"{block.prefix}.{norm}.hook_scale"))}
    return Linears(block, {n: t.path for n, (_, t) in sites.items() if n in READS},
                   {n: t.path for n, (_, t) in sites.items() if n in WRITES}, norms)


def folded(model: HookedModel, found: Linears, name: str) -> tuple[Tensor, Tensor]:
    """Weight [out, d_model] and bias [out] of a projection with gain and shift of its norm inside."""
    linear = model.module.get_submodule(found.reads[name])
    weight, bias = linear.weight.detach(), _bias(linear)
    path = found.norms.get(READS[name])
    if path is None:
        return weight, bias
    norm, role = model.module.get_submodule(path), model.map.roles[path]
    gain, shift = role.gain(norm), role.shift(norm)
    bias = bias if shift is None else bias + weight @ shift.detach()
    return weight if gain is None else weight * gain.detach(), bias


def plain_norm(copy: HookedModel, path: str) -> None:
    """Gain 1 and shift 0 for the norm at `path` of a copy."""
    norm, role = copy.module.get_submodule(path), copy.map.roles[path]
    if getattr(norm, "weight", None) is not None:
        norm.weight = nn.Parameter(torch.full_like(norm.weight, 0.0 if role.plus_one else 1.0))
    if getattr(norm, "bias", None) is not None:
        norm.bias = nn.Parameter(torch.zeros_like(norm.bias))


def set_linear(copy: HookedModel, path: str, weight: Tensor, bias: Tensor | None) -> None:
    """A new linear map at `path` of a copy; a bias of zeros is left out."""
    out, into = weight.shape
    bias = None if bias is None or not bias.any() else bias
    new = nn.Linear(into, out, bias=bias is not None, dtype=weight.dtype, device=weight.device)
    new.weight = nn.Parameter(weight.detach().clone())
    if bias is not None:
        new.bias = nn.Parameter(bias.detach().clone())
    put(copy, path, new.train(copy.module.training))


def set_heads(copy: HookedModel, prefix: str, share: float) -> None:
    """Tell the sites of a block's attention that it has `share` times as many heads."""
    for name, (site, tap) in list(copy.map.sites.items()):
        if name.startswith(f"{prefix}.attn.") and site.heads is not None:
            heads, view = round(site.heads * share), tap.view
            if isinstance(view, Heads | Result):
                view = replace(view, heads=heads)
            copy.map.sites[name] = (replace(site, heads=heads), replace(tap, view=view))


def _bias(linear: nn.Linear) -> Tensor:
    return linear.weight.new_zeros(linear.out_features) if linear.bias is None else linear.bias.detach()
