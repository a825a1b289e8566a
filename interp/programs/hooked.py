"""The Transformer Program model behind the workbench's calls: built from a seed, and its sites."""

from dataclasses import dataclass

import torch
from torch import Tensor

from interp.adapters.declare import Declare
from interp.hooks.model import HookedModel
from interp.hooks.sitemap import Add, SiteMap
from interp.hooks.tap import IN, Output, Tap
from interp.programs.model import TransformerProgramModel
from interp.programs.sizes import ProgramSizes
from interp.programs.stream import Stream, Write


def build_program_model(sizes: ProgramSizes, seed: int) -> TransformerProgramModel:
    """A model with random weights that depend on `seed` alone; global random state is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return TransformerProgramModel(sizes)


def hook_program(
    model: TransformerProgramModel, *, name: str = "transformer-program", recipe: dict | None = None
) -> HookedModel:
    """The model with its sites and equations.

    The stream [batch, pos, d_model] has all variables side by side, in the order of `model.sizes.names()`: one-hots of
    `cardinality` entries, then numbers. Variables that are not written yet are zero, so every step is a sum.
    """
    sizes = model.sizes
    m = SiteMap(input_name="input_ids", d_vocab=sizes.d_vocab, n_ctx=sizes.n_ctx, causal=sizes.causal and
                not sizes.pooled, unembed="unembed")
    m.add("hook_embed", Tap("embed", view=Written(sizes)))
    m.add("hook_pos_embed", Tap("pos_embed", view=Written(sizes)))
    m.stem = Add("", ("hook_embed", "hook_pos_embed"), "blocks.0.hook_resid_pre")
    for layer, block in enumerate(model.blocks):
        _layer(Declare(m, f"blocks.{layer}", f"blocks.{layer}", layer), sizes, has_mlps=block.mlps is not None)
    m.add("output", Tap("", view=Output()))
    return HookedModel(model, m, name=name, recipe=recipe)


def _layer(d: Declare, sizes: ProgramSizes, has_mlps: bool) -> None:
    d.site("hook_resid_pre", "", IN, SideBySide(sizes))
    if sizes.cat_heads:
        _heads(d, "attn", "heads.categorical", sizes.cat_heads, ("attn_scores",), VALUES, "softmax")
    if sizes.num_heads:
        _heads(d, "num_attn", "heads.numerical", sizes.num_heads, (), NUMBERS, "unnormalised")
    d.site("hook_attn_out", "heads", view=Written(sizes))
    if not has_mlps:
        d.site("hook_resid_post", "", view=SideBySide(sizes))
        d.done(d.add("hook_resid_pre", ("hook_attn_out",), "hook_resid_post"))
        return
    d.site("hook_resid_mid", "", "resid_mid", SideBySide(sizes))
    if sizes.cat_mlps:
        _mlps(d, "mlp", "mlps.categorical")
    if sizes.num_mlps:
        _mlps(d, "num_mlp", "mlps.numerical")
    d.site("hook_mlp_out", "mlps", view=Written(sizes))
    d.site("hook_resid_post", "", view=SideBySide(sizes))
    d.pre_norm()


def _heads(d: Declare, kind: str, path: str, heads: int, more: tuple, values: "Order", pattern: str) -> None:
    for point in ("gate_q", "gate_k", "gate_v", "predicate"):
        d.site(f"{kind}.hook_{point}", path, point, heads=heads)
    for point, view in (("q", VALUES), ("k", VALUES), ("v", values)):
        d.site(f"{kind}.hook_{point}", path, point, view, heads=heads)
    for point in more:
        d.site(f"{kind}.hook_{point}", path, point, PAIRS, heads=heads)
    d.site(f"{kind}.hook_pattern", path, "pattern", PAIRS, heads=heads, pattern=pattern)
    d.site(f"{kind}.hook_z", path, "z", values, heads=heads)


def _mlps(d: Declare, kind: str, path: str) -> None:
    d.site(f"{kind}.hook_gate", path, "gate")
    for point in ("read", "pre", "post", "logits", "value"):
        d.site(f"{kind}.hook_{point}", path, point, HIDDEN if point in ("pre", "post") else VALUES)


# -- views: the model is feature-first, sites are batch-first ----------------------------------------------------------


@dataclass(frozen=True)
class Order:
    """Axes in another order, with `unit` an axis of length 1 behind them, or with the last two made one (`flat`)."""

    axes: tuple[int, ...]
    unit: bool = False
    flat: bool = False
    needs: str | None = None

    def read(self, raw, call):
        value = raw.permute(self.axes)
        return value.unsqueeze(-1) if self.unit else value.flatten(-2) if self.flat else value

    def write(self, raw, new, call):
        shape = [raw.shape[axis] for axis in self.axes]
        back = sorted(range(len(self.axes)), key=self.axes.__getitem__)
        return new.reshape(shape).permute(back).contiguous()


VALUES = Order((2, 3, 0, 1))  # head value batch pos -> batch pos head value
NUMBERS = Order((1, 2, 0), unit=True)  # head batch pos -> batch pos head 1
PAIRS = Order((1, 0, 2, 3))  # head batch query key -> batch head query key
HIDDEN = Order((2, 3, 0, 1), flat=True)  # mlp unit batch pos -> batch pos mlp*unit


@dataclass(frozen=True)
class SideBySide:
    """A `Stream` as [batch, pos, d_model]."""

    sizes: ProgramSizes
    needs: str | None = None

    def read(self, raw: Stream, call) -> Tensor:
        return torch.cat(raw).permute(1, 2, 0)

    def write(self, raw: Stream, new: Tensor, call) -> Stream:
        rows, numbers_at = new.permute(2, 0, 1), self.sizes.numbers_at
        return Stream(rows[:numbers_at].contiguous(), rows[numbers_at:].contiguous())


@dataclass(frozen=True)
class Written:
    """A `Write` as [batch, pos, d_model], zero in the rows that it leaves alone."""

    sizes: ProgramSizes
    needs: str | None = None

    def read(self, raw: Write, call) -> Tensor:
        rows = raw.symbols if raw.symbols is not None else raw.numbers
        zeros = rows.new_zeros(self.sizes.d_model, *rows.shape[1:])
        empty = Stream(zeros[: self.sizes.numbers_at], zeros[self.sizes.numbers_at :])
        return torch.cat(raw.onto(empty)).permute(1, 2, 0)

    def write(self, raw: Write, new: Tensor, call) -> Write:
        symbols, numbers = SideBySide(self.sizes).write(None, new, call)
        return Write(0, symbols, 0, numbers)
