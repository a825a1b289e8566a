"""Linear maps of one decomposed value: the same map of the total and of every source's part.

The parts have one axis more in front. Where a function's arguments can be told to leave that axis alone they are; any
other is mapped over it by `torch.func.vmap`, which is right for all and slower.
"""

import torch
from torch import Tensor

from interp.effects import decomposed_table as table
from interp.effects.decomposed_tensor import Decomposed, NoRule, each, finite, lead


def linear(function, args: tuple, kwargs: dict, name: str):
    """`function(value, *constants)` of a decomposed value: one, or a tuple of them."""
    value, *rest = args
    if function is Tensor.view and isinstance(rest[0], torch.dtype):
        raise NoRule("a view of a decomposed value's bits has no rule")
    total = function(value.total, *rest, **kwargs)
    if isinstance(total, Tensor) and not (total.is_floating_point() or total.is_complex()):
        raise NoRule(f"{name} to {total.dtype} makes an integer or a condition of a decomposed value. "
                     'Use rules="ablation", which decides anew in every patched run.')
    part = _rows(function, value, total, rest, kwargs)
    if isinstance(total, tuple | list):
        return type(total)(Decomposed(t, p, value) for t, p in zip(total, part))
    # only sums can bring masked entries together with others
    return finite(name, total, part) if function in table.SUMS else Decomposed(total, part, value)


def _rows(function, value: Decomposed, total, rest, kwargs):
    """The parts under a linear map."""
    r, count = value.relevant, len(value.relevant)
    if not count:
        return [t.new_zeros(0, *t.shape) for t in total] if isinstance(total, tuple | list) else (
            total.new_zeros(0, *total.shape))
    if function in table.RESHAPES:
        return r.reshape(count, *total.shape)
    if function in table.EXPANDS:
        return lead(r, total.dim()).expand(count, *total.shape)
    if function in table.SAME:
        return r
    if function in table.CASTS:
        return function(r, *rest, **kwargs)
    if function in table.TRANSPOSES and not kwargs:
        a, b = (d % value.total.dim() + 1 for d in rest)
        return r.transpose(a, b)
    if function in table.PERMUTES and not kwargs:
        order = rest[0] if isinstance(rest[0], tuple | list) else rest
        return r.permute(0, *(d % value.total.dim() + 1 for d in order))
    if function in table.SPLITS:
        dim = kwargs.get("dim", rest[1] if len(rest) > 1 else 0) % value.total.dim()
        return r.split([t.shape[dim] for t in total], dim + 1)
    if function is Tensor.__getitem__ and _is_basic(rest[0]):
        index = rest[0] if isinstance(rest[0], tuple) else (rest[0],)
        return r[(slice(None), *index)]
    return mapped(function, r, rest, kwargs)


def mapped(function, r: Tensor, rest=(), kwargs=None):
    """`function` over the axis of sources: folded into the batch where there is one, else by vmap."""
    kwargs = kwargs or {}
    if table.BATCHED.get(function) == r.dim() - 1:
        return function(r.flatten(0, 1), *rest, **kwargs).unflatten(0, r.shape[:2])
    try:
        return torch.func.vmap(lambda part: function(part, *rest, **kwargs))(r)
    except RuntimeError:  # no batched form (a boolean index): one by one
        rows = [function(part, *rest, **kwargs) for part in r]
        return [torch.stack(p) for p in zip(*rows)] if isinstance(rows[0], tuple | list) else torch.stack(rows)


def _is_basic(index) -> bool:
    """An index of integers, slices, None and ..., which never moves axes."""
    entries = index if isinstance(index, tuple) else (index,)
    return all(e is None or e is Ellipsis or isinstance(e, slice | int) and not isinstance(e, bool) for e in entries)


def times(function, operands: list, name: str) -> Decomposed:
    """A product with one decomposed factor: linear in it."""
    place = next(i for i, o in enumerate(operands) if isinstance(o, Decomposed))
    value = operands[place]
    total = function(*operands[:place], value.total, *operands[place + 1 :])

    def rows(r: Tensor) -> Tensor:
        return function(*operands[:place], r, *operands[place + 1 :])

    least = 0 if function in table.MULTIPLY else 2 if function in table.MATMUL else None
    sizes = [o.dim() if isinstance(o, Tensor) else 0 for o in operands]
    if least is None or not len(value.relevant) or min(sizes) < least:
        return finite(name, total, each(rows, total, value.relevant))
    if function in table.MATMUL:
        function = torch.matmul  # bmm and mm know no leading axis
    return finite(name, total, rows(lead(value.relevant, max(sizes))))


def product_rows(function, a: Decomposed, b: Decomposed):
    """How every source's parts of two factors are multiplied: (total, parts, parts) -> parts."""
    least = 0 if function in table.MULTIPLY else 2
    if function not in table.MULTIPLY | table.MATMUL or min(a.total.dim(), b.total.dim()) < least:
        return lambda total, u, v: each(function, total, u, v)
    dims = max(a.total.dim(), b.total.dim())
    apply = torch.mul if function in table.MULTIPLY else torch.matmul
    return lambda total, u, v: apply(lead(u, dims), lead(v, dims))
