"""The decomposed engine: `Decomposed(total, relevant)` flows through the model's unmodified forward.

`relevant` has an append-only leading axis of sources: row k is the part of the value that counts as due to one source,
the rest (`total - relevant[k]`) is irrelevant to it. Torch functions are sorted into linear, affine, products and
nonlinear (`effects/decomposed_table.py`); norms, attention, activations and scans come declared (`hooks/semantic.py`).
An operation that would lose the relevant part raises and names itself. Paper: Hsu 2024 (2407.00886), rules in `RULES`.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor

from interp.effects.decomposed_tensor import Decomposed, grow, masked, parts
from interp.effects.decomposition_rules import CDT, CDT_PUBLISHED, LOCAL_SHAPLEY, DecompositionRules, active_rules
from interp.effects.patched import BUDGET, Clean, chunks, clean_run
from interp.effects.reading import Reader
from interp.effects.skip import default_rows
from interp.effects.sources import Groups, check_finite
from interp.hooks import HookedModel, Site
from interp.hooks.firing import Stop
from interp.hooks.semantic import use_rules
from interp.results.progress import progress

RULES: dict[str, DecompositionRules] = {
    "cdt": CDT, "cdt-published": CDT_PUBLISHED, "local-shapley": LOCAL_SHAPLEY,
}
# where the published code gives each entry to the larger part: after each MLP projection and at the block's end
SIGN_NORMALISED = ("mlp.hook_pre", "mlp.hook_pre_linear", "hook_mlp_out", "hook_resid_post")


@dataclass
class _Run:
    """One decomposed forward of some of the groups: what is injected, what is read.

    `row` says which row of the relevant parts belongs to which group: rows are given in the order of injection.
    """

    model: HookedModel
    x: object
    rules: DecompositionRules
    members: list[int]
    groups: Groups
    clean: Clean
    base: dict[str, Tensor]
    row: dict[int, int] = field(default_factory=dict)

    def __post_init__(self):
        # an epsilon that is not the model's changes totals from the first norm on: there is nothing clean to skip to
        own = self.rules.norm_eps is None
        self.start = min(self.groups.starts[i] for i in self.members) if own else 0
        self.below = not_shown(self.model, self.clean, self.start)

    def parts_of(self, value: Tensor) -> tuple[Tensor, Tensor]:
        """(total, relevant [member, ...]) of what was read; a source that was not met has nothing relevant in it."""
        value = parts(value)
        r = grow(value.relevant, len(self.row) + 1)  # the last row is nobody's: zeros
        return value.total, r[[self.row.get(i, -1) for i in self.members]]

    def read(self, targets: Sequence[str]) -> dict[str, Tensor]:
        """Targets of the decomposed forward, which ends when the last is known; those below the start are left out."""
        seen: dict[str, Tensor] = {}
        pending = {t for t in targets if t not in self.below}

        def keep(value: Tensor, site: Site) -> None:
            # a value of its own: an in-place operation later on changes the model's
            own = isinstance(value, Decomposed)
            seen[site.name] = Decomposed(value.total, value.relevant) if own else value.clone()
            pending.discard(site.name)
            if not pending:
                raise Stop

        if pending:  # a skipped block shows the last skipped one's output: targets there are not read
            with self._running([(t, keep) for t in pending]):
                try:
                    self.model(self.x)
                except Stop:
                    pass
        return seen

    def metric(self, reader: Reader) -> Tensor:
        """The metric of the decomposed output, itself decomposed."""
        with self._running([]), reader.gathering():
            output = self.model(self.x)
            return reader.metric.read(output[:, 0]) if reader.few else reader.metric(output)

    def _running(self, readers) -> ExitStack:
        with ExitStack() as stack:
            stack.enter_context(torch.no_grad())
            handlers = [*self._handlers(), *readers]
            firing = stack.enter_context(self.model.firing(handlers, open_roles=True))
            stack.enter_context(use_rules(self.rules))
            stack.enter_context(active_rules(self.rules))
            batch = self.model.batch_of(self.x)[0]
            stack.enter_context(self.clean.run.skipping(self.start, 1, batch, firing))
            firing.lenient = {name for name, _ in handlers if name in self.below}
            return stack.pop_all()

    def _handlers(self):
        """Entrance, injection and sign normalisation, in this order at every site; reading comes after them."""
        sites: dict[str, list[tuple[int, Tensor]]] = {}
        for index in self.members:
            for site, mask in self.clean.masks[index].items():
                sites.setdefault(site, []).append((index, mask))
        pairs = [(name, _enter) for name in _entrances(self.model)]
        pairs += [(name, partial(self._inject, entries)) for name, entries in sites.items()]
        if self.rules.sign_normalise:
            pairs += [(s.name, self._normalise) for s, _ in self.model.map.sites.values() if s.kind in SIGN_NORMALISED]
        return pairs

    def _inject(self, entries: list[tuple[int, Tensor]], value: Tensor, site: Site) -> Tensor:
        value, base = parts(value), self.base[site.name]
        rows = [self.row.setdefault(index, len(self.row)) for index, _ in entries]
        # a site computed once for all prompts (a position embedding) is given the prompts' axis by its sources
        shape = torch.broadcast_shapes(value.shape, base.shape, *(mask.shape for _, mask in entries))
        total, base = value.total.expand(shape), base.to(value.total)
        relevant = grow(value.relevant, max(rows) + 1)
        if shape != value.shape or relevant is value.relevant:
            relevant = relevant.expand(-1, *shape).clone()
        # exactly nothing where the source already is at its baseline, whatever the rounding of this forward
        nothing = (self.clean.values[site.name] == base) | masked(total)
        part = torch.where(nothing, 0, total - base)
        for row, (_, mask) in zip(rows, entries):
            relevant[row] = torch.where(mask, part, relevant[row])
        value = Decomposed(total, relevant)
        value.injected = [(row, mask) for row, (_, mask) in zip(rows, entries)]
        return value

    def _normalise(self, value: Tensor, site: Site) -> Tensor:
        return self.rules.normalise_sign(value) if isinstance(value, Decomposed) else value


def not_shown(model: HookedModel, clean: Clean, start: int) -> set[str]:
    """Sites that a forward starting at block `start` does not compute: those of skipped blocks, whose call returns the
    output of the last one of their stretch. Only that one's own output is what it should be."""
    blocks = list(model.map.blocks)
    skipped = {f"{prefix}." for prefix in blocks[:start]}
    last = {f"{blocks[i]}." for i in clean.run._ends(start).values()}
    return {
        site.name for site, _ in model.map.sites.values()
        if site.prefix in skipped and not (site.prefix in last and site.kind == "hook_resid_post")
    }


def _entrances(model: HookedModel) -> list[str]:
    """Sites where activations enter: from there on they are told from constants (parameters, masks, rotations).

    Without declared blocks that is every site: a gate is an activation though no source may reach it.
    """
    if not model.map.blocks:
        return [site.name for site, _ in model.map.sites.values() if site.name != "output"]
    stem = [name for name in (model.map.stem.writes if model.map.stem else ())]
    return stem + [name for b in model.map.blocks.values() if (name := b.resid_pre) in model.map.sites]


def _enter(value: Tensor, site: Site) -> Tensor:
    return parts(value)


def decompose_forward(
    model: HookedModel, x, groups: Groups, base: dict[str, Tensor], rules: str, targets: Sequence[str], *,
    rows: int | None = None,
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """({target: total}, {target: relevant [source, ...]}) under a decomposed rule set."""
    clean = clean_run(model, x, groups, None, targets)
    totals = dict(clean.targets)
    relevant = {t: v.new_zeros(len(groups), *v.shape) for t, v in totals.items()}
    for members in progress(_chunks(model, x, groups, rows, False), f"decomposing ({rules})"):
        run = _Run(model, x, RULES[rules], members, groups, clean, base)
        for t, value in run.read(targets).items():
            total, part = run.parts_of(value)
            check_finite(part, f"the part of {t} that is relevant ({rules})")
            totals[t] = total if total.numel() >= totals[t].numel() else totals[t]
            relevant[t] = put(relevant[t], members, part)
    return totals, relevant


def put(relevant: Tensor, rows: list[int], part: Tensor) -> Tensor:
    """`relevant` with these rows. A site computed once for all prompts is given their axis where a source lies in
    some of them."""
    if part[0].numel() > relevant[0].numel():
        relevant = relevant.expand(-1, *part.shape[1:]).clone()
    relevant[rows] = part
    return relevant


def decomposed_effects(
    model: HookedModel, x, groups: Groups, metric, bases: list[dict[str, Tensor]], rules: str, *,
    rows: int | None = None,
) -> tuple[Tensor, Tensor, dict[str, float]]:
    """(effects [source, batch], clean metric [batch], cost): the relevant part of the metric itself."""
    batch = model.batch_of(x)[0]
    reader = Reader(model, metric, batch, whole="output" in groups.sites)
    clean = clean_run(model, x, groups, reader)
    values = torch.zeros(len(groups), batch, dtype=clean.metric.dtype)
    count = 1.0
    for base in bases:
        for members in progress(_chunks(model, x, groups, rows, reader.few), f"decomposing ({rules})"):
            run = _Run(model, x, RULES[rules], members, groups, clean, base)
            _, part = run.parts_of(run.metric(reader))
            values[members] += check_finite(part, f"the decomposed metric ({rules})").to(values) / len(bases)
            count += 1 + len(members)
    return values, clean.metric, {"forwards": count, "rows": count * batch}


def _chunks(model: HookedModel, x, groups: Groups, rows: int | None, reads_few: bool) -> list[list[int]]:
    batch, n_pos = model.batch_of(x)
    return chunks(groups, max(1, (rows or default_rows(model, n_pos, BUDGET, reads_few)) // batch))
