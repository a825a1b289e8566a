"""Two streams: attention writes to the token stream, MLPs to the context stream, both read the sum.

    token += attn(ln1(token + context));   context += mlp(ln2(token + context));   logits = ln(token + context) W_U

The token stream starts as the embeddings, the context stream as zero. Members differ in how values and outputs of heads
mix: `dual-stream` by one number a pair of heads, `dual-stream-independent` not at all, `dual-stream-dense` freely.
"""

from functools import partial

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from interp.adapters.declare import Declare
from interp.architectures.entry import Entry
from interp.hooks.model import HookedModel
from interp.hooks.sitemap import Add, NormRef, SiteMap
from interp.hooks.tap import Output, Tap
from interp.parts import norms
from interp.parts.attention import Attention
from interp.parts.context import Context
from interp.parts.head_mix import HeadMix, Mixing
from interp.parts.mlp import Mlp
from interp.parts.model import built
from interp.parts.positions import Rotary

Stream = Float[Tensor, "batch pos d_model"]
_SIZES = dict(d_model=64, n_layers=2, n_heads=4, d_mlp=None, d_vocab=128, n_ctx=64)


class TokenBlock(nn.Module):
    """token + attn(ln1(token + context))"""

    def __init__(self, d_model: int, n_heads: int, mixing: Mixing):
        super().__init__()
        self.ln1 = norms.LayerNorm(d_model)
        self.attn = Attention(d_model, n_heads, bias=False, rotary=Rotary())
        self.attn.v, self.attn.o = (HeadMix(n_heads, d_model // n_heads, mixing) for _ in range(2))

    def forward(self, token: Stream, context: Stream, shared: Context) -> Stream:
        return token + self.attn(self.ln1(token + context), shared)


class ContextBlock(nn.Module):
    """context + mlp(ln2(token + context))"""

    def __init__(self, d_model: int, d_mlp: int):
        super().__init__()
        self.ln2, self.mlp = norms.LayerNorm(d_model), Mlp(d_model, d_mlp)

    def forward(self, context: Stream, token: Stream) -> Stream:
        return context + self.mlp(self.ln2(token + context))


class DualStream(nn.Module):
    """A language model of two streams of `d_model` each."""

    def __init__(self, mixing: Mixing, *, d_model: int, n_layers: int, n_heads: int, d_mlp: int | None, d_vocab: int,
                 n_ctx: int):
        super().__init__()
        self.embed = nn.Embedding(d_vocab, d_model)
        self.token_blocks = nn.ModuleList(TokenBlock(d_model, n_heads, mixing) for _ in range(n_layers))
        self.context_blocks = nn.ModuleList(ContextBlock(d_model, d_mlp or 4 * d_model) for _ in range(n_layers))
        self.ln_final = norms.LayerNorm(d_model)
        self.unembed = nn.Linear(d_model, d_vocab, bias=False)

    def forward(
        self, input_ids: Int[Tensor, "batch pos"], attention_mask: Int[Tensor, "batch pos"] | None = None
    ) -> Float[Tensor, "batch pos d_vocab"]:
        """Logits. `attention_mask` is 1 at real tokens, on either side of the padding."""
        shared = Context(input_ids, attention_mask)
        token = self.embed(input_ids)
        context = torch.zeros_like(token)
        for read, think in zip(self.token_blocks, self.context_blocks):
            token = read(token, context, shared)
            context = think(context, token)
        return self.unembed(self.ln_final(token + context))


def site_map(model: DualStream) -> SiteMap:
    """Each depth of each stream is a block of its own: `token.blocks.{d}` and `context.blocks.{d}`."""
    m = SiteMap(input_name="input_ids", d_vocab=model.embed.num_embeddings, causal=True)
    m.add("hook_embed", Tap("embed"))
    m.stem = Add("", ("hook_embed",), "token.blocks.0.hook_resid_pre")
    for depth, (read, think) in enumerate(zip(model.token_blocks, model.context_blocks)):
        d = Declare(m, f"token.blocks.{depth}", f"token_blocks.{depth}", depth)
        d.resid_pre()
        d.norm("ln1", "ln1", norms.role(read.ln1))
        read.attn.declare(d, "attn")
        _close(d, "attn")
        d = Declare(m, f"context.blocks.{depth}", f"context_blocks.{depth}", depth)
        d.resid_pre()
        d.norm("ln2", "ln2", norms.role(think.ln2))
        think.mlp.declare(d, "mlp")
        _close(d, "mlp")
    role = norms.role(model.ln_final)
    m.roles["ln_final"] = role
    m.add("ln_final.hook_scale", Tap("ln_final", "scale"))
    m.add("ln_final.hook_normalized", Tap("ln_final", "normalized"))
    m.final_norm, m.unembed = NormRef("ln_final", role, "ln_final.hook_scale"), "unembed"
    m.add("output", Tap("", view=Output()))
    return m


def _close(d: Declare, branch: str) -> None:
    d.site(f"hook_{branch}_out", branch)
    d.site("hook_resid_post", "")
    d.done(d.add("hook_resid_pre", (f"hook_{branch}_out",), "hook_resid_post"))


def equations(model: HookedModel) -> list[tuple[str, str]]:
    """The forward pass: (equation, sites)."""
    module = model.module
    return [
        ("token = E[tokens], context = 0", "hook_embed"),
        (f"for d = 0 .. {len(module.token_blocks) - 1}:", ""),
        ("  u = ln1(token + context)", "token: hook_resid_pre, ln1.hook_scale|hook_normalized"),
        *((f"  {row}", sites) for row, sites in module.token_blocks[0].attn.equations("u", "attn_out")),
        (f"  W_v, W_o: heads mix {module.token_blocks[0].attn.o.mixing}", ""),
        ("  token = token + attn_out", "token: hook_attn_out, hook_resid_post"),
        ("  u = ln2(token + context)", "context: hook_resid_pre, ln2.hook_scale|hook_normalized"),
        *((f"  {row}", sites) for row, sites in module.context_blocks[0].mlp.equations("u", "mlp_out")),
        ("  context = context + mlp_out", "context: hook_mlp_out, hook_resid_post"),
        ("x = ln_final(token + context)", "ln_final.hook_scale|hook_normalized"),
        ("logits = x W_U", "output"),
    ]


def _make(name: str, mixing: Mixing, *, seed: int, **given: int | None) -> HookedModel:
    sizes = _SIZES | given
    module = built(lambda: DualStream(mixing, **sizes), seed, sizes["n_layers"])
    recipe = {"source": "catalog", "name": name, "sizes": sizes}
    return HookedModel(module, site_map(module), name=name, recipe=recipe)


def _member(name: str, mixing: Mixing, how: str) -> Entry:
    return Entry(name=name, title=f"Tokens and context in two streams, heads mixed {how}", family="dual-stream",
                 kind="language model", make=partial(_make, name, mixing), sizes=_SIZES, equations=equations, paper=203,
                 citation="The Dual-Stream Transformer, 2026 (the abstract; details as said in interp.parts.head_mix)")


MEMBERS: tuple[Entry, ...] = (
    _member("dual-stream", "kronecker", "by one number a pair"),
    _member("dual-stream-independent", "independent", "not at all"),
    _member("dual-stream-dense", "dense", "freely"),
)
