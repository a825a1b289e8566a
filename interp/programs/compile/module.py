"""The compiled model: a transformer whose depths have attention, an MLP, or both, and its site map.

    x = embed(ids) + pos_embed(place);   x = x + attn(ln1(x));   x = x + mlp(ln2(x));   logits = unembed(ln_final(x))

No biases; ReLU; norms and positions only where the program was compiled with them. Padding is masked as a key, wherever
it stands, so that a padded sequence has the values of the unpadded one.
"""

from dataclasses import dataclass
from functools import partial
from typing import Literal

from jaxtyping import Float, Int
from torch import Tensor, nn

from interp.adapters.declare import Declare
from interp.hooks.model import HookedModel
from interp.hooks.sitemap import Add, NormRef, SiteMap
from interp.hooks.tap import Output, Tap
from interp.parts import norms
from interp.parts.attention import Attention
from interp.parts.context import Context
from interp.parts.mlp import Mlp

NormName = Literal["layernorm", "rmsnorm"] | None
_NORMS = {"layernorm": partial(norms.LayerNorm, bias=False), "rmsnorm": norms.RMSNorm}


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """What the module is built from. `heads` and `units` count by depth, 0 for a branch that is not there; `pad` is
    the id of padding; d_head belongs to the heads alone and is no share of d_model."""

    d_model: int
    d_head: int
    d_vocab: int
    d_out: int
    n_ctx: int
    heads: tuple[int, ...]
    units: tuple[int, ...]
    positions: bool
    causal: bool
    norm: NormName
    pad: int


class Depth(nn.Module):
    """One depth: attention, then an MLP, each only where the program has something to do there."""

    def __init__(self, sizes: Sizes, heads: int, units: int):
        super().__init__()
        normed = _NORMS.get(sizes.norm)
        self.ln1 = normed(sizes.d_model) if normed and heads else None
        self.attn = Attention(sizes.d_model, heads, causal=sizes.causal, bias=False, d_head=sizes.d_head) if heads \
            else None
        self.ln2 = normed(sizes.d_model) if normed and units else None
        self.mlp = Mlp(sizes.d_model, units, act=nn.ReLU, bias=False) if units else None

    def forward(self, x: Float[Tensor, "batch pos d_model"], context: Context) -> Float[Tensor, "batch pos d_model"]:
        if self.attn is not None:
            x = x + self.attn(x if self.ln1 is None else self.ln1(x), context)
        if self.mlp is not None:
            x = x + self.mlp(x if self.ln2 is None else self.ln2(x), context)
        return x


class CompiledModule(nn.Module):
    """A transformer of these sizes; its weights come from the compiler."""

    def __init__(self, sizes: Sizes):
        super().__init__()
        self.sizes = sizes
        self.embed = nn.Embedding(sizes.d_vocab, sizes.d_model)
        self.pos_embed = nn.Embedding(sizes.n_ctx, sizes.d_model) if sizes.positions else None
        self.blocks = nn.ModuleList(Depth(sizes, h, u) for h, u in zip(sizes.heads, sizes.units))
        self.ln_final = _NORMS[sizes.norm](sizes.d_model) if sizes.norm else None
        self.unembed = nn.Linear(sizes.d_model, sizes.d_out, bias=False)

    def forward(
        self, input_ids: Int[Tensor, "batch pos"], attention_mask: Int[Tensor, "batch pos"] | None = None
    ) -> Float[Tensor, "batch pos d_out"]:
        """Scores of the output's values (one number where the output is numerical) at every position, BOS first."""
        real = input_ids != self.sizes.pad
        if attention_mask is not None:
            real = real & attention_mask.bool()
        context = Context(input_ids, real)
        x = self.embed(input_ids)
        if self.pos_embed is not None:
            x = x + self.pos_embed(context.place)
        for block in self.blocks:
            x = block(x, context)
        return self.unembed(x if self.ln_final is None else self.ln_final(x))


def hook(module: CompiledModule, name: str) -> HookedModel:
    """The module with its sites and equations declared."""
    return HookedModel(module, site_map(module), name=name)


def site_map(module: CompiledModule) -> SiteMap:
    """Every site of the module and the equation of every depth."""
    sizes = module.sizes
    m = SiteMap(input_name="input_ids", d_vocab=sizes.d_vocab, causal=sizes.causal, n_ctx=sizes.n_ctx)
    writes = ["hook_embed"]
    m.add("hook_embed", Tap("embed"))
    if module.pos_embed is not None:
        writes.append("hook_pos_embed")
        m.add("hook_pos_embed", Tap("pos_embed"))
    m.stem = Add("", tuple(writes), "blocks.0.hook_resid_pre")
    for depth, block in enumerate(module.blocks):
        _depth(Declare(m, f"blocks.{depth}", f"blocks.{depth}", depth), block)
    if module.ln_final is not None:
        role = norms.role(module.ln_final)
        m.roles["ln_final"] = role
        m.add("ln_final.hook_scale", Tap("ln_final", "scale"))
        m.add("ln_final.hook_normalized", Tap("ln_final", "normalized"))
        m.final_norm = NormRef("ln_final", role, "ln_final.hook_scale")
    m.unembed = "unembed"
    m.add("output", Tap("", view=Output()))
    return m


def _depth(d: Declare, block: Depth) -> None:
    branches = [(name, ln) for name, ln in (("attn", "ln1"), ("mlp", "ln2")) if getattr(block, name) is not None]
    d.resid_pre()
    start, steps = "hook_resid_pre", []
    for name, ln in branches:
        if getattr(block, ln) is not None:
            d.norm(ln, ln, norms.role(getattr(block, ln)))
        getattr(block, name).declare(d, name)
        d.site(f"hook_{name}_out", name)
        last = (name, ln) == branches[-1]
        if last:
            d.site("hook_resid_post", "")
        else:
            d.after("hook_resid_mid", name)
        to = "hook_resid_post" if last else "hook_resid_mid"
        steps.append(d.add(start, (f"hook_{name}_out",), to))
        start = to
    d.done(*steps)
