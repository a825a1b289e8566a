"""Slow, plain ways to the same numbers: one prompt and one source at a time."""

import torch

from interp.effects.sources import Groups
from interp.hooks import HookedModel, Patch, Source
from interp.hooks.baselines import resolve, rows


def every_source(model: HookedModel, *, whole: bool = True, scales: bool = True) -> list[Source]:
    """Of every default float site with a value for each prompt: the whole, one head, the last position, one unit."""
    found = []
    for site in model.sites():
        shared = site.axes[0] not in ("batch", "window")
        if shared or site.on_request or site.name in model.map.inert_sites or (not scales and "scale" in site.kind):
            continue
        if whole:
            found.append(Source(site.name))
        if site.head_axis is not None:
            found.append(Source(site.name, head=site.heads - 1))
        if site.pos_axis is not None:
            found.append(Source(site.name, pos=-1))
            found.append(Source(site.name, pos=slice(1, 3), head=0 if site.head_axis is not None else None))
        if site.kind.endswith(("hook_post", "hook_normalized", "hook_resid_mid", "hook_q")):
            found.append(Source(site.name, unit=3))
    return found


def some(sources: list[Source], count: int, seed: int) -> list[Source]:
    """`count` of the sources, in their order."""
    picked = torch.randperm(len(sources), generator=torch.Generator().manual_seed(seed))[:count]
    return [sources[i] for i in sorted(picked.tolist())]


def loop_effects(model, x, sources, metric, baseline="zero", draw: int = 0) -> torch.Tensor:
    """[source, batch]: clean minus edited, each prompt run alone, each source edited alone."""
    groups = Groups(model, sources)
    base = resolve(model, list(groups.sites.values()), baseline, x)[draw]
    batch = model.batch_of(x)[0]
    values = torch.zeros(len(groups), batch, dtype=model.dtype)
    with torch.no_grad():
        for b in range(batch):
            alone = rows(x, slice(b, b + 1))
            with model.edit():  # in float64 the model then computes its norms in float64 too
                clean = metric(model(alone))
            for i, group in enumerate(groups.groups):
                edits = [Patch(s.site, of_prompt(base[s.site], b, batch), head=s.head, pos=at(s.pos, b), unit=s.unit)
                         for s in group]
                with model.edit(*edits):
                    values[i, b] = clean[0] - metric(model(alone))[0]
    return values


def at(pos, b: int):
    """The position of prompt `b`."""
    return pos[b] if isinstance(pos, tuple) else pos


def of_prompt(value: torch.Tensor, b: int, batch: int) -> torch.Tensor:
    """Rows of a site that belong to prompt `b`: one, several windows, or all where the batch axis is 1."""
    if value.dim() == 0 or value.shape[0] == 1 or value.shape[0] % batch:
        return value
    per = value.shape[0] // batch
    return value[b * per : (b + 1) * per]


def close(got: torch.Tensor, wanted: torch.Tensor, tolerance: float, scale: float = 0.0) -> None:
    """Within `tolerance` of the largest value there (or of `scale`, where that is larger)."""
    size = max(float(wanted.detach().abs().max()), scale)
    worst = (got.double() - wanted.double()).abs().reshape(len(wanted), -1).amax(1)
    assert float(worst.max()) <= tolerance * size, f"row {int(worst.argmax())}: {float(worst.max()):.3g} of {size:.3g}"
