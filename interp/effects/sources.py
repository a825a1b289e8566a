"""Sources as the engines use them: groups of site parts, each with its depth."""

from collections.abc import Sequence
from copy import copy

import torch
from torch import Tensor

from interp.hooks import HookedModel, Lengths, Site, Source
from interp.results.errors import BadInput

Group = Source | Sequence[Source]


def _group(given: Group) -> tuple[Source, ...]:
    if isinstance(given, str | Site):
        raise BadInput(f"{str(given)!r} is no Source; write Source({str(given)!r}, head=..., pos=...)")
    group = (given,) if isinstance(given, Source) else tuple(given)
    if not group:
        raise BadInput("no sources were given in one of the groups")
    return group if all(isinstance(s, Source) for s in group) else tuple(s for g in group for s in _group(g))


class Groups:
    """What is removed together: `groups[i]` is a tuple of sources, all put at their baseline at once.

    Raises MissingSite or BadInput for a source that the model does not have, before anything runs.
    """

    def __init__(self, model: HookedModel, sources: Sequence[Group]):
        if not len(sources):
            raise BadInput("no sources were given")
        self.groups = [_group(s) for s in sources]
        self.sites: dict[str, Site] = {}
        for source in (s for group in self.groups for s in group):
            site = self.sites.setdefault(source.site, model.site(source.site))
            source.check(site)
            if site.axes[0] not in ("batch", "window"):
                axes = ", ".join(site.axes)
                raise BadInput(f"site {site.name!r} holds [{axes}], one value for all prompts, not one a prompt. "
                               "Change it with model.edit(Patch(...)) and compare outputs.")
        self._order = {name: i for i, name in enumerate(model.map.blocks)}
        self.starts = [min(self.start(s.site) for s in group) for group in self.groups]

    def subset(self, kept: Sequence[int]) -> "Groups":
        """The groups at these indices."""
        part = copy(self)
        part.groups, part.starts = [self.groups[i] for i in kept], [self.starts[i] for i in kept]
        return part

    def start(self, name: str) -> int:
        """Index of the first block that has to run anew for a site (0 for the stem, all behind the last)."""
        site = self.sites[name]
        if name == "output" or name.startswith("ln_final."):
            return len(self._order)
        if site.depth is None or site.kind.startswith("stage."):
            return 0
        index = self._order.get(site.prefix[:-1])
        if index is None:  # a map without equations declares no blocks: the whole model runs
            return 0
        return index + 1 if site.kind == "hook_resid_post" else index

    @property
    def labels(self) -> list[str]:
        return [" + ".join(s.label for s in group) for group in self.groups]

    def __len__(self) -> int:
        return len(self.groups)

    def masks(self, values: dict[str, Tensor], lengths: Lengths) -> list[dict[str, Tensor]]:
        """Per group: {site: boolean mask of the removed part}."""
        found: list[dict[str, Tensor]] = []
        for group in self.groups:
            masks: dict[str, Tensor] = {}
            for source in group:
                mask = source.mask(self.sites[source.site], values[source.site], lengths)
                masks[source.site] = masks[source.site] | mask if source.site in masks else mask
            found.append(masks)
        return found


def fold(x, times: int):
    """Inputs repeated `times` along the batch axis, source major."""
    if isinstance(x, Tensor):
        return x.repeat(times, *[1] * (x.dim() - 1))
    return {k: fold(v, times) if isinstance(v, Tensor) and v.dim() else v for k, v in x.items()}


def check_fit(base: dict[str, Tensor], values: dict[str, Tensor]) -> None:
    """Raise BadInput where a baseline tensor does not broadcast to its site."""
    for name, new in base.items():
        want = values[name].shape
        try:
            fits = torch.broadcast_shapes(new.shape, want)[1:] == want[1:]
        except RuntimeError:
            fits = False
        if not fits:
            raise BadInput(
                f"a baseline of shape {list(new.shape)} does not fit {name!r}, which is {list(want)} here; "
                "prompts of one length, or one vector for all positions, do"
            )


def check_finite(values: Tensor, what: str) -> Tensor:
    """`values`, or BadInput where they hold NaN or Inf."""
    if not torch.isfinite(values).all():
        raise BadInput(f"{what} is NaN or Inf for {int((~torch.isfinite(values)).sum())} of {values.numel()} values")
    return values


def check_clean(metric: Tensor, model: HookedModel, x) -> Tensor:
    """The clean run's `metric`, or BadInput, naming the first site that is not finite, where it holds NaN or Inf."""
    try:
        return check_finite(metric, "the metric of the clean run")
    except BadInput as error:
        site = first_bad_site(model, x)
        where = f"the first site that is not finite is {site!r}" if site else "all sites are finite: look at the metric"
        raise BadInput(f"{error}; {where}") from None


def first_bad_site(model: HookedModel, x) -> str | None:
    """The first site, in execution order, that holds NaN or +Inf on `x` (masked scores are -Inf by right), or None."""
    bad: list[str] = []

    def look(value: Tensor, site: Site) -> None:
        if value.is_floating_point() and (value.isnan() | value.isposinf()).any():
            bad.append(site.name)

    with torch.no_grad(), model.firing([(site.name, look) for site in model.sites() if not site.on_request]):
        model(x)
    return bad[0] if bad else None
