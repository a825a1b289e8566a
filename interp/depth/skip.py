"""Skip effects: how much every later block, and the output, change when one is left out.

    E[s, l] = || c_l - c_l without s || / || c_l ||          c_l what block l writes, per token

    current   s is skipped everywhere, all tokens are measured
    future    s is skipped before a token t, tokens from t on are measured: what the past hands on to the future
    past      s is skipped from t on, tokens before t are measured: exactly 0 in a causal model, or its mask leaks
    local     every later block gets its clean input but for what s wrote: effects that no block in between passes on

Maxima over tokens (the paper's choice, ruled by outliers) and means are both kept, a prompt at a time. The prefix is
shared: a model of L blocks takes L / 2 + 2 forwards. Surprises: effects are not bounded by 1; `current` is usually but
not always above `future`; a skipped block of a state-space mixer writes nothing, its state goes on.

Paper: Csordas et al. 2025, "Do language models use their depth efficiently?", arXiv 2505.13898, section 4.
"""

from collections.abc import Sequence
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from interp.depth import engine
from interp.depth.engine import BUDGET, Edit, Runs
from interp.depth.skip_result import SkipEffects
from interp.hooks import HookedModel
from interp.hooks.baselines import rows as input_rows
from interp.hooks.contributions import carry
from interp.hooks.sitemap import Block
from interp.lens.stream import Positions, chosen, points, real_tokens, stream_blocks
from interp.results.errors import BadInput
from interp.results.progress import progress

Mode = Literal["current", "future", "past", "local"]
Unit = Literal["block", "branch"]


def skip_effects(
    model: HookedModel, x: Any, mode: Mode = "current", *, unit: Unit = "block", split: int | None = None,
    keep_first: bool = True, positions: Positions = 8, clusters: Sequence | None = None, budget: int = BUDGET,
) -> SkipEffects:
    """Leave out every block (or every branch) in turn and measure what changes.

    `split` is t, counted from each row's first real token (default: half of the shortest row); `keep_first` leaves the
    first token as it is and unmeasured (it often holds an attention sink, without which everything changes).
    `positions` are where the output is compared, as in `logit_lens`; where the mode measures none of them, the tokens
    that it measures do. `budget` bounds the bytes held. Raises BadInput for another mode or a split outside a row,
    RequiresResidualStream as `stream_blocks`.
    """
    if mode not in get_args(Mode) or unit not in get_args(Unit):
        raise BadInput(f"mode is {mode!r} and unit {unit!r}; modes are {', '.join(get_args(Mode))}, units "
                       f"{', '.join(get_args(Unit))}")
    blocks = stream_blocks(model)
    names = [b.prefix for b in blocks] if unit == "block" else [w for b in blocks for s in b.steps for w in s.writes]
    held = 4 * len(points(model)) + 3 * len(engine.contribution_sites(model, blocks))
    first = points(model)[0]
    real = real_tokens(model, x, model.read(x, first)[first])
    masks = _masks(real, mode, split, keep_first, positions)
    found = [
        _part(model, input_rows(x, part), mode, names, blocks, tuple(mask[part] for mask in masks))
        for part in engine.parts_within(model, x, held, budget)
    ]
    tensors = [torch.cat([f[i] for f in found], -1) for i in range(4)]
    batch = tensors[0].shape[-1]
    forwards = sum(f[4] * f[0].shape[-1] for f in found) / batch
    return SkipEffects(model.name, mode, names, [b.prefix for b in blocks], *tensors, engine.output_unit(model),
                       forwards, clusters)


@torch.no_grad()
def _part(model, x, mode, names, blocks, masks: tuple[Tensor, Tensor, Tensor]) -> tuple:
    """(largest, mean, output_largest, output_mean, forwards) of one slice of the prompts."""
    where, counted, at = masks
    runs = Runs(model, x, _reads(model, blocks), at)
    if mode in ("future", "past") and runs.output.shape[1] != at.shape[1]:
        raise BadInput(f"the output of {model.name} has other positions than its stream, so it has no tokens before or "
                       f"behind a split: {mode} effects are not defined; ask for current or local ones")
    clean = [engine.written(model, runs.clean, block) for block in blocks]
    n, m, batch = len(names), len(blocks), len(at)
    largest, mean = torch.zeros(n, m, batch), torch.zeros(n, m, batch)
    outputs = torch.zeros(2, n, batch)
    measured_at = counted.gather(1, at)
    for i, name in enumerate(progress(names, f"skipping ({mode})")):
        own = next(j for j, block in enumerate(blocks) if name == block.prefix or name.startswith(f"{block.prefix}."))
        start = runs.order[blocks[own].prefix]
        edit = engine.skip(model, name, where)
        if mode == "local":
            edit += _without_locally(model, runs.clean, blocks, own, name, where)
        values, output = runs.edited(start, edit)
        for j in range(own, m):
            now = engine.written(model, runs.clean | values, blocks[j])
            if name == blocks[j].prefix:  # what its norms and gates would make of nothing is not written either
                now = torch.where(where[..., None].to(now.device), 0, now)
            largest[i, j], mean[i, j] = _over(engine.relative_change(clean[j], now).cpu(), counted)
        moved = engine.output_change(model, runs.output, output).cpu()
        outputs[0, i], outputs[1, i] = _over(moved, measured_at if moved.shape == at.shape else torch.ones_like(
            moved, dtype=torch.bool))
    return largest, mean, outputs[0], outputs[1], runs.forwards


def _reads(model, blocks: list[Block]) -> list[str]:
    streams = [*(b.resid_pre for b in blocks), blocks[-1].resid_post]
    return list(dict.fromkeys([*streams, *engine.contribution_sites(model, blocks)]))


def _over(values: Tensor, counted: Tensor) -> tuple[Tensor, Tensor]:
    """(largest, mean) over the counted tokens of each row."""
    values = torch.where(counted, values, 0)
    return values.amax(1), values.sum(1) / counted.sum(1).clamp(min=1)


def _masks(real: Tensor, mode: str, split, keep_first: bool, positions) -> tuple[Tensor, Tensor, Tensor]:
    """(where to skip, what to measure) [batch, pos], and where to read the output [batch, n]."""
    place = real.cumsum(1) - 1
    inside = real & (place >= 1) if keep_first and int(real.sum(1).min()) > 1 else real
    at = chosen(real, positions)
    if mode in ("current", "local"):
        return inside, inside, at
    shortest = int(real.sum(1).min())
    t = max(1 + keep_first, shortest // 2) if split is None else split
    if not 1 + keep_first <= t < shortest:
        raise BadInput(f"the split is {t}; the shortest row has {shortest} tokens, so it lies between {1 + keep_first} "
                       f"and {shortest - 1}")
    before, after = inside & (place < t), inside & (place >= t)
    where, counted = (before, after) if mode == "future" else (after, before)
    if not counted.gather(1, at).any(1).all():  # read the output where something is measured
        n = min(at.shape[1], int(counted.sum(1).min()))
        at = counted.int().argsort(1, descending=True, stable=True)[:, :n]
    return where, counted, at


def _without_locally(model, clean, blocks: list[Block], own: int, name: str, where: Tensor) -> Edit:
    """Handlers that give every block behind `own` its clean input but for what `name` wrote at `where`, and the output
    likewise. The written term is carried through the norms and gates in between as they were in the clean run.
    """
    term = _term(model, clean, blocks[own], name)
    term = torch.where(where[..., None].to(term.device), term, 0)
    edit: Edit = []
    for block in blocks[own + 1 :]:
        edit += engine.replace(block.resid_pre, clean[block.resid_pre] - term)
        stream, _, depth = block.prefix.rpartition("blocks.")
        term = carry(model, clean, int(depth), term, stream.rstrip(".") or None)
    return [*edit, *engine.replace(blocks[-1].resid_post, clean[blocks[-1].resid_post] - term)]


def _term(model, clean, block: Block, name: str) -> Tensor:
    """What a block, or one of its branches, put into the stream behind it."""
    stream, _, depth = block.prefix.rpartition("blocks.")
    terms = model.contributions(clean, int(depth), stream.rstrip(".") or None)
    if name == block.prefix:
        kept = carry(model, clean, int(depth), clean[block.resid_pre], stream.rstrip(".") or None)
        # a skipped block hands its input on unchanged, which behind a norm differs from keeping its kept part
        return sum(terms.values()) + kept - clean[block.resid_pre]
    return terms[name[len(block.prefix) + 1 :].replace("hook_", "")]
