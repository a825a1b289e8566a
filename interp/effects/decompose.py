"""`decompose`: the part of whole activations that is due to each source, under any rule set."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pandas as pd
import torch
from torch import Tensor

from interp.effects.decomposed import decompose_forward, not_shown, put
from interp.effects.linear_rules import DIRECT
from interp.effects.linearised import RULES as LINEAR_RULES
from interp.effects.linearised import leaf, linear_run, on_stream
from interp.effects.patched import BUDGET, clean_run, sweep
from interp.effects.rules import RuleSet, rule_set
from interp.effects.skip import default_rows
from interp.effects.sources import Group, Groups
from interp.hooks import Baseline, HookedModel, Lengths, Site, Source
from interp.hooks.baselines import resolve
from interp.results.errors import BadInput

if TYPE_CHECKING:
    import plotly.graph_objects as go


@dataclass(frozen=True, eq=False)
class Decomposition:
    """Relevant parts of targets.

    `relevant[target]` [source, *shape of the target], `total[target]` [*shape of the target]; a target with an index
    has the shape that is left (one head, one position). `total - relevant[k]` is what is not due to source k.
    """

    relevant: dict[str, Tensor]
    total: dict[str, Tensor]
    groups: list[tuple[Source, ...]]
    rules: RuleSet

    @property
    def labels(self) -> list[str]:
        return [" + ".join(s.label for s in group) for group in self.groups]

    def frame(self) -> pd.DataFrame:
        """One row a source and target: mean |relevant|, mean |irrelevant|, and the share of the first in their sum."""
        rows = []
        for target, relevant in self.relevant.items():
            for label, r in zip(self.labels, relevant):
                size, rest = float(r.abs().mean()), float((self.total[target] - r).abs().mean())
                share = size / (size + rest) if size + rest else 0.0
                rows.append({"source": label, "target": target, "relevant": size, "irrelevant": rest, "share": share})
        frame = pd.DataFrame(rows)
        frame.attrs["rules"] = self.rules.name
        return frame

    def figure(self) -> "go.Figure":
        """Share of each target due to each source, as a heatmap."""
        from interp.results import plots

        table = self.frame().pivot(index="source", columns="target", values="share").loc[self.labels]
        return plots.heatmap(table.to_numpy(), x=list(table.columns), y=list(table.index), diverging=False,
                             title=f"share due to each source ({self.rules.name})")

    def save(self, run) -> None:
        """Table, figure and tensors into a run directory."""
        run.save_views("decomposition", self)
        run.save_tensors({f"{kind}/{target}": value for kind, values in (("relevant", self.relevant),
                         ("total", self.total)) for target, value in values.items()})


def decompose(
    model: HookedModel, x, sources: Sequence[Group], targets: Sequence[str | Source] = ("output",), rules: str = "cdt",
    *, baseline: Baseline = "zero", rows: int | None = None, budget: int = BUDGET,
) -> Decomposition:
    """How much of each target is due to each source.

    Decomposed rule sets run their rules forward, "ablation" gives f(t) - f(i) by patched runs, linear rule sets the
    derivative under their rules times (clean - baseline). Targets are site names or `Source`s (a part of a site).
    Raises BadInput where the parts would need more than `budget` bytes, naming the size, and as `effects`.
    """
    chosen = rule_set(rules)
    if rules == "integrated":
        raise BadInput('"integrated" averages gradients of a scalar; decompose has no scalar. Use effects().')
    groups = Groups(model, sources)
    wanted = [t if isinstance(t, Source) else Source(str(t)) for t in targets]
    if not wanted:
        raise BadInput('no targets were given; targets=["output"] is the model\'s own output')
    names = list(dict.fromkeys(model.site(t.site).name for t in wanted))
    # one form of every operation for baselines, clean and decomposed runs: what a source does not change has equal bits
    with model.firing((), open_roles=True):
        _check(model, x, groups, wanted, names, budget)
        bases = resolve(model, list(groups.sites.values()), baseline, x)
        if chosen.engine == "linearised" and len(bases) > 1:
            bases = [{name: sum(b[name] for b in bases) / len(bases) for name in groups.sites}]
        found = [_by_engine(model, x, groups, base, chosen, names, rows) for base in bases]
    totals = found[0][0]
    relevant = {t: sum(parts[t] for _, parts in found) / len(found) for t in names}
    lengths = model.lengths(x)
    return Decomposition(
        {t.label: _part(relevant[t.site], model.site(t.site), t, lengths, 1) for t in wanted},
        {t.label: _part(totals[t.site], model.site(t.site), t, lengths, 0) for t in wanted},
        groups.groups, chosen,
    )


def _by_engine(model, x, groups, base, chosen: RuleSet, names, rows):
    if chosen.engine == "patched":
        return _patched(model, x, groups, base, names, rows)
    if chosen.engine == "linearised":
        return _linearised(model, x, groups, base, names, chosen.name)
    return decompose_forward(model, x, groups, base, chosen.name, names, rows=rows)


def _check(model, x, groups: Groups, wanted: list[Source], names: list[str], budget: int) -> None:
    """Raise BadInput for a target that is not there, or for parts over the budget, before any long work."""
    one = model.read(x, names)
    for target in wanted:
        if isinstance(target.pos, slice):
            raise BadInput(f"target {target.label}: a target's position is an int or one int per prompt")
        site = model.site(target.site)
        if target.pos is not None and (site.axes[0] != "batch" or one[target.site].shape[0] != model.batch_of(x)[0]):
            raise BadInput(f"target {target.label}: the rows of {site.name!r} are no prompts (its axes: "
                           f"{' '.join(site.axes)}); ask for the whole site")
        target.mask(site, one[target.site], model.lengths(x))
    size = len(groups) * sum(v.numel() * v.element_size() for v in one.values())
    if size > budget:
        raise BadInput(
            f"the parts of {', '.join(names)} for {len(groups)} sources need {_bytes(size)}, the budget is "
            f"{_bytes(budget)}; ask for fewer sources, a smaller target, or raise budget="
        )


def _bytes(size: int) -> str:
    unit, name = next((u, n) for u, n in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1, "bytes")) if size >= u or u == 1)
    return f"{size / unit:.4g} {name}"


def _part(value: Tensor, site: Site, index: Source, lengths: Lengths, lead: int) -> Tensor:
    """The indexed part of a target, `lead` axes before the site's own."""
    axes = list(range(lead, lead + len(site.axes)))
    if index.unit is not None:
        value = value.select(-1, index.unit)
    if index.pos is not None:
        axis = site.pos_axis + lead
        mask = lengths.along(site, value[0] if lead else value).absolute(index.pos)
        at = mask.int().argmax(1).to(value.device)
        value = value.movedim((lead, axis), (0, 1))[torch.arange(len(at), device=value.device), at]
        value = value.movedim(0, lead)
        axes.remove(axis)
    if index.head is not None:
        value = value.select(axes.index(site.head_axis + lead) + lead, index.head)
    return value


def _patched(model, x, groups, base, names, rows):
    clean = clean_run(model, x, groups, None, names)
    batch, n_pos = model.batch_of(x)
    rows = rows or default_rows(model, n_pos, BUDGET, False)
    relevant = {t: v.new_zeros(len(groups), *v.shape) for t, v in clean.targets.items()}
    for start in sorted(set(groups.starts)):
        members = [i for i, s in enumerate(groups.starts) if s == start]
        above = [t for t in names if t not in not_shown(model, clean, start)]  # no source touches what lies below it
        part = replace(clean, masks=[clean.masks[i] for i in members])
        runs = sweep(model, x, groups.subset(members), base, part, rows=rows, reader=None, targets=above)
        for chunk, _, seen in runs if above else ():
            for t in above:
                patched = seen[t].unflatten(0, (len(chunk), -1)) if len(seen[t]) >= len(chunk) else seen[t][None]
                part = clean.targets[t] - patched  # a site computed once for all prompts has no rows of its own
                relevant[t] = put(relevant[t], [members[i] for i in chunk], part)
    return clean.targets, relevant


def _linearised(model, x, groups, base, names, rules: str):
    """J (clean - baseline) for every source: the vector-Jacobian product is linear in its vector, and its own
    derivative by that vector is the Jacobian-vector product."""
    kept: dict[str, Tensor] = {}
    raw: dict[str, Tensor] = {}
    leaves: dict[str, Tensor] = {}
    seen: dict[str, Tensor] = {}
    sites = list(groups.sites)
    batch = model.batch_of(x)[0]
    writes = model.map.writes if rules == "direct" else []

    def cut(value: Tensor, site: Site) -> Tensor:
        raw[site.name] = value
        leaves[site.name] = value.detach().requires_grad_()
        return leaves[site.name]

    def keep(value: Tensor, site: Site) -> None:
        seen[site.name] = value

    handlers = [(s, leaf(kept, batch)) for s in sites if s not in writes] + [(w, cut) for w in writes]
    rule = DIRECT if rules == "direct" else LINEAR_RULES[rules]
    # a target that is a write shows what its component computed, not the leaf that stands for it
    with linear_run(model, rule, [*((t, keep) for t in names if t in writes), *handlers,
                                  *((t, keep) for t in names if t not in writes)], open_roles=True):
        model(x)
        here = {s: (leaves[s] if s in writes else kept[s]) for s in sites}
        masks = groups.masks({s: v.detach() for s, v in here.items()}, model.lengths(x))
        stream = {s for s in sites if on_stream(model, s)}
        relevant = {}
        for t in names:
            relevant[t] = _jvp(seen[t], here, raw, leaves, writes, stream, groups, masks, base)
    return {t: seen[t].detach() for t in names}, relevant


def _jvp(target: Tensor, here, raw, leaves, writes, stream, groups: Groups, masks, base) -> Tensor:
    if not target.requires_grad:
        return torch.zeros(len(groups), *target.shape, dtype=target.dtype)
    u = torch.zeros_like(target, requires_grad=True)
    pull = _pull(target, u, here, raw, leaves, writes, stream)
    rows = []
    for removed in masks:
        outs, vectors = [], []
        for name, mask in removed.items():
            if pull[name] is not None and pull[name].requires_grad:
                difference = here[name].detach() - base[name].to(here[name])
                outs.append(pull[name])
                vectors.append(torch.where(mask, difference, 0))
        if not outs:
            rows.append(torch.zeros_like(target))
            continue
        (row,) = torch.autograd.grad(outs, [u], vectors, retain_graph=True, allow_unused=True)
        rows.append(torch.zeros_like(target) if row is None else row)
    return torch.stack(rows).detach()


def _pull(target, u, here, raw, leaves, writes, stream) -> dict[str, Tensor | None]:
    """Cotangents of the sources as functions of the target's cotangent `u`."""
    if not writes:
        grads = torch.autograd.grad(target, list(here.values()), u, create_graph=True, allow_unused=True)
        return dict(zip(here, grads))
    ends = [leaves[w] for w in writes]
    others = [s for s in here if s not in leaves]
    grads = torch.autograd.grad(target, ends + [here[s] for s in others], u, create_graph=True, allow_unused=True)
    of = dict(zip([*writes, *others], grads))
    live = [w for w in writes if of[w] is not None and raw[w].requires_grad]
    if live and others:
        through = torch.autograd.grad(
            [raw[w] for w in live], [here[s] for s in others], [of[w] for w in live], create_graph=True,
            allow_unused=True,
        )
        for s, g in zip(others, through):
            of[s] = of[s] if s in stream else _sum(of[s], g)
    return {s: of[s] for s in here}


def _sum(a: Tensor | None, b: Tensor | None) -> Tensor | None:
    return b if a is None else a if b is None else a + b
