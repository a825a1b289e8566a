"""Which part of a site is meant: a head, positions, units. Sources and targets of effects are a site plus this."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from interp.hooks.site import Site
from interp.results.errors import BadInput, MissingSite

Position = int | slice | Sequence[int] | None


@dataclass(frozen=True)
class Lengths:
    """First and one-past-last real token of every row; without a mask, the whole row.

    `masked` is False where there was no mask: then every site is as long as its own axis (patches of an image).
    `encoder` has the lengths of the other stream of an encoder-decoder.
    """

    first: Tensor
    stop: Tensor
    masked: bool = True
    encoder: "Lengths | None" = None

    @classmethod
    def of(cls, batch: int, n_pos: int, attention_mask: Tensor | None = None) -> "Lengths":
        """From a 0/1 attention mask [batch, pos], padded on either side."""
        if attention_mask is None:
            return cls(torch.zeros(batch, dtype=torch.long), torch.full((batch,), n_pos), masked=False)
        real = attention_mask.bool().cpu()
        place = torch.arange(real.shape[1]).expand_as(real)
        first = place.masked_fill(~real, real.shape[1]).amin(1)
        return cls(first, place.masked_fill(~real, -1).amax(1) + 1)

    def repeat(self, times: int) -> "Lengths":
        """The lengths of the batch folded `times` times into its own axis (source major)."""
        encoder = self.encoder and self.encoder.repeat(times)
        return Lengths(self.first.repeat(times), self.stop.repeat(times), self.masked, encoder)

    def along(self, site: Site, value: Tensor) -> "Lengths":
        """The lengths along the position axis of a site: of its stream, its patches, or (for windows) its own rows."""
        own = self.encoder if self.encoder is not None and site.name.startswith("encoder.") else self
        n_pos = value.shape[site.pos_axis]
        if site.axes[0] != "batch":
            return Lengths.of(value.shape[0], n_pos)
        return own if own.masked else Lengths.of(len(own.first), n_pos)

    def absolute(self, pos: Position) -> Tensor:
        """Boolean [batch, max(stop)] of the meant positions.

        Counting starts at the first real token, negative numbers count from the last one.
        Raises BadInput where a row has no such token.
        """
        width = int(self.stop.max())
        place = torch.arange(width)[None]
        if isinstance(pos, slice):
            rows = []
            for first, stop in zip(self.first.tolist(), self.stop.tolist()):
                row = torch.zeros(width, dtype=torch.bool)
                row[list(range(first, stop))[pos]] = True
                rows.append(row)
            return torch.stack(rows)
        at = torch.as_tensor(pos, dtype=torch.long)
        if at.dim() == 1 and len(at) != len(self.first):
            raise BadInput(
                f"one position per prompt was asked for: {len(at)} positions, {len(self.first)} prompts"
            )
        at = at.expand(len(self.first))
        at = torch.where(at < 0, self.stop + at, self.first + at)
        bad = (at < self.first) | (at >= self.stop)
        if bad.any():
            row = int(bad.nonzero()[0])
            have = int(self.stop[row] - self.first[row])
            raise BadInput(f"position {pos if isinstance(pos, int) else pos[row]} is outside prompt {row}, "
                           f"which has {have} tokens")
        return place == at[:, None]


@dataclass(frozen=True)
class Index:
    """A part of a site: `head`, `pos` (query positions for patterns) and `unit` (last axis); None means all.

    `pos` is an int, a slice, or one int per prompt; negative positions count from the last real token.
    """

    head: int | None = None
    pos: Any = None
    unit: int | None = None

    def check(self, site: Site) -> None:
        """Raise MissingSite or BadInput where `site` has no such axis or no such head."""
        if self.head is not None:
            if site.head_axis is None:
                raise MissingSite(f"site {site.name!r} has no head axis (its axes: {' '.join(site.axes)})")
            if site.heads is not None and not 0 <= self.head < site.heads:
                if "kv_head" in site.axes and 0 <= self.head < site.heads * site.groups:
                    raise BadInput(
                        f"{site.name!r} has {site.heads} key/value heads; query head {self.head} reads "
                        f"key/value head {self.head // site.groups}. Ask for head={self.head // site.groups}."
                    )
                raise BadInput(f"{site.name!r} has heads 0 to {site.heads - 1}; head {self.head} was asked for")
        if self.pos is not None and site.pos_axis is None:
            raise MissingSite(f"site {site.name!r} has no position axis (its axes: {' '.join(site.axes)})")

    @property
    def whole(self) -> bool:
        """True where nothing is left out."""
        return self.head is None and self.pos is None and self.unit is None

    def mask(self, site: Site, value: Tensor, lengths: Lengths | None = None) -> Tensor:
        """Boolean tensor, broadcastable to `value`, that is True on the meant part.

        Raises as `check`, and BadInput for a unit or position that is not there.
        """
        self.check(site)
        mask = torch.ones([1] * value.dim(), dtype=torch.bool, device=value.device)
        if self.head is not None:
            mask = mask & _one_hot(self.head, site.head_axis, value)
        if self.unit is not None:
            if not -value.shape[-1] <= self.unit < value.shape[-1]:
                raise BadInput(f"{site.name!r} has {value.shape[-1]} units; unit {self.unit} was asked for")
            mask = mask & _one_hot(self.unit % value.shape[-1], value.dim() - 1, value)
        if self.pos is not None:
            axis = site.pos_axis
            own = Lengths.of(value.shape[0], value.shape[axis]) if lengths is None else lengths.along(site, value)
            rows = own.absolute(self.pos)
            rows = torch.nn.functional.pad(rows, (0, value.shape[axis] - rows.shape[1]))
            shape = [1] * value.dim()
            shape[0], shape[axis] = rows.shape
            mask = mask & rows.reshape(shape).to(value.device)
        return mask


def _one_hot(index: int, axis: int, value: Tensor) -> Tensor:
    shape = [1] * value.dim()
    shape[axis] = value.shape[axis]
    return (torch.arange(value.shape[axis], device=value.device) == index).reshape(shape)


@dataclass(frozen=True)
class Source(Index):
    """A site plus an index: what an effect comes from, or what it is measured at.

    >>> Source("blocks.9.attn.hook_z", head=6, pos=-1)
    """

    site: str = ""

    def __init__(self, site: str, head: int | None = None, pos: Position = None, unit: int | None = None):
        if isinstance(pos, list | Tensor):
            pos = tuple(int(p) for p in pos)
        for name, value in dict(site=str(site), head=head, pos=pos, unit=unit).items():
            object.__setattr__(self, name, value)

    @property
    def label(self) -> str:
        """`blocks.9.attn.hook_z[head=6,pos=-1]`."""
        inside = ",".join(f"{k}={getattr(self, k)}" for k in ("head", "pos", "unit") if getattr(self, k) is not None)
        return self.site + (f"[{inside}]" if inside else "")
