"""The forward pass of a model made of parts, as rows (equation, sites): what `interp show` prints."""

from torch import nn

from interp.hooks.roles import Norm
from interp.parts import norms
from interp.parts.block import OwnBlock, Sublayer
from interp.parts.model import Model

Row = tuple[str, str]

_TIES = {
    "blocks": " (one block, visited every time)",
    "middle": " (one block between the first and the last, visited every time)",
    "branches": " (one attention and one MLP for all depths, norms of their own)",
}


def equations(model: Model) -> list[Row]:
    """All equations from input to output, in order of computation; the block is written once."""
    spec = model.spec
    first, last = model.ends
    rows: list[Row] = [(first, "hook_embed")]
    if model.pos_embed is not None:
        rows.append((f"x = x + {model.pos_embed.equation}", "hook_pos_embed"))
    if model.embed_ln is not None:
        rows.append(("x = embed_ln(x)", "embed_ln.hook_scale|hook_normalized"))
    tied = "".join(words for tie, words in _TIES.items() if tie in spec.tied)
    rows.append((f"for d = 0 .. {spec.n_layers - 1}:{tied}", ""))
    rows += [(f"  {equation}", sites) for equation, sites in block_equations(model.blocks[0])]
    if model.ln_final is not None:
        rows.append(("x = ln_final(x)", "ln_final.hook_scale|hook_normalized"))
    rows.append((last + (", W_U = E^T" if "head" in spec.tied else ""), "output"))
    return rows + norm_equations(model)


def block_equations(block: nn.Module) -> list[Row]:
    """The equations of one block."""
    if isinstance(block, OwnBlock):
        return block.equations()
    rows: list[Row] = [("resid_pre = x", "hook_resid_pre")]
    for sub in block.sublayers:
        rows += _branch(block, sub)
    return rows


def _branch(block: nn.Module, sub: Sublayer) -> list[Row]:
    rows: list[Row] = []
    read, out = sub.reads, f"{sub.name}_out"
    if sub.norm_in:
        rows.append((f"u = {sub.norm_in}({read})", f"{sub.norm_in}.hook_scale|hook_normalized"))
        read = "u"
    outer = "" if not (sub.norm_out or sub.gate) else "w"
    rows += block.get_submodule(sub.name).equations(read, outer or out)
    if outer:
        inner = f"{sub.norm_out}({outer})" if sub.norm_out else outer
        scale = f"{block.get_submodule(sub.last).equation} " if sub.gate else ""
        points = f", {sub.norm_out}.hook_scale|hook_normalized" if sub.norm_out else ""
        rows.append((f"{out} = {scale}{inner}", f"hook_{out}{points}"))
    else:
        equation, sites = rows[-1]
        rows[-1] = (equation, f"{sites}, hook_{out}".removeprefix(", "))
    total = f"{sub.norm_sum}(x + {out})" if sub.norm_sum else f"x + {out}"
    points = f", {sub.norm_sum}.hook_scale|hook_normalized" if sub.norm_sum else ""
    name = f"{sub.writes} = x" if sub.writes else "x"
    return [*rows, (f"{name} = {total}", (f"hook_{sub.writes}{points}" if sub.writes else points.removeprefix(", ")))]


def norm_equations(model: nn.Module) -> list[Row]:
    """What the norms compute, once for every kind that occurs."""
    kinds = {}
    for path, module in model.named_modules():
        if isinstance(module, nn.LayerNorm | nn.RMSNorm) or isinstance(getattr(module, "role", None), Norm):
            kinds.setdefault(type(module), norms.equation(module, path.rsplit(".", 1)[-1]))
    return [("where " + equation, "") for equation in kinds.values()]
