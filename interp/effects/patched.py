"""The patched engine: exact effects, sources x prompts folded into the batch axis of the model's own forward.

Sources are injected by hooks, blocks below the first source are replaced by what they returned in the clean run, and
the unembedding is computed only where the metric reads, for many sources at once. Right for routing, in-place code and
any kernel. Its oracle is a plain loop at batch 1 (tests/effects).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from interp.effects.reading import Reader
from interp.effects.skip import CleanRun, default_rows
from interp.effects.sources import Groups, check_clean, check_finite, check_fit, fold
from interp.hooks import HookedModel, Site
from interp.hooks.firing import Stop
from interp.results.progress import progress

BUDGET = 1 << 30  # bytes of activations in one folded forward
UNEMBED_ROWS = 128  # rows from which on the unembedding is bound by arithmetic rather than by reading its weights


@dataclass
class Clean:
    """What one clean forward leaves for the engine: metric, source activations, masks, late starts."""

    metric: Tensor | None
    values: dict[str, Tensor]
    targets: dict[str, Tensor]
    masks: list[dict[str, Tensor]]
    run: CleanRun


def clean_run(model: HookedModel, x, groups: Groups, reader: Reader | None, targets: Sequence[str] = ()) -> Clean:
    """One forward of `x` without interventions, keeping what later forwards need."""
    late = {len(model.map.blocks)} if reader is not None and reader.few else set()
    run = CleanRun(model, {*groups.starts, *late})
    names = list(dict.fromkeys([*groups.sites, *targets]))
    handlers: dict[str, Tensor] = {}

    def keep(value: Tensor, site: Site) -> None:
        handlers[site.name] = value.detach().clone()  # code behind it may write in place
        if site.name in groups.sites:
            run.reached.add(groups.start(site.name))

    with torch.no_grad(), model.firing([(n, keep) for n in names], stop=reader is None), run.recording():
        if reader is None:
            try:
                model(x)
            except Stop:
                pass
            metric = None
        else:
            with reader.gathering():
                metric = reader(model(x))[0]
    if metric is not None:
        check_clean(metric, model, x)
    values = {name: handlers[name] for name in groups.sites}
    masks = groups.masks(values, model.lengths(x))
    return Clean(metric, values, {t: handlers[t] for t in targets}, masks, run)


def chunks(groups: Groups, per_chunk: int) -> list[list[int]]:
    """Indices of the groups, those that start at one depth together, at most `per_chunk` a forward."""
    found: list[list[int]] = []
    for start in sorted(set(groups.starts)):
        members = [i for i, s in enumerate(groups.starts) if s == start]
        found += [members[i : i + per_chunk] for i in range(0, len(members), per_chunk)]
    return found


def _inject(chunk: list[int], clean: Clean, base: dict[str, Tensor], batch: int):
    """Handlers that put each row's own source at its baseline."""
    rows_of: dict[str, list[tuple[int, Tensor]]] = {}
    for row, index in enumerate(chunk):
        for site, mask in clean.masks[index].items():
            rows_of.setdefault(site, []).append((row, mask))

    def handler(value: Tensor, site: Site) -> Tensor:
        new = value.clone()
        per_row = value.shape[0] // len(chunk)  # windows of an image count as rows of its prompt
        for row, mask in rows_of[site.name]:
            part = slice(row * per_row, (row + 1) * per_row)
            fill = base[site.name].to(value)
            new[part] = torch.where(mask, fill, value[part])
        return new

    def shared(value: Tensor, site: Site) -> Tensor:
        # a site without a batch axis of its own (a position embedding computed once) is given one
        return value if value.shape[0] % len(chunk) == 0 and value.shape[0] >= batch else value.expand(
            batch * len(chunk), *value.shape[1:]
        )

    return [(name, fn) for name in rows_of for fn in (shared, handler)]


def sweep(
    model: HookedModel, x, groups: Groups, base: dict[str, Tensor], clean: Clean, *, rows: int,
    reader: Reader | None, targets: Sequence[str] = (), label: str = "patching",
) -> Iterator[tuple[list[int], Tensor | None, dict[str, Tensor]]]:
    """Forwards with the sources at `base`.

    Yields (group indices, metric [n, batch], targets folded [n * batch, ...]).
    """
    batch = model.batch_of(x)[0]
    seen: dict[str, Tensor] = {}

    def keep(value: Tensor, site: Site) -> None:
        seen[site.name] = value.detach()

    todo = chunks(groups, max(1, rows // batch))
    held: list[tuple[list[int], Tensor]] = []  # what the unembedding reads: its weights are large, so it runs seldom
    for chunk in progress(todo, label):
        handlers = [*_inject(chunk, clean, base, batch), *((t, keep) for t in targets)]
        start, times = groups.starts[chunk[0]], len(chunk)
        with torch.no_grad(), model.firing(handlers, stop=reader is None) as firing:
            with clean.run.skipping(start, times, batch, firing, early=True):
                folded, values = fold(x, times), None
                if reader is None:
                    try:
                        model(folded)
                    except Stop:
                        pass
                elif reader.few:
                    held.append((chunk, reader.hidden(folded, times, firing)))
                else:
                    values = reader(model(folded), times)
        if reader is None or not reader.few:
            yield chunk, values, dict(seen)
        elif chunk is todo[-1] or sum(len(hidden) for _, hidden in held) >= UNEMBED_ROWS:
            for finished, values in _unembed(model, x, held, clean, reader):
                yield finished, values, {}
            held = []


def _unembed(model: HookedModel, x, held, clean: Clean, reader: Reader) -> Iterator[tuple[list[int], Tensor]]:
    """(group indices, metric [n, batch]) of gathered rows, from one forward that skips every block."""
    with torch.no_grad(), model.firing([]) as firing:
        with clean.run.skipping(len(model.map.blocks), 1, reader.batch, firing):
            output = reader.unembed(x, torch.cat([hidden for _, hidden in held]))
    values = reader(output, len(output) // reader.batch)
    for chunk, _ in held:
        yield chunk, values[: len(chunk)]
        values = values[len(chunk) :]


def patched_effects(
    model: HookedModel, x, groups: Groups, metric, bases: list[dict[str, Tensor]], *, rows: int | None = None,
    done: "Done | None" = None,
) -> tuple[Tensor, Tensor, dict[str, float]]:
    """(effects [source, batch], clean metric [batch], cost). Several `bases` are averaged over their *effects*.

    With `done`, finished sources are taken from it and new ones put there, so that a killed run goes on.
    """
    batch, n_pos = model.batch_of(x)
    reader = Reader(model, metric, batch, whole="output" in groups.sites)
    clean = clean_run(model, x, groups, reader)
    n_pos = max(n_pos, *(longest(groups.sites[name], value, batch) for name, value in clean.values.items()))
    rows = rows or default_rows(model, n_pos, BUDGET, reader.few)
    total = torch.zeros(len(groups), batch, dtype=clean.metric.dtype, device=clean.metric.device)
    count = batch
    for draw, base in enumerate(bases):
        check_fit(base, clean.values)
        labels = groups.labels
        found = [None if done is None else done.get(draw, label) for label in labels]
        known = {i: effect for i, effect in enumerate(found) if effect is not None}
        for i, effect in known.items():
            total[i] += effect.to(total)
        still = unchanged(clean, base, batch)
        left = [i for i in range(len(groups)) if i not in known and not still[i].all()]
        part = replace(clean, masks=[clean.masks[i] for i in left])
        for chunk, values, _ in sweep(model, x, groups.subset(left), base, part, rows=rows, reader=reader):
            indices = [left[i] for i in chunk]
            effects = clean.metric - check_finite(values, "the metric of a patched run")
            effects = torch.where(still[indices].to(effects.device), 0, effects)
            total[indices] += effects
            count += len(chunk) * batch
            if done is not None:
                done.put(draw, [labels[i] for i in indices], effects)
    return total / len(bases), clean.metric, {"rows": float(count), "forwards": count / batch}


def unchanged(clean: Clean, base: dict[str, Tensor], batch: int) -> Tensor:
    """Boolean [group, batch]: where a group already is at its baseline, so that its effect is exactly zero.

    With counterfactual baselines these are, in causal models, all positions before the prompts differ.
    """
    same = {site: value == base[site].to(value) for site, value in clean.values.items()}
    return torch.stack([_all_same(same, masks, batch) for masks in clean.masks])


def _all_same(same: dict[str, Tensor], masks: dict[str, Tensor], batch: int) -> Tensor:
    rows = torch.ones(batch, dtype=torch.bool)
    for site, mask in masks.items():
        of_site = (same[site] | ~mask).reshape(-1, same[site][0].numel()).all(1)
        rows = rows & _per_prompt(of_site, batch).cpu()
        if not rows.any():  # mostly the first site tells
            break
    return rows


def longest(site: Site, value: Tensor, batch: int) -> int:
    """Positions that a prompt has at a site: of an image, patches (of all its windows)."""
    return 1 if site.pos_axis is None else value.shape[site.pos_axis] * max(1, value.shape[0] // batch)


def _per_prompt(row: Tensor, batch: int) -> Tensor:
    """[batch] of a boolean per row of a site: windows of one image together, a shared row for every prompt."""
    return row.reshape(batch, -1).all(1) if len(row) % batch == 0 else row.all().expand(batch)


class Done(Protocol):
    """Where finished effects of a resumable run are kept, by the label of their source."""

    def get(self, draw: int, label: str) -> Tensor | None: ...
    def put(self, draw: int, labels: list[str], effects: Tensor) -> None: ...
