"""The decomposed engine: `Decomposed(total, relevant)` flows through the model's unmodified forward.

`relevant` has an append-only leading axis of sources: row k is the part of the value that counts as due to source k, the
rest (`total - relevant[k]`) is irrelevant to it. Torch functions are sorted into linear, affine, products and nonlinear
(`effects/decomposed_ops.py`); norms, attention, activations and scans come declared (`hooks/semantic.py`). An operation
that would lose the relevant part raises and names itself. Paper: Hsu 2024 (2407.00886), rules in `RULE_SETS`.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import torch
from torch import Tensor

from interp.effects.decomposed_tensor import Decomposed, grow
from interp.effects.decomposition_rules import (
    CDT,
    CDT_PUBLISHED,
    LOCAL_SHAPLEY,
    DecompositionRules,
    active_rules,
    parts,
)
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
    """One decomposed forward: its sources in execution order, what is injected, what is read."""

    model: HookedModel
    x: object
    rules: DecompositionRules
    order: list[int]
    groups: Groups
    clean: Clean
    base: dict[str, Tensor]

    def handlers(self, targets: Sequence[str], seen: dict):
        """Injection, sign normalisation and reading, in this order at every site."""
        pairs = [(name, _enter) for name in _entrances(self.model)]
        pairs += [(site, self._inject) for site in self._rows()]
        if self.rules.sign_normalise:
            sites = self.model.map.sites.values()
            pairs += [(s.name, _sign_normalise) for s, _ in sites if s.kind in SIGN_NORMALISED]

        def keep(value: Tensor, site: Site) -> None:
            seen[site.name] = value

        return [*pairs, *((t, keep) for t in targets)]

    def _rows(self) -> dict[str, list[tuple[int, Tensor]]]:
        rows: dict[str, list[tuple[int, Tensor]]] = {}
        for row, index in enumerate(self.order):
            for site, mask in self.clean.masks[index].items():
                rows.setdefault(site, []).append((row, mask))
        return rows

    def _inject(self, value: Tensor, site: Site) -> Tensor:
        entries = self._rows()[site.name]
        total = value.total if isinstance(value, Decomposed) else value
        before = value.relevant if isinstance(value, Decomposed) else total.new_zeros(0, *total.shape)
        relevant = grow(before, max(row for row, _ in entries) + 1).clone()
        part = total - self.base[site.name].to(total)
        for row, mask in entries:
            relevant[row] = torch.where(mask, part, relevant[row])
        return Decomposed(total, relevant)

    def forward(self, targets: Sequence[str], reader: Reader | None):
        """(metric or None, {target: value}) of the decomposed forward."""
        seen: dict[str, Tensor] = {}
        start, batch = min(self.groups.starts[i] for i in self.order), self.model.batch_of(self.x)[0]
        metric = None
        with ExitStack() as stack:
            stack.enter_context(torch.no_grad())
            # targets end the forward early; sign normalisation must not keep it going
            handlers = self.handlers(targets, seen)
            firing = stack.enter_context(self.model.firing(handlers, open_roles=True))
            stack.enter_context(use_rules(self.rules))
            stack.enter_context(active_rules(self.rules))
            stack.enter_context(self.clean.run.skipping(start, 1, batch, firing))
            firing.lenient = {name for name, _ in handlers if _skipped(self.model, name, start)}
            if reader is None:
                try:
                    self.model(self.x)
                except Stop:
                    pass
            else:
                with reader.gathering():
                    output = self.model(self.x)
                    metric = (reader.metric.read(output[:, 0]) if reader.few else reader.metric(output))
        return metric, seen


def _entrances(model: HookedModel) -> list[str]:
    """Sites where activations enter: from there on they are told from constants (parameters, masks, rotations)."""
    stem = [name for name in (model.map.stem.writes if model.map.stem else ())]
    return stem + [name for b in model.map.blocks.values() if (name := b.resid_pre) in model.map.sites]


def _enter(value: Tensor, site: Site) -> Tensor:
    return parts(value)


def _skipped(model: HookedModel, name: str, start: int) -> bool:
    site = model.site(name)
    blocks = list(model.map.blocks)
    return site.depth is not None and f"{site.prefix[:-1]}" in blocks[:start]


def _sign_normalise(value: Tensor, site: Site) -> Tensor:
    """Where relevant and irrelevant part differ in sign, the larger one takes the sum and the other becomes 0."""
    if not isinstance(value, Decomposed):
        return value
    r, i = value.relevant, value.total - value.relevant
    opposed = r * i < 0
    relevant = torch.where(opposed, torch.where(r.abs() > i.abs(), value.total.expand_as(r), 0), r)
    return Decomposed(value.total, relevant)


def _parts(value: Tensor, rows: int) -> tuple[Tensor, Tensor]:
    """(total, relevant with all rows) of what was read; a plain value has nothing relevant."""
    if isinstance(value, Decomposed):
        return value.total, grow(value.relevant, rows)
    return value, value.new_zeros(rows, *value.shape)


def decompose_forward(
    model: HookedModel, x, groups: Groups, base: dict[str, Tensor], rules: str, targets: Sequence[str], *,
    rows: int | None = None,
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """({target: total}, {target: relevant [source, ...]}) under a decomposed rule set."""
    clean = clean_run(model, x, groups, None, targets)
    relevant: dict[str, list[Tensor]] = {t: [None] * len(groups) for t in targets}
    totals: dict[str, Tensor] = {}
    for order in _orders(model, x, groups, rows):
        _, seen = _Run(model, x, RULES[rules], order, groups, clean, base).forward(targets, None)
        for t in targets:
            totals[t], part = _parts(seen.get(t, clean.targets[t]), len(order))
            for row, index in enumerate(order):
                relevant[t][index] = part[row]
    return totals, {t: torch.stack(r) for t, r in relevant.items()}


def decomposed_effects(
    model: HookedModel, x, groups: Groups, metric, bases: list[dict[str, Tensor]], rules: str, *,
    rows: int | None = None,
) -> tuple[Tensor, Tensor, dict[str, float]]:
    """(effects [source, batch], clean metric [batch], cost): the relevant part of the metric itself."""
    batch = model.batch_of(x)[0]
    reader = Reader(model, metric, batch)
    clean = clean_run(model, x, groups, reader)
    values = torch.zeros(len(groups), batch, dtype=clean.metric.dtype)
    count = 1.0
    for base in bases:
        for order in progress(_orders(model, x, groups, rows), f"decomposing ({rules})"):
            found, _ = _Run(model, x, RULES[rules], order, groups, clean, base).forward((), reader)
            _, part = _parts(found, len(order))
            values[order] += check_finite(part, f"the decomposed metric ({rules})") / len(bases)
            count += 1 + len(order)
    return values, clean.metric, {"forwards": count, "rows": count * batch}


def _orders(model: HookedModel, x, groups: Groups, rows: int | None) -> list[list[int]]:
    """Chunks of group indices in execution order of their first site."""
    batch, n_pos = model.batch_of(x)
    per = max(1, (rows or default_rows(model, n_pos, BUDGET, True)) // batch)
    place = {name: i for i, name in enumerate(model.map.sites)}
    first = [min(place[s.site] for s in group) for group in groups.groups]
    return [sorted(chunk, key=lambda i: (groups.starts[i], first[i])) for chunk in chunks(groups, per)]
