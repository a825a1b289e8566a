"""Taps: where in a module a site is read and written, and through which view.

A tap is a module path, a point ("in", "out", or a point that the module marks in its forward) and a view.
A view turns the raw value at that point into the site's tensor and back; it never works in place.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, nn

_TAPS = "_interp_taps"


def mark(module: nn.Module, point: str, value: Tensor) -> Tensor:
    """Offer `value` as point `point` of `module`; returns it, or what an active hook put in its place.

    Our own modules call this in their forward for values that are no module's input or output.
    """
    taps = module.__dict__.get(_TAPS)
    return value if taps is None else taps(point, value)


@dataclass
class Call:
    """What a view may need beyond the raw value: the module called, its first input, other sites' values."""

    module: nn.Module
    input: Any = None
    values: dict[str, Tensor] = field(default_factory=dict)


class View(Protocol):
    """Read and write a site's tensor in a raw value; `needs` names sites read earlier in the same forward."""

    needs: str | None

    def read(self, raw: Any, call: Call) -> Tensor: ...
    def write(self, raw: Any, new: Tensor, call: Call) -> Any: ...


@dataclass(frozen=True)
class Whole:
    """The value itself; the first entry where a module returns a tuple, `key` where it returns a mapping."""

    key: str | int | None = None
    needs: str | None = None

    def read(self, raw, call):
        if isinstance(raw, Tensor):
            return raw
        if isinstance(raw, tuple | list) and not isinstance(self.key, str):
            return raw[self.key or 0]
        return raw[self.key]

    def write(self, raw, new, call):
        if isinstance(raw, Tensor):
            return new
        if isinstance(raw, tuple | list) and not isinstance(self.key, str):
            index = self.key or 0
            return type(raw)((*raw[:index], new, *raw[index + 1 :]))
        changed = type(raw)(**{**raw, self.key: new})
        return changed


@dataclass(frozen=True)
class Output:
    """The main tensor of a library's output object: logits where there are any, else features."""

    keys: tuple[str, ...] = ("logits", "last_hidden_state")
    needs: str | None = None

    def _view(self, raw) -> Whole:
        if isinstance(raw, Tensor | tuple | list):
            return Whole()
        return Whole(next(key for key in self.keys if raw.get(key) is not None))

    def read(self, raw, call):
        return self._view(raw).read(raw, call)

    def write(self, raw, new, call):
        return self._view(raw).write(raw, new, call)


@dataclass(frozen=True)
class Heads:
    """Last axis split into heads: [..., heads * d] <-> [..., heads, d]; one of several fused parts if asked.

    `parts` > 1 says the last axis is fused, as (part, head, d) or, with `interleaved`, as (head, part, d).
    """

    heads: int
    part: int = 0
    parts: int = 1
    interleaved: bool = False
    needs: str | None = None

    def _split(self, raw: Tensor) -> tuple[Tensor, int]:
        shape = (self.heads, self.parts, -1) if self.interleaved else (self.parts, self.heads, -1)
        return raw.reshape(*raw.shape[:-1], *shape), -2 if self.interleaved else -3

    def read(self, raw, call):
        raw = Whole().read(raw, call)
        if self.parts == 1:
            return raw.reshape(*raw.shape[:-1], self.heads, -1)
        split, axis = self._split(raw)
        return split.select(axis, self.part)

    def write(self, raw, new, call):
        old = Whole().read(raw, call)
        if self.parts > 1:
            split, axis = self._split(old)
            pieces = list(split.unbind(axis))
            pieces[self.part] = new
            new = torch.stack(pieces, axis)
        return Whole().write(raw, new.reshape(old.shape), call)


@dataclass(frozen=True)
class Columns:
    """A slice of the last axis: one part of a fused projection that has no heads."""

    start: int
    stop: int
    needs: str | None = None

    def read(self, raw, call):
        return raw[..., self.start : self.stop]

    def write(self, raw, new, call):
        return torch.cat([raw[..., : self.start], new, raw[..., self.stop :]], -1)


@dataclass(frozen=True)
class Image:
    """Channels-first maps as tokens: [batch, d, h, w] <-> [batch, h * w, d]; NHWC with `channels_last`."""

    channels_last: bool = False
    needs: str | None = None

    def read(self, raw, call):
        raw = Whole().read(raw, call)
        return raw.flatten(1, 2) if self.channels_last else raw.flatten(2).transpose(1, 2)

    def write(self, raw, new, call):
        old = Whole().read(raw, call)
        new = new.reshape(old.shape) if self.channels_last else new.transpose(1, 2).reshape(old.shape)
        return Whole().write(raw, new, call)


@dataclass(frozen=True)
class Plus:
    """A branch's output read as the stream after it: inner view + the site `needs` of the same forward.

    Reading a norm's input instead would look the same and patch only the branch behind the norm.
    """

    needs: str
    inner: View = Whole()

    def read(self, raw, call):
        return self.inner.read(raw, call) + call.values[self.needs]

    def write(self, raw, new, call):
        old, stream = self.inner.read(raw, call), call.values[self.needs]
        return self.inner.write(raw, _kept(new - stream, new, old + stream, old), call)


@dataclass(frozen=True)
class Minus:
    """The inverse of `Plus`: a module that returns the stream, read as what it added to `needs`."""

    needs: str
    inner: View = Whole()

    def read(self, raw, call):
        return self.inner.read(raw, call) - call.values[self.needs]

    def write(self, raw, new, call):
        old, stream = self.inner.read(raw, call), call.values[self.needs]
        return self.inner.write(raw, _kept(new + stream, new, old - stream, old), call)


def _kept(wanted: Tensor, new: Tensor, shown: Tensor, old: Tensor) -> Tensor:
    """`wanted`, rounded so that what was not changed (`new` is what was `shown`) keeps its bits.

    A zero must come out as exactly zero: the norm behind a stream at zero makes large numbers of rounding errors.
    A value of an engine's own tensor type has no bits to compare and is taken as it is.
    """
    if type(wanted) is not Tensor:
        return wanted
    same = new == shown
    return wanted + (torch.where(same, old, wanted) - wanted).detach()


@dataclass(frozen=True)
class Result:
    """Per-head writes at an output projection: z_h W_O[h], [batch, pos, head, d_model].

    `transposed` is for GPT-2's Conv1D, whose weight is [in, out].
    """

    heads: int
    transposed: bool = False
    needs: str | None = None

    def read(self, raw, call):
        weight = call.module.weight if self.transposed else call.module.weight.T
        z = call.input.reshape(*call.input.shape[:-1], self.heads, -1)
        return torch.einsum("bphd,hdm->bphm", z, weight.reshape(self.heads, -1, weight.shape[-1]))

    def write(self, raw, new, call):
        return raw + (new - self.read(raw, call)).sum(-2)


@dataclass(frozen=True)
class Tap:
    """Module path, point and view; `arg` names the argument for point "in" (position or keyword)."""

    path: str
    point: str = "out"
    view: View = Whole()
    arg: int | str = 0

    @property
    def where(self) -> str | tuple[str, int | str]:
        """The point as visits are counted: each input argument is a point of its own."""
        return (IN, self.arg) if self.point == IN else self.point


IN, OUT = "in", "out"

Hook = Callable[[Tensor, Any], Tensor | None]
Hooks = Sequence[tuple[str, Hook]]
