"""How the value of a site is seen as vectors for a book: [..., group, d]."""

from dataclasses import dataclass

from torch import Tensor

from interp.hooks import Site
from interp.hooks.index import Index, Lengths
from interp.results.errors import BadInput, MissingSite

_GROUPED = ("head", "kv_head", "expert", "mlp")


@dataclass(frozen=True)
class Layout:
    """One site, whose own heads (experts, MLPs) are the groups; elsewhere the last axis is cut into `groups`."""

    site: Site
    groups: int = 1

    @classmethod
    def of(cls, site: Site, groups: int | None) -> "Layout":
        """Raises MissingSite for a site without a feature axis, BadInput for groups where it has its own."""
        if site.axes[0] not in ("batch", "window") or not site.axes[-1].startswith("d_"):
            raise MissingSite(f"site {site.name!r} has no feature axis for a codebook (its axes: {' '.join(site.axes)})"
                              "; take one whose last axis is d_model, d_head, d_mlp or alike")
        if groups is not None and (not isinstance(groups, int) or groups < 1):
            raise BadInput(f"groups={groups!r}: give a whole number from 1 on")
        layout = cls(site, groups or 1)
        if groups is not None and layout.axis is not None:
            raise BadInput(f"{site.name!r} has one book per {site.axes[layout.axis]}: leave groups out")
        return layout

    @property
    def axis(self) -> int | None:
        """The axis of the site's own groups."""
        return self.site.axis(*_GROUPED)

    def vectors(self, value: Tensor) -> Tensor:
        """[batch, ..., group, d]. Raises BadInput for a value that has not the axes its site declares."""
        if value.dim() != len(self.site.axes):
            raise BadInput(f"site {self.site.name!r} declares the axes {' '.join(self.site.axes)}, and its value has "
                           f"shape {list(value.shape)}: the model's site map is wrong there")
        if self.axis is not None:
            return value.movedim(self.axis, -2)
        if value.shape[-1] % self.groups:
            raise BadInput(f"the {value.shape[-1]} channels of {self.site.name!r} cannot be cut into {self.groups} "
                           "groups")
        return value.unflatten(-1, (self.groups, -1))

    def value(self, vectors: Tensor) -> Tensor:
        """The inverse of `vectors`."""
        return vectors.movedim(-2, self.axis) if self.axis is not None else vectors.flatten(-2)

    def mask(self, value: Tensor, pos, lengths: Lengths | None) -> Tensor:
        """Boolean, broadcastable to the vectors: the positions that are meant; `slice(None)` leaves padding out."""
        index = Index(pos=pos)
        index.check(self.site)
        mask = index.mask(self.site, value, lengths)
        return mask.movedim(self.axis, -2) if self.axis is not None else mask.unsqueeze(-1)

    def real(self, value: Tensor, lengths: Lengths | None) -> Tensor | None:
        """The mask of real tokens where inputs are padded, else None."""
        if lengths is None or not lengths.masked or self.site.pos_axis is None:
            return None
        return self.mask(value, slice(None), lengths)
