"""Width taken off a block: heads by what they write, neurons by ridge leverage, the rest's work handed to those kept
(FlattenGPT's pruning; Nystrom as in Williams & Seeger 2001).

    heads    kept by mean over tokens of ||z_h W_O,h||, whole groups with their key/value head
    neurons  C = mean over tokens of post post^T [n, n];  leverage_i = [C (C + lam I)^-1]_ii, the k largest are kept (S)
             W_D' = W_D[S] + (C_SS + lam I)^-1 C_S,rest W_D[rest];   lam = ridge * mean of C's diagonal

With S = all nothing changes; with lam -> 0 and as many neurons as C has rank the output on those tokens is the same.
"""

import torch
from torch import Tensor

from interp.depth.rewired import shared_copy
from interp.hooks.contributions import block_at
from interp.hooks.model import HookedModel, Inputs
from interp.results.errors import BadInput
from interp.surgery.linears import linears, set_heads, set_linear
from interp.surgery.report import Surgery, compared


def leverages(post: Tensor, ridge: float) -> Tensor:
    """Ridge leverage of every neuron, [neuron], between 0 and 1, of activations [token, neuron]."""
    moments, lam = _moments(post, ridge)
    return torch.linalg.solve(moments + lam * torch.eye(len(moments), dtype=moments.dtype), moments).diagonal()


def kept_neurons(post: Tensor, n: int, ridge: float) -> tuple[Tensor, Tensor]:
    """(indices of the `n` neurons kept [n], how much of every neuron each of them takes over [n, neuron])."""
    moments, lam = _moments(post, ridge)
    chosen = leverages(post, ridge).topk(n).indices.sort().values
    inner = moments[chosen][:, chosen] + lam * torch.eye(n, dtype=moments.dtype)
    share = torch.linalg.solve(inner, moments[chosen])
    share[:, chosen] = torch.eye(n, dtype=moments.dtype)
    return chosen, share


def _moments(post: Tensor, ridge: float) -> tuple[Tensor, Tensor]:
    rows = post.double().flatten(0, -2)
    moments = rows.T @ rows / len(rows)
    return moments, ridge * moments.diagonal().mean()


def narrow(model: HookedModel, depth: int, x: Inputs, *, kv_heads: int | None = None, neurons: int | None = None,
           ridge: float = 0.01) -> tuple[HookedModel, Surgery]:
    """The model with `kv_heads` groups of heads and `neurons` neurons left in the block at `depth` (None: all).

    Scores come from the tokens of `x` (padding included where it has any: give rows of one length). Raises BadInput as
    `interp.surgery.flatten.flatten`, and for more heads or neurons than there are.
    """
    block = block_at(model, depth)
    found = linears(model, block)
    copy = shared_copy(model)
    if neurons is not None:
        _narrow_mlp(model, copy, found, x, neurons, ridge)
    if kv_heads is not None:
        _narrow_attention(model, copy, found, x, kv_heads)
    before, after = (m.read(x, block.resid_post)[block.resid_post] for m in (model, copy))
    return copy, compared("narrow", model, copy, (block.prefix,),
                          of_stream=float((after - before).norm() / before.norm()))


def _narrow_mlp(model: HookedModel, copy: HookedModel, found, x: Inputs, n: int, ridge: float) -> None:
    site = f"{found.block.prefix}.mlp.hook_post"
    if "mlp.hook_post" not in found.writes:
        raise BadInput(f"{found.block.prefix} of {model.name} has no MLP to narrow")
    post = model.read(x, site)[site]
    if not 1 <= n <= post.shape[-1]:
        raise BadInput(f"{n} neurons are to stay in {found.block.prefix}, which has {post.shape[-1]}")
    chosen, share = kept_neurons(post, n, ridge)
    for name, path in found.reads.items():
        if name.startswith("mlp"):
            linear = model.module.get_submodule(path)
            set_linear(copy, path, linear.weight[chosen], None if linear.bias is None else linear.bias[chosen])
    down = model.module.get_submodule(found.writes["mlp.hook_post"])
    weight = (down.weight.double() @ share.T).to(down.weight.dtype)
    set_linear(copy, found.writes["mlp.hook_post"], weight, down.bias)


def _narrow_attention(model: HookedModel, copy: HookedModel, found, x: Inputs, n: int) -> None:
    prefix = found.block.prefix
    if "attn.hook_z" not in found.writes:
        raise BadInput(f"{prefix} of {model.name} has no attention to narrow")
    k, q = model.site(f"{prefix}.attn.hook_k"), model.site(f"{prefix}.attn.hook_q")
    if not 1 <= n <= k.heads:
        raise BadInput(f"{n} key/value heads are to stay in {prefix}, which has {k.heads}")
    z = model.read(x, f"{prefix}.attn.hook_z")[f"{prefix}.attn.hook_z"]
    o = model.module.get_submodule(found.writes["attn.hook_z"])
    writes = torch.einsum("bphd,mhd->bphm", z, o.weight.unflatten(1, (q.heads, -1)))
    scores = writes.norm(dim=-1).flatten(0, 1).mean(0).unflatten(0, (k.heads, -1)).sum(1)
    groups = scores.topk(n).indices.sort().values
    heads = (groups[:, None] * k.groups + torch.arange(k.groups)).flatten()
    for name, path in found.reads.items():
        if name.startswith("attn"):
            linear, many = model.module.get_submodule(path), name == "attn.hook_q"
            rows = _rows(linear.out_features, q.heads if many else k.heads, heads if many else groups)
            set_linear(copy, path, linear.weight[rows], None if linear.bias is None else linear.bias[rows])
    set_linear(copy, found.writes["attn.hook_z"], o.weight[:, _rows(o.in_features, q.heads, heads)], o.bias)
    set_heads(copy, prefix, n / k.heads)


def _rows(width: int, heads: int, chosen: Tensor) -> Tensor:
    d_head = width // heads
    return (chosen[:, None] * d_head + torch.arange(d_head)).flatten()
