"""One engine for taking a part of a model's depth away: skip, erase, drop, flatten are edits of the stream.

An *edit* is a list of hook handlers. A block is skipped by writing nothing and leaving its stream as it came; a branch
by writing zero. `Runs` makes one clean forward and then edited ones that start at the first block they touch, so that
skipping every block in turn costs half a forward a block. Surprise: the block itself is run, its writes thrown away,
since some blocks hand on more than the stream (the ladder's late one) and that must be skipped too.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from interp.effects.skip import CleanRun
from interp.effects.sources import fold
from interp.hooks import HookedModel, Site
from interp.hooks.baselines import rows as input_rows
from interp.hooks.firing import Handler, Stop
from interp.lens.head import gathered, pick
from interp.results.errors import BadInput, RequiresResidualStream, nearest

Edit = list[tuple[str, Handler]]
BUDGET = 1 << 30
"""Bytes of activations that one pass may hold, unless another budget is given."""


def skip(model: HookedModel, name: str, where: Tensor | None = None) -> Edit:
    """Leave out a block (`blocks.3`) or one branch (`blocks.3.hook_attn_out`), at the positions `where` [batch, pos].

    A skipped block writes nothing and hands on the stream it received; in a block that does more than add (a norm
    behind the sum, a gate) that is not the same as writing zero, which is what a skipped branch does everywhere.
    Raises BadInput for a name that is neither, RequiresResidualStream for a block without an equation.
    """
    if name in model.map.writes:
        return [(name, lambda value, site: _put(torch.zeros((), dtype=value.dtype, device=value.device), value, where))]
    if name not in model.map.blocks:
        raise BadInput(f"{model.name} has no block or branch {name!r}."
                       + nearest(name, [*model.map.blocks, *model.map.writes]))
    block = model.map.blocks[name]
    if not block.steps:
        raise RequiresResidualStream(f"{model.name} declares no equation for {name}, so it cannot be skipped")
    came: dict[str, Tensor] = {}

    def remember(value: Tensor, site: Site) -> None:
        came["stream"] = value

    def hand_on(value: Tensor, site: Site) -> Tensor:
        if value.shape != came["stream"].shape:
            raise RequiresResidualStream(f"{name} of {model.name} turns {list(came['stream'].shape)} into "
                                         f"{list(value.shape)}: it cannot be skipped")
        return _put(came["stream"], value, where)

    writes = [write for step in block.steps for write in step.writes]
    silent = [pair for write in writes for pair in skip(model, write, where)]
    return [(block.resid_pre, remember), *silent, (block.resid_post, hand_on)]


def replace(site: str, new: Tensor, where: Tensor | None = None) -> Edit:
    """Put `new` (broadcast to the site) there, at the positions `where` [batch, pos]."""
    return [(site, lambda value, at: _put(new.to(value), value, where))]


def _put(new: Tensor, value: Tensor, where: Tensor | None) -> Tensor:
    if where is None:
        return new.expand_as(value).clone()
    return torch.where(where.to(value.device).reshape(*where.shape, *[1] * (value.dim() - 2)), new, value)


class Runs:
    """One clean forward of `x`, and edited ones that start late.

    `keep` are the sites whose values every run gives back; `positions` [batch, n] (absolute) where the output is read,
    None for all. `clean` holds the clean values, `output` the clean output there. `forwards` counts what was run, in
    forwards of the whole batch's blocks.
    """

    def __init__(self, model: HookedModel, x, keep: Sequence[str] = (), positions: Tensor | None = None,
                 starts: Sequence[int] | None = None):
        self.model, self.x, self.keep, self.positions = model, x, list(keep), positions
        self.order = {prefix: i for i, prefix in enumerate(model.map.blocks)}
        self.batch, self.forwards = model.batch_of(x)[0], 1.0
        self._run = CleanRun(model, set(range(1, len(self.order) + 1)) if starts is None else set(starts))
        self._run.early.clear()  # projections of every block would be kept, to save what skipping does not need saved
        self.clean: dict[str, Tensor] = {}
        with torch.no_grad(), model.firing(_keeping(self.keep, self.clean)), self._run.recording():
            with gathered(model, positions):
                self.output = self._picked(model(x), positions)

    def edited(
        self, start: int, edit: Edit, *, times: int = 1, keep: Sequence[str] | None = None, output: bool = True,
    ) -> tuple[dict[str, Tensor], Tensor | None]:
        """({site: value}, output) of a forward whose blocks below `start` are looked up, with `edit`.

        `keep` are sites at or behind `start` (default: those of the clean run that are). With `times`, the batch is
        folded that often (edit major) and an edit's `where` is of the folded batch. Without `output` the forward ends
        at the last kept site. Gradients flow where they are on.
        """
        names = [name for name in (self.keep if keep is None else keep) if self.at(name) >= start]
        found: dict[str, Tensor] = {}
        positions = None if self.positions is None else self.positions.repeat(times, 1)
        stop = not output and bool(names)
        with self.model.firing([*edit, *_keeping(names, found)], stop=stop) as firing:
            with self._run.skipping(start, times, self.batch, firing), gathered(self.model, positions):
                try:
                    read = self._picked(self.model(fold(self.x, times)), positions)
                except Stop:
                    read = None
        self.forwards += times * (len(self.order) - start) / len(self.order)
        return found, read if output else None

    def at(self, name: str) -> int:
        """Index of the block that a site belongs to; behind the last for the output."""
        site = self.model.site(name)
        behind = name == "output" or name.startswith("ln_final.")
        return self.order.get(site.prefix[:-1], len(self.order) if behind else -1)

    def _picked(self, output: Tensor, positions: Tensor | None) -> Tensor:
        return pick(output, None if self.model.map.unembed is not None else positions)


def _keeping(names: Sequence[str], into: dict[str, Tensor]) -> Edit:
    def keep(value: Tensor, site: Site) -> None:
        into[site.name] = value

    return [(name, keep) for name in names]


def parts_within(model: HookedModel, x, held: int, budget: int) -> list[slice]:
    """Slices of the batch, so that a pass that holds `held` streams [batch, pos, d_model] stays within `budget` bytes.

    Streams are measured on one row, run to its first block. A row that alone does not fit gets a slice of its own.
    Raises BadInput for a budget that is not positive.
    """
    if budget <= 0:
        raise BadInput(f"the budget is {budget} bytes; it must be positive")
    batch = model.batch_of(x)[0]
    first = next(iter(model.map.blocks.values())).resid_pre
    one = model.read(input_rows(x, slice(0, 1)), first)[first]
    rows = max(1, int(budget // max(1, held * one.numel() * one.element_size())))
    return [slice(start, min(start + rows, batch)) for start in range(0, batch, rows)]


def output_change(model: HookedModel, clean: Tensor, edited: Tensor) -> Tensor:
    """How far an output moved, [batch, position]: the L2 distance of the two distributions (at most sqrt 2) where the
    model unembeds, else the relative distance of its features."""
    if model.map.unembed is not None:
        return (clean.float().softmax(-1) - edited.float().softmax(-1)).norm(dim=-1)
    return relative_change(clean, edited)


def relative_change(clean: Tensor, edited: Tensor) -> Tensor:
    """||clean - edited|| / max(||clean||, 1e-6) over the last axis."""
    return (clean - edited).float().norm(dim=-1) / clean.float().norm(dim=-1).clamp(min=1e-6)


def output_unit(model: HookedModel) -> str:
    """The unit of `output_change`."""
    return "L2 of probabilities" if model.map.unembed is not None else "share of the output's norm"


def contribution_sites(model: HookedModel, blocks) -> list[str]:
    """What a cache must hold for `written` of these blocks."""
    found: Mapping[str, None] = {}
    for block in blocks:
        for step in block.steps:
            norm = [] if step.norm is None else [step.norm.scale]
            reads = [] if isinstance(step.keep, float | int) else list(step.keep.reads)
            found |= dict.fromkeys([*step.writes, *norm, *reads])
    return [name for name in model.map.sites if name in found]


def written(model: HookedModel, cache: Mapping[str, Tensor], block) -> Tensor:
    """What a block adds to the stream it keeps, [batch, pos, d_model]: its contributions, summed."""
    stream, _, depth = block.prefix.rpartition("blocks.")
    return sum(model.contributions(cache, int(depth), stream.rstrip(".") or None).values())
