"""`Decomposed`: a tensor without storage that stands for a total and its relevant parts."""

import torch
from torch import Tensor


def grow(relevant: Tensor, rows: int) -> Tensor:
    """The relevant parts with at least `rows` sources; those added have nothing relevant yet."""
    missing = rows - relevant.shape[0]
    if missing <= 0:
        return relevant
    return torch.cat([relevant, relevant.new_zeros(missing, *relevant.shape[1:])])


class Decomposed(torch.Tensor):
    """A value `total` and, for every source, the part of it that is relevant.

    Shapes: total [...], relevant [source, ...]. Where the total is not finite (a mask) the relevant part is 0.
    """

    total: Tensor
    relevant: Tensor

    @staticmethod
    def __new__(cls, total: Tensor, relevant: Tensor) -> "Decomposed":
        return torch.Tensor._make_wrapper_subclass(
            cls, total.shape, strides=total.stride(), dtype=total.dtype, device=total.device
        )

    def __init__(self, total: Tensor, relevant: Tensor):
        if relevant.shape[1:] != total.shape:
            relevant = relevant.expand(relevant.shape[0], *total.shape)
        self.total, self.relevant = total, relevant

    @property
    def irrelevant(self) -> Tensor:
        """total - relevant, [source, ...]."""
        return self.total - self.relevant

    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        from interp.effects.decomposed_ops import dispatch

        return dispatch(function, args, kwargs or {})

    @classmethod
    def __torch_dispatch__(cls, function, types, args=(), kwargs=None):
        from interp.effects.decomposed_ops import NoRule

        raise NoRule(f"operation {function} reached a decomposed value below the torch functions; it has no rule")

    def __repr__(self, *, tensor_contents=None) -> str:
        return f"Decomposed(shape={list(self.total.shape)}, sources={self.relevant.shape[0]})"
