"""Sources as the engines use them: groups of site parts, each with its depth."""

from collections.abc import Sequence
from copy import copy

import torch
from torch import Tensor

from interp.hooks import HookedModel, Lengths, Site, Source
from interp.results.errors import BadInput

Group = Source | Sequence[Source]


class Groups:
    """What is removed together: `groups[i]` is a tuple of sources, all put at their baseline at once.

    Raises MissingSite or BadInput for a source that the model does not have, before anything runs.
    """

    def __init__(self, model: HookedModel, sources: Sequence[Group]):
        if not len(sources):
            raise BadInput("no sources were given")
        self.groups = [(s,) if isinstance(s, Source) else tuple(s) for s in sources]
        self.sites: dict[str, Site] = {}
        for source in (s for group in self.groups for s in group):
            site = self.sites.setdefault(source.site, model.site(source.site))
            source.check(site)
        order = list(model.map.blocks)
        self.starts = [min(self._start(order, s.site) for s in group) for group in self.groups]

    def subset(self, kept: Sequence[int]) -> "Groups":
        """The groups at these indices."""
        part = copy(self)
        part.groups, part.starts = [self.groups[i] for i in kept], [self.starts[i] for i in kept]
        return part

    def _start(self, order: list[str], name: str) -> int:
        """Index of the first block that has to run anew (0 for the stem)."""
        site = self.sites[name]
        if site.depth is None or site.kind.startswith("stage."):
            return 0 if name != "output" else len(order)
        index = order.index(site.prefix[:-1])
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


def check_finite(values: Tensor, what: str) -> Tensor:
    """`values`, or BadInput where they hold NaN or Inf."""
    if not torch.isfinite(values).all():
        raise BadInput(f"{what} is NaN or Inf for {int((~torch.isfinite(values)).sum())} of {values.numel()} values")
    return values
