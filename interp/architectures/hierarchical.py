"""Language models over units: an embedder makes one vector of each unit, a causal backbone runs over units, and a local
decoder writes each unit from what the backbone made of those before it.

    block-transformer    units of `unit` tokens; embedder: their embeddings side by side; two prefix slots
    hat                  units are words (up to and with a space); embedder: an encoder over the bytes of a word, read
                         at a slot [W]; one prefix slot

The decoder of unit i sees [prefix_i; the unit's tokens so far], prefix_i = W (backbone of unit i - 1), and nothing of
other units. The logits behind token p predict token p + 1: they come from the token's own slot, or, where p ends its
unit, from the last prefix slot of the next. `backbone` sites count units; `decoder` sites count slots, all prefixes
first, then all tokens; `encoder` sites of `hat` the [W] of every word first, then all bytes. Groups keep units apart.
"""

from dataclasses import replace
from functools import partial

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from interp.adapters.declare import Declare
from interp.architectures.entry import Entry, token_ids
from interp.architectures.gpt import ATTN, LLAMA
from interp.hooks.model import HookedModel
from interp.hooks.sitemap import Add, SiteMap
from interp.hooks.tap import Output, Tap, mark
from interp.parts.attention import Attention
from interp.parts.block import Block
from interp.parts.context import Context
from interp.parts.describe import block_equations, norm_equations
from interp.parts.model import built
from interp.parts.sitemap import declare_block, declare_norm
from interp.parts.spec import Spec
from interp.results.errors import BadInput

Tokens = Int[Tensor, "batch pos"]
BOTH_WAYS = replace(LLAMA, block=(replace(ATTN, op=partial(Attention.of, bias=False, causal=False)), LLAMA.block[1]))


class Concatenated(nn.Module):
    """Units of a fixed number of tokens, embedded narrowly and put side by side (the paper's lookup embedder)."""

    prefix = 2

    def __init__(self, spec: Spec, unit: int, n_local: int):
        super().__init__()
        if spec.d_model % unit:
            raise BadInput(f"d_model {spec.d_model} is no multiple of the {unit} tokens of a unit")
        self.unit = unit
        self.embed = nn.Embedding(spec.d_vocab, spec.d_model // unit)

    def units(self, ids: Tokens) -> tuple[Tokens, Tokens, Tensor]:
        """(unit of each token, its place in it, whether it ends it)."""
        place = torch.arange(ids.shape[1]).expand_as(ids)
        return place // self.unit, place % self.unit, place % self.unit == self.unit - 1

    def forward(self, ids: Tokens, unit: Tokens, place: Tokens, n_units: int) -> Float[Tensor, "batch unit d_model"]:
        whole = nn.functional.pad(ids, (0, n_units * self.unit - ids.shape[1]))  # of the last unit nothing is read yet
        return self.embed(whole).unflatten(1, (n_units, self.unit)).flatten(2)

    def declare(self, m: SiteMap) -> None:
        """Its sites, and the step that the first stream starts with."""
        m.add("encoder.hook_embed", Tap("embedder.embed"))
        m.stem = Add("", ("encoder.hook_unit",), "backbone.blocks.0.hook_resid_pre")

    def equations(self) -> list[tuple[str, str]]:
        return [(f"units: {self.unit} tokens each", ""),
                ("e = E_unit[tokens], d_model / unit wide", "encoder.hook_embed"),
                ("x_i = e of the tokens of unit i, side by side", "encoder.hook_unit")]


class WordEncoder(nn.Module):
    """Words as what an encoder over their bytes, both ways, has at a slot [W] in front of them. A word ends with its
    space, so that it is known where it ends without looking ahead."""

    prefix = 1

    def __init__(self, spec: Spec, space: int, n_local: int):
        super().__init__()
        if space >= spec.d_vocab:
            raise BadInput(f"the space is token {space}; a vocabulary of {spec.d_vocab} does not have it")
        self.space = space
        self.word = nn.Parameter(torch.zeros(spec.d_model))
        self.embed = nn.Embedding(spec.d_vocab, spec.d_model)
        local = replace(BOTH_WAYS, **{k: getattr(spec, k) for k in ("d_model", "n_heads", "n_kv_heads", "d_mlp")})
        self.blocks = nn.ModuleList(Block(local) for _ in range(n_local))

    def initialise(self, std: float, generator: torch.Generator) -> None:
        """[W] drawn as an embedding is."""
        self.word.normal_(0.0, std, generator=generator)

    def units(self, ids: Tokens) -> tuple[Tokens, Tokens, Tensor]:
        """(word of each byte, its place in it, whether it ends it)."""
        ends = ids == self.space
        unit = ends.long().cumsum(1) - ends.long()
        at = torch.arange(ids.shape[1]).expand_as(ids)
        first = at.masked_fill(torch.cat([torch.zeros_like(unit[:, :1]), unit[:, :-1]], 1) == unit, 0)
        return unit, at - first.cummax(1).values, ends

    def forward(self, ids: Tokens, unit: Tokens, place: Tokens, n_units: int) -> Float[Tensor, "batch unit d_model"]:
        words = torch.arange(n_units).expand(len(ids), -1)
        context = Context.grouped(torch.cat([torch.zeros_like(words), place + 1], 1), torch.cat([words, unit], 1))
        slots = self.word.expand(len(ids), n_units, -1)
        x = mark(self, "embed", torch.cat([slots, self.embed(ids)], 1))
        for block in self.blocks:
            x = block(x, context)
        return x[:, :n_units]

    def declare(self, m: SiteMap) -> None:
        """Its sites, and the step that the first stream starts with."""
        m.add("encoder.hook_embed", Tap("embedder", "embed"))
        for depth, block in enumerate(self.blocks):
            declare_block(Declare(m, f"encoder.blocks.{depth}", f"embedder.blocks.{depth}", depth), block)
        m.stem = Add("", ("encoder.hook_embed",), "encoder.blocks.0.hook_resid_pre")

    def equations(self) -> list[tuple[str, str]]:
        rows = [(f"  {row}", sites) for row, sites in block_equations(self.blocks[0])]
        return [(f"units: words, up to and with a token {self.space}", ""),
                ("x = [W] of every word, then E_word[bytes]; each word by itself, both ways", "encoder.hook_embed"),
                (f"for encoder d = 0 .. {len(self.blocks) - 1}:", ""), *rows,
                ("x_i = x at the [W] of word i", "encoder.hook_unit")]


class Hierarchy(nn.Module):
    """Embedder, backbone over units, decoder within units. Blocks are Llama's."""

    def __init__(self, spec: Spec, n_local: int, embedder):
        super().__init__()
        self.embedder = embedder(spec=spec, n_local=n_local)
        self.n_prefix, d = self.embedder.prefix, spec.d_model
        self.backbone = nn.ModuleList(Block(spec) for _ in range(spec.n_layers))
        self.start = nn.Parameter(torch.zeros(self.n_prefix, d))
        self.to_prefix = nn.Linear(d, self.n_prefix * d, bias=False)
        self.embed = nn.Embedding(spec.d_vocab, d)
        self.decoder = nn.ModuleList(Block(spec) for _ in range(n_local))
        self.ln_final = spec.norm(d)
        self.unembed = nn.Linear(d, spec.d_vocab, bias=False)

    def initialise(self, std: float, generator: torch.Generator) -> None:
        """The first unit's prefix drawn as an embedding is."""
        self.start.normal_(0.0, std, generator=generator)

    def forward(
        self, input_ids: Tokens, attention_mask: Tokens | None = None
    ) -> Float[Tensor, "batch pos d_vocab"]:
        """Logits of the next token. Raises BadInput for a mask: padding would move the borders of units."""
        if attention_mask is not None and not attention_mask.all():
            raise BadInput("attention_mask hides tokens, and units have no padding: give prompts of one length, or pad "
                           "on the right without a mask (what stands behind a token does not change it)")
        unit, place, ends = self.embedder.units(input_ids)
        n_units, p = int(unit.max()) + 1, self.n_prefix
        x = mark(self, "unit", self.embedder(input_ids, unit, place, n_units))
        context = Context(unit[:, :1].expand(-1, n_units))
        for block in self.backbone:
            x = block(x, context)
        made = self.to_prefix(x).unflatten(-1, (p, -1)).flatten(1, 2)
        made = mark(self, "prefix", torch.cat([self.start.expand(len(x), -1, -1), made], 1))
        y = torch.cat([made, self.embed(input_ids)], 1)
        slots = torch.arange((n_units + 1) * p).expand(len(x), -1)
        context = Context.grouped(torch.cat([slots % p, place + p], 1), torch.cat([slots // p, unit], 1))
        for block in self.decoder:
            y = block(y, context)
        own = slots.shape[1] + torch.arange(input_ids.shape[1])
        at = torch.where(ends, (unit + 1) * p + p - 1, own)
        return self.unembed(self.ln_final(y.gather(1, at[..., None].expand(-1, -1, y.shape[-1]))))


def site_map(model: Hierarchy) -> SiteMap:
    """Three streams: `encoder`, `backbone.blocks.{d}`, `decoder.blocks.{d}`."""
    m = SiteMap(input_name="input_ids", d_vocab=model.embed.num_embeddings, causal=True)
    model.embedder.declare(m)
    m.add("encoder.hook_unit", Tap("", "unit"))
    for depth, block in enumerate(model.backbone):
        declare_block(Declare(m, f"backbone.blocks.{depth}", f"backbone.{depth}", depth), block)
    m.add("decoder.hook_prefix", Tap("", "prefix"))
    m.add("decoder.hook_embed", Tap("embed"))
    for depth, block in enumerate(model.decoder):
        declare_block(Declare(m, f"decoder.blocks.{depth}", f"decoder.{depth}", depth), block)
    m.final_norm, m.unembed = declare_norm(m, model, "ln_final"), "unembed"
    m.add("output", Tap("", view=Output()))
    return m


def equations(model: HookedModel) -> list[tuple[str, str]]:
    """The forward pass: (equation, sites)."""
    module = model.module
    return [
        *module.embedder.equations(),
        (f"for backbone d = 0 .. {len(module.backbone) - 1}, over units:", ""),
        *((f"  {row}", sites) for row, sites in block_equations(module.backbone[0])),
        (f"prefix_0 = start, prefix_i+1 = x_i W_prefix, {module.n_prefix} slots each", "decoder.hook_prefix"),
        ("x = prefixes of all units, then E[tokens]; each unit by itself", "decoder.hook_embed"),
        (f"for decoder d = 0 .. {len(module.decoder) - 1}:", ""),
        *((f"  {row}", sites) for row, sites in block_equations(module.decoder[0])),
        ("x = x at each token; at its unit's end, at the last prefix slot of the next", ""),
        ("x = ln_final(x)", "ln_final.hook_scale|hook_normalized"),
        ("logits = x W_U", "output"),
        *norm_equations(module),
    ]


_SIZES = dict(d_model=64, n_layers=2, n_local=1, n_heads=4, n_kv_heads=None, d_mlp=None, d_vocab=128)


def _make(name: str, embedder, own: str, defaults: dict, *, seed: int, **given: int | None) -> HookedModel:
    sizes = defaults | given
    inner = {key: value for key, value in sizes.items() if key not in (own, "n_local")}
    spec, one = replace(LLAMA, **inner), partial(embedder, **{own: sizes[own]})
    module = built(lambda: Hierarchy(spec, sizes["n_local"], one), seed, 2 * spec.n_layers)
    recipe = {"source": "catalog", "name": name, "sizes": sizes}
    return HookedModel(module, site_map(module), name=name, recipe=recipe)


def words(model: HookedModel, *, batch: int = 2, n_pos: int = 9, seed: int = 0) -> Tensor:
    """Random bytes with a space after every few, [batch, pos]."""
    ids, space = token_ids(model, batch=batch, n_pos=n_pos, seed=seed), model.module.embedder.space
    ids[0, 2::4], ids[1:, 1::3] = space, space
    return ids


def _member(name: str, title: str, embedder, own: dict[str, int], **facts) -> Entry:
    sizes = _SIZES | own
    make = partial(_make, name, embedder, next(iter(own)), sizes)
    return Entry(name=name, title=title, family="hierarchical", kind="language model", make=make, sizes=sizes,
                 equations=equations, **facts)


MEMBERS: tuple[Entry, ...] = (
    _member("block-transformer", "A backbone over blocks of tokens and a decoder within them", Concatenated,
            {"unit": 4}, paper=6, example=partial(token_ids, n_pos=14),
            citation="Ho et al. 2024, Block transformer, arXiv 2406.02657"),
    _member("hat", "An encoder of words, a backbone over them and a decoder of bytes", WordEncoder, {"space": 32},
            paper=127, example=words, citation="Neitemeier et al. 2025, Hierarchical autoregressive transformers, "
            "arXiv 2501.10322"),
)
