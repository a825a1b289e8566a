"""Interventions: `Ablate`, `Patch`, `Steer`, `Freeze`. Values that `model.edit` turns into hooks.

Each names a site (or a wildcard), a part of it, and what goes there. `tied=True` edits every visit of a shared module.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from interp.hooks.baselines import Baseline, resolve
from interp.hooks.firing import Handler
from interp.hooks.index import Index
from interp.hooks.site import Site
from interp.results.errors import BadInput


class Intervention(Protocol):
    """Anything that names handlers for a model."""

    def handlers(self, model) -> list[tuple[str, Handler]]: ...


def _sites(model, names, tied: bool) -> list[Site]:
    sites = model.sites(str(names) if isinstance(names, Site) else names)
    if tied:
        sites = list({s.name: s for site in sites for s in model.tied(site)}.values())
    return sites


def _broadcast(new: Tensor, value: Tensor, site: Site) -> Tensor:
    if site.axes[0] == "window" and new.dim() == value.dim() and new.shape[0] > 1:  # of one image, for each
        new = new.repeat(max(1, value.shape[0] // new.shape[0]), *[1] * (value.dim() - 1))
    try:
        return torch.broadcast_to(new.to(value), value.shape)
    except RuntimeError:
        raise BadInput(
            f"a tensor of shape {list(new.shape)} does not fit {site.name!r}, which is {list(value.shape)} here"
        ) from None


def _aligned(new: Tensor, value: Tensor, site: Site, index: Index) -> Tensor:
    """`new` as `value`: with all axes, or, of those of which `index` names no one place, the last ones.

    That is what reading the place gives ([batch, d_model] for pos=-1); broadcasting alone would take its rows for
    positions wherever there are as many.
    """
    named = [axis for axis, at in ((site.pos_axis, index.pos), (site.head_axis, index.head))
             if at is not None and not isinstance(at, slice)]
    left = value.dim() - len(named)
    if named and new.dim() <= left:
        new = new.reshape(*[1] * (left - new.dim()), *new.shape)
        for axis in sorted(named):
            new = new.unsqueeze(axis)
    elif named and new.dim() < value.dim():
        raise BadInput(f"a tensor of shape {list(new.shape)} for one place of {site.name!r}, which is "
                       f"{list(value.shape)} here ({' '.join(site.axes)}): give all axes, or leave out those that pos "
                       "and head name")
    return _broadcast(new, value, site)


@dataclass(frozen=True, eq=False)
class _Part:
    site: Any
    head: int | None = None
    pos: Any = None
    unit: int | None = None
    tied: bool = False

    @property
    def index(self) -> Index:
        return Index(self.head, self.pos, self.unit)

    def _replace(self, model, new_of) -> list[tuple[str, Handler]]:
        """Handlers that put `new_of(site, value)` at the indexed part of every selected site."""
        sites = _sites(model, self.site, self.tied)
        for site in sites:
            self.index.check(site)

        def handler(value: Tensor, site: Site) -> Tensor:
            new = _broadcast(new_of(site, value), value, site)
            # a copy of its own, for code that goes on in place
            return new.clone() if self.index.whole else torch.where(
                self.index.mask(site, value, model.lengths_now), new, value
            )

        return [(site.name, handler) for site in sites]


@dataclass(frozen=True, eq=False)
class Ablate(_Part):
    """Take a site, or a part of it, away: put it at `baseline` ("zero", a mapping, `Mean(over=...)`,
    `Counterfactual(inputs)`).

    >>> Ablate("blocks.0.attn.hook_z", head=3)
    """

    baseline: Baseline = "zero"

    def handlers(self, model) -> list[tuple[str, Handler]]:
        values = resolve(model, _sites(model, self.site, self.tied), self.baseline)
        return self._replace(model, lambda site, value: values[0][site.name])


@dataclass(frozen=True, eq=False)
class Patch(_Part):
    """Put `value` (a tensor that broadcasts to the site, or a mapping of site names to tensors) in its place. The axes
    of which `pos` and `head` name one place may be left out: [batch, d_model] at pos=-1.

    >>> Patch("blocks.2.hook_resid_post", other_cache["blocks.2.hook_resid_post"], pos=-1)
    """

    value: Tensor | Mapping[str, Tensor] | None = None

    def __init__(self, site, value, head=None, pos=None, unit=None, tied=False):
        for key, given in dict(site=site, value=value, head=head, pos=pos, unit=unit, tied=tied).items():
            object.__setattr__(self, key, given)

    def handlers(self, model) -> list[tuple[str, Handler]]:
        def new_of(site: Site, value: Tensor) -> Tensor:
            new = self.value if isinstance(self.value, Tensor) else self.value[site.name]
            return _aligned(new, value, site, self.index)

        return self._replace(model, new_of)


@dataclass(frozen=True, eq=False)
class Steer(_Part):
    """Add `scale * vector` (as the value of `Patch`) at the indexed part."""

    vector: Tensor | None = None
    scale: float = 1.0

    def __init__(self, site, vector, scale=1.0, head=None, pos=None, unit=None, tied=False):
        given = dict(site=site, vector=vector, scale=scale, head=head, pos=pos, unit=unit, tied=tied)
        for key, value in given.items():
            object.__setattr__(self, key, value)

    def handlers(self, model) -> list[tuple[str, Handler]]:
        return self._replace(
            model, lambda site, value: value + self.scale * _aligned(self.vector, value, site, self.index))


@dataclass(frozen=True, eq=False)
class Freeze(_Part):
    """Hold sites at the values of a cache, whatever is edited before them."""

    cache: Mapping[str, Tensor] | None = None

    def __init__(self, site, cache, head=None, pos=None, unit=None, tied=False):
        for key, given in dict(site=site, cache=cache, head=head, pos=pos, unit=unit, tied=tied).items():
            object.__setattr__(self, key, given)

    def handlers(self, model) -> list[tuple[str, Handler]]:
        missing = [s.name for s in _sites(model, self.site, self.tied) if s.name not in self.cache]
        if missing:
            raise BadInput(f"the cache to freeze from holds no {missing[0]!r}")
        return self._replace(model, lambda site, value: self.cache[site.name])
