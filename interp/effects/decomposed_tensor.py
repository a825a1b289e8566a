"""`Decomposed`: a tensor without storage that stands for a total and its relevant parts."""

import weakref
from collections.abc import Sequence

import torch
from torch import Tensor

from interp.results.errors import InterpError


class NoRule(InterpError):
    """An operation that would lose the relevant part of a value, or that no rule covers."""


def grow(relevant: Tensor, rows: int) -> Tensor:
    """The relevant parts with at least `rows` sources; those added have nothing relevant yet."""
    missing = rows - relevant.shape[0]
    if missing <= 0:
        return relevant
    return torch.cat([relevant, relevant.new_zeros(missing, *relevant.shape[1:])])


def lead(relevant: Tensor, dims: int) -> Tensor:
    """Parts [source, ...] with `dims` axes behind the first, so that they broadcast as their totals do."""
    missing = dims + 1 - relevant.dim()
    return relevant.reshape(relevant.shape[0], *[1] * missing, *relevant.shape[1:]) if missing > 0 else relevant


class Decomposed(torch.Tensor):
    """A value `total` and, for every source, the part of it that is relevant.

    Shapes: total [...], relevant [source, ...]. Where the total is not finite (a mask) the relevant part is 0.
    Nothing is ever written into either: an in-place operation gives the value new parts. `kin` are the values whose
    totals share storage with this one, which such an operation would have to change too. `injected` lists the (row,
    mask) of the sources that begin at this very value.
    """

    total: Tensor
    relevant: Tensor
    kin: list[weakref.ref]
    injected: Sequence[tuple[int, Tensor]] = ()

    @staticmethod
    def __new__(cls, total: Tensor, relevant: Tensor, of: "Decomposed | None" = None) -> "Decomposed":
        return torch.Tensor._make_wrapper_subclass(
            cls, total.shape, strides=total.stride(), dtype=total.dtype, device=total.device
        )

    def __init__(self, total: Tensor, relevant: Tensor, of: "Decomposed | None" = None):
        if relevant.shape[1:] != total.shape:
            relevant = lead(relevant, total.dim()).expand(relevant.shape[0], *total.shape)
        self.total, self.relevant = total, relevant
        self.kin = of.kin if of is not None and _share(of.total, total) else []
        self.kin.append(weakref.ref(self))

    @property
    def irrelevant(self) -> Tensor:
        """total - relevant, [source, ...]."""
        return self.total - self.relevant

    def become(self, new: "Decomposed", name: str) -> "Decomposed":
        """This value after an in-place operation called `name`, as `new` says.

        Raises NoRule where a view of it, or what it is a view of, is still in use: that would have to change as well.
        """
        if any(other is not None and other is not self for other in (ref() for ref in self.kin)):
            raise NoRule(f"{name} writes in place into a decomposed value that is in use through another view, "
                         'which would keep its old parts. Use rules="ablation", which runs the model\'s own code.')
        self.total, self.relevant = new.total, new.relevant
        self.kin = [weakref.ref(self)]
        return self

    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        from interp.effects.decomposed_ops import dispatch

        return dispatch(function, args, kwargs or {})

    @classmethod
    def __torch_dispatch__(cls, function, types, args=(), kwargs=None):
        raise NoRule(f"operation {function} reached a decomposed value below the torch functions; it has no rule")

    def __repr__(self, *, tensor_contents=None) -> str:
        return f"Decomposed(shape={list(self.total.shape)}, sources={self.relevant.shape[0]})"


def _share(a: Tensor, b: Tensor) -> bool:
    return a.untyped_storage().data_ptr() == b.untyped_storage().data_ptr()


def parts(value: Tensor) -> Decomposed:
    """`value` as a decomposed one: a plain value has nothing relevant in it."""
    return value if isinstance(value, Decomposed) else Decomposed(value, value.new_zeros(0, *value.shape))


def aligned(*values: Decomposed) -> tuple[Decomposed, ...]:
    """The same values with the same number of sources."""
    rows = max(v.relevant.shape[0] for v in values)
    return tuple(v if v.relevant.shape[0] == rows else Decomposed(v.total, grow(v.relevant, rows)) for v in values)


def each(function, total: Tensor, *relevant: Tensor) -> Tensor:
    """`function` on the parts of every source; `total` gives the shape where there is none."""
    if relevant[0].shape[0] == 0:
        return total.new_zeros(0, *total.shape)
    return torch.func.vmap(function)(*relevant)


def masked(total: Tensor) -> Tensor:
    """True where a value stands for a mask: infinite, or the lowest number that some libraries put for it."""
    return ~torch.isfinite(total) | (total <= torch.finfo(total.dtype).min / 2)


def finite(name: str, total: Tensor, r: Tensor) -> Decomposed:
    """A decomposed result: nothing is relevant where the total is infinite.

    Raises NoRule, naming the operation, where the total is NaN, or it is finite and a part of it is not.
    """
    # sums read once and write nothing; only where one is not finite are the entries looked at
    if torch.isfinite(total.sum() + r.sum()):
        return Decomposed(total, r)
    r = torch.where(torch.isfinite(total), r, 0)
    if torch.isnan(total).any() or not torch.isfinite(r).all():
        raise NoRule(f'decomposing {name} gave NaN or Inf: a part is outside its domain. Use rules="ablation".')
    return Decomposed(total, r)
