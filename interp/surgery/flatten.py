"""Two adjacent blocks as one of twice the width, side by side instead of one after the other (FlattenGPT).

    u1 = h + A1(h);  v1 = u1 + M1(u1);  u2 = v1 + A2(v1);  v2 = u2 + M2(u2)        the blocks as they are
    U  = h + A1(h) + A2(h);             V  = U + M1(U) + M2(U)                      flattened

Heads and neurons of both stand beside each other in one set of weights, norms' gains inside them. Depth halves and no
parameter goes, so that what is lost is order alone; `interp.surgery.narrow` then takes width away. Exact where A2 and
M2 do not see what the first block wrote. Surprise: the error is of second order in the size of the writes, since it is
what one write changes in another: halved writes make a quarter of it.
"""

import torch
from torch import Tensor

from interp.depth.influence import mean_cosine
from interp.depth.rewired import shared_copy, without
from interp.hooks import Patch
from interp.hooks.model import HookedModel, Inputs
from interp.hooks.sitemap import Block
from interp.results.errors import BadInput, RequiresResidualStream
from interp.surgery.linears import Linears, folded, linears, plain_norm, set_heads, set_linear
from interp.surgery.report import Surgery, compared

_SAME = 1e-3  # relative; float32 noise of a block is 1e-6, a wrong head or norm is of order 1


def live_blocks(model: HookedModel) -> list[Block]:
    """The blocks that write something: not those that were taken out before."""
    return [b for b in model.map.blocks.values() if not b.steps or any(step.writes for step in b.steps)]


def pair_at(model: HookedModel, depth: int) -> tuple[Block, Block]:
    """The block at `depth` and the next one that writes. Raises BadInput where there is no such pair."""
    blocks = live_blocks(model)
    for first, second in zip(blocks, blocks[1:]):
        if first.prefix == f"blocks.{depth}":
            return first, second
    raise BadInput(f"{model.name} has no block at depth {depth} with one behind it; there are "
                   f"{', '.join(b.prefix for b in blocks[:-1])}")


def flat_stream(model: HookedModel, depth: int, x: Inputs) -> dict[str, Tensor]:
    """What the pair at `depth` would make of its input side by side, from the model as it is, by patching.

    {"start": h, "between": v1, "serial": v2, "flat": V}, each [batch, pos, d_model]. For any two blocks
    with the same steps that only add to their stream. Raises RequiresResidualStream for others.
    """
    first, second = pair_at(model, depth)
    shapes = [[len(step.writes) for step in b.steps if step.norm is None and step.keep == 1.0] for b in (first, second)]
    if shapes[0] != shapes[1] or any(len(s) != len(b.steps) for s, b in zip(shapes, (first, second))):
        raise RequiresResidualStream(f"{first.prefix} and {second.prefix} of {model.name} are not two blocks that add "
                                     "the same branches to one stream")
    clean = model.read(x, list(dict.fromkeys([first.resid_pre, second.resid_pre, second.resid_post])))
    points = {"hook_resid_pre": clean[first.resid_pre]}
    for steps in zip(first.steps, second.steps):
        start = points[steps[0].start.rpartition(".")[2]]
        total = start
        for step in steps:
            with model.edit(Patch(step.start, start)):
                cache = model.read(x, list(step.writes))
            total = total + sum(cache[write] for write in step.writes)
        points[steps[0].to.rpartition(".")[2]] = total
    return {"start": clean[first.resid_pre], "between": clean[second.resid_pre], "serial": clean[second.resid_post],
            "flat": points["hook_resid_post"]}


def flattening_error(model: HookedModel, depth: int, x: Inputs) -> dict[str, float]:
    """`of_stream` ||V - v2|| / ||v2|| and `of_change` ||V - v2|| / ||v2 - h||, over all tokens; `cosine` of the two
    blocks' inputs, which the paper chooses pairs by."""
    return _error(flat_stream(model, depth, x))


def _error(found: dict[str, Tensor]) -> dict[str, float]:
    gap, change = found["flat"] - found["serial"], found["serial"] - found["start"]
    return {"of_stream": float(gap.norm() / found["serial"].norm()), "of_change": float(gap.norm() / change.norm()),
            "cosine": mean_cosine(found["start"], found["between"])}


def flatten(model: HookedModel, depth: int, x: Inputs) -> tuple[HookedModel, Surgery]:
    """The model with the block at `depth` and the next one as one block of both widths; the next hands on its stream.

    `x` is an input on which the new block is checked against `flat_stream`: a block with something that depends on
    the number of heads (ALiBi) or mixes them is found out and refused. The report has `flattening_error`'s numbers.
    Repeated on its own result, longer runs of blocks are joined. Raises BadInput for a block whose projections are
    fused, shared or not linear, RequiresResidualStream for one that does more than add.
    """
    first, second = pair_at(model, depth)
    expected = flat_stream(model, depth, x)
    one, two = linears(model, first), linears(model, second)
    if one.reads.keys() != two.reads.keys() or one.writes.keys() != two.writes.keys():
        raise BadInput(f"{first.prefix} and {second.prefix} of {model.name} are blocks of two kinds")
    flat = without(shared_copy(model), [second.prefix])
    _side_by_side(model, flat, one, two)
    heads = [model.site(f"{b.prefix}.attn.hook_q").heads for b in (first, second) if "attn.hook_q" in one.reads]
    set_heads(flat, first.prefix, sum(heads) / heads[0] if heads else 1)
    if not _computes(flat, x, first.resid_post, expected["flat"]):
        raise BadInput(f"{first.prefix} of {model.name} has parts between its projections and its stream that depend "
                       "on the number of heads or scale its writes, so two of them are not one of twice the width")
    return flat, compared("flatten", model, flat, (first.prefix, second.prefix), **_error(expected))


def _computes(flat: HookedModel, x: Inputs, site: str, expected: Tensor) -> bool:
    """Whether the new block makes what it should; one that cannot even run on that many heads does not."""
    try:
        got = flat.read(x, site)[site]
    except RuntimeError:  # torch's word for sizes that do not fit
        return False
    return float((got - expected).norm() / expected.norm()) <= _SAME


def flatten_most_similar(model: HookedModel, n: int, x: Inputs) -> tuple[HookedModel, list[Surgery]]:
    """`n` times the adjacent pair whose inputs have the largest mean cosine, each chosen on the model so far."""
    reports = []
    for _ in range(n):
        blocks = live_blocks(model)
        cache = model.read(x, [b.resid_pre for b in blocks])
        pairs = {int(a.prefix.rpartition(".")[2]): mean_cosine(cache[a.resid_pre], cache[b.resid_pre])
                 for a, b in zip(blocks, blocks[1:])}
        if not pairs:
            raise BadInput(f"{model.name} has one block left, so no pair to flatten")
        model, report = flatten(model, max(pairs, key=pairs.get), x)
        reports.append(report)
    return model, reports


def _side_by_side(model: HookedModel, flat: HookedModel, one: Linears, two: Linears) -> None:
    """The maps of both blocks in the first one's modules of `flat`."""
    for name, path in one.reads.items():
        weights, biases = zip(*(folded(model, part, name) for part in (one, two)))
        set_linear(flat, path, torch.cat(weights), torch.cat(biases))
    for norm in one.norms.values():
        plain_norm(flat, norm)
    for name, path in one.writes.items():
        parts = [model.module.get_submodule(p) for p in (path, two.writes[name])]
        biases = [p.bias.detach() for p in parts if p.bias is not None]
        set_linear(flat, path, torch.cat([p.weight.detach() for p in parts], 1), sum(biases) if biases else None)
