"""Torch functions on decomposed values: each by its rule, or refused by name."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from interp.effects import decomposed_table as table
from interp.effects.decomposed_linear import linear, mapped, product_rows, times
from interp.effects.decomposed_tensor import Decomposed, NoRule, aligned, each, finite, grow, lead, parts
from interp.effects.decomposition_rules import current_rules
from interp.hooks import semantic

T = Tensor
PATCHED = 'Use rules="ablation", which runs the model\'s own code.'


def name_of(function) -> str:
    """A function's name for messages."""
    return getattr(function, "__name__", repr(function))


def dispatch(function, args: tuple, kwargs: dict):
    """Apply `function` by its rule. Raises NoRule, naming it, for one that has none or would lose the relevant part."""
    name = name_of(function)
    if name == "__get__":
        return _attribute(function, args)
    if kwargs.get("out") is not None:
        raise NoRule(f"{name} with out= writes a decomposed value into a tensor, which would lose it. {PATCHED}")
    if "input" in kwargs:
        args, kwargs = (kwargs["input"], *args), {k: v for k, v in kwargs.items() if k != "input"}
    if function in table.FACTS or function in table.CONSTANT:
        return function(*_total(args), **kwargs)
    if function in table.LINEAR:
        return _linear(function, args, kwargs, name)
    if function in table.ADD or function in table.REVERSED_SUB:
        return add(function, args, kwargs)
    if function in table.PRODUCTS:
        return product(function, args, kwargs)
    if function in table.DIVISIONS or function in table.REVERSED_DIVISIONS:
        return division(function, args, kwargs)
    if function in table.NONLINEAR:
        _only_first(name, args, kwargs)
        apply = lambda x: function(x, *args[1:], **kwargs)  # noqa: E731
        return current_rules().nonlinear(apply, args[0], name, function in table.ELEMENTWISE and _scalars(args, kwargs))
    if function in table.IN_PLACE and isinstance(args[0], Decomposed):
        return args[0].become(dispatch(table.IN_PLACE[function], args, kwargs), name)
    if function in _SPECIAL:
        return _SPECIAL[function](*args, **kwargs)
    raise NoRule(_refusal(function, args))


def _refusal(function, args) -> str:
    name = name_of(function)
    if function in table.INDEX_FROM_FLOAT:
        return (f"{name} makes a number, a condition or an index out of a decomposed value: a decision that has no "
                'selection rule here. Use rules="ablation", which decides anew in every patched run.')
    if args and not isinstance(args[0], Decomposed) and (name.endswith("_") or name == "__setitem__"):
        return f"{name} writes a decomposed value into a plain tensor, which would lose it. {PATCHED}"
    return f"operation {name} has no decomposition rule. {PATCHED}"


def _total(value):
    if isinstance(value, Decomposed):
        return value.total
    return type(value)(map(_total, value)) if isinstance(value, list | tuple) else value


def _scalars(args, kwargs) -> bool:
    return not any(isinstance(a, Tensor) for a in (*args[1:], *kwargs.values()))


def _only_first(name: str, args, kwargs) -> None:
    """Raise NoRule unless the first argument is the only decomposed one."""
    others = [*args[1:], *kwargs.values()]
    if not isinstance(args[0], Decomposed) or any(_holds(a) for a in others):
        raise NoRule(f"{name} of more than one decomposed value, or of one in another than its first place, has no "
                     f"rule. {PATCHED}")


def _holds(value) -> bool:
    if isinstance(value, list | tuple):
        return any(map(_holds, value))
    return isinstance(value, Decomposed)


def _attribute(function, args):
    """`x.shape` and the like; `x.T` is a linear map."""
    name = getattr(getattr(function, "__self__", None), "__name__", "")
    if name in table.ATTRIBUTES:
        return linear(lambda x: getattr(x, name), args, {}, name)
    if name == "data":
        return args[0]
    found = getattr(args[0].total, name)
    if isinstance(found, Tensor):
        raise NoRule(f"attribute {name} of a decomposed value has no rule")
    return found


def _linear(function, args, kwargs, name: str):
    if function in table.LIKE:
        if not isinstance(args[0], Decomposed):  # a constant in the shape or type of a decomposed value
            return function(*_total(args), **kwargs)
        args = (args[0], *_total(args[1:]))
    _only_first(name, args, kwargs)
    return linear(function, args, kwargs, name)


def _as_parts(value, like: Tensor) -> Decomposed:
    if isinstance(value, Decomposed):
        return value
    return parts(value if isinstance(value, Tensor) else torch.as_tensor(value, dtype=like.dtype, device=like.device))


def add(function, args, kwargs):
    """Sums: parts add up; a plain addend is irrelevant, a parameter is a bias."""
    a, b = args if len(args) == 2 else (args[0], kwargs["other"])
    alpha = kwargs.get("alpha", 1)
    total = function(*_total((a, b)), alpha=alpha) if alpha != 1 else function(*_total((a, b)))
    signs = (-alpha, 1) if function in table.REVERSED_SUB else (1, table.ADD[function] * alpha)
    like = (a if isinstance(a, Decomposed) else b).total
    values = [_as_parts(a, like), _as_parts(b, like)]
    rows = [lead(v.relevant, total.dim()) for v in values]
    r = _sum(rows[0], rows[1], *signs, total)
    for constant, sign, other in ((a, signs[0], 1), (b, signs[1], 0)):
        if isinstance(constant, nn.Parameter):
            r = current_rules().with_bias(r, constant, rows[other], values[other].total, sign)
    return finite(name_of(function), total, r)


def _sum(a: Tensor, b: Tensor, sign_a, sign_b, total: Tensor) -> Tensor:
    """sign_a a + sign_b b of parts of which one may have fewer sources."""
    if not len(a) or not len(b):
        one, sign = (a, sign_a) if len(a) else (b, sign_b)
        return (one if sign == 1 else sign * one).expand(len(one), *total.shape)
    rows = max(len(a), len(b))
    a, b = grow(a, rows), grow(b, rows)
    return torch.add(a if sign_a == 1 else sign_a * a, b, alpha=sign_b)


def product(function, args, kwargs):
    """Products, elementwise or matrix: linear in one decomposed factor, a rule of their own with two."""
    if function is torch.einsum:
        equation, *operands = args
        operands = list(operands[0]) if len(operands) == 1 and isinstance(operands[0], list | tuple) else operands
        return _product(lambda *factors: torch.einsum(equation, *factors), operands, "einsum")
    return _product(function, [*args, *kwargs.values()], name_of(function))


def _product(function, operands, name: str):
    count = sum(isinstance(o, Decomposed) for o in operands)
    if count == 1:
        return times(function, operands, name)
    if count == 2 and len(operands) == 2:
        return current_rules().product(function, product_rows(function, *operands), *operands, name)
    raise NoRule(f"a product of {count} decomposed values ({name}) has no rule")


def division(function, args, kwargs):
    """x / constant is linear; a decomposed divisor is the nonlinear 1/x and a product."""
    a, b = args if len(args) == 2 else (args[0], kwargs["other"])
    if kwargs.get("rounding_mode") is not None:
        raise NoRule(f"division rounded to {kwargs['rounding_mode']!r} has no rule. {PATCHED}")
    if function in table.REVERSED_DIVISIONS:
        a, b = b, a
    if not isinstance(b, Decomposed):
        total = a.total / b
        return finite("division", total, lead(a.relevant, total.dim()) / b)
    inverse = current_rules().nonlinear(lambda x: 1 / x, b, "division", elementwise=True)
    return _product(torch.mul, [a, inverse], "division")


def affine(function, x, weight, bias=None, *rest, **kwargs):
    """A linear map plus a bias: the bias is shared by the rules."""
    name = name_of(function)
    _only_first(name, (x, weight, bias, *rest), kwargs)
    if function is F.linear:
        return _biased(name, *_at_once(lambda v: F.linear(v, weight), x), bias)
    total, r = function(x.total, weight, None, *rest, **kwargs), x.relevant
    r = mapped(function, r, (weight, None, *rest), kwargs) if len(r) else total.new_zeros(0, *total.shape)
    return _biased(name, total, r, bias if bias is None else bias.reshape(-1, *[1] * (weight.dim() - 2)))


def _at_once(apply, x: Decomposed) -> tuple[Tensor, Tensor]:
    """Total and parts under one map of rows, so that its weights are read once."""
    both = apply(torch.cat([x.total[None], x.relevant]))
    return both[0], both[1:]


def _biased(name: str, whole: Tensor, r: Tensor, bias) -> Decomposed:
    """The bias comes after the map, not fused with it: subtracting it again would blur small parts' magnitudes."""
    if bias is None:
        return finite(name, whole, r)
    return finite(name, whole + bias, current_rules().with_bias(r, bias, r, whole))


def _add_product(bias, x, weight, *, beta=1, alpha=1):
    """addmm and baddbmm: beta bias + alpha x @ weight."""
    simple = isinstance(x, Decomposed) and isinstance(bias, nn.Parameter) and not isinstance(weight, Decomposed)
    if simple and x.dim() == weight.dim() == 2 and alpha == beta == 1:
        return _biased("addmm", *_at_once(lambda v: torch.matmul(v, weight), x), bias)
    value = _product(torch.matmul, [x, weight], "matmul") if _holds((x, weight)) else torch.matmul(x, weight)
    return add(torch.add, (value if alpha == 1 else value * alpha, bias), {"alpha": beta})


def _batch_norm(x, mean, var, weight=None, bias=None, training=False, momentum=0.1, eps=1e-5):
    _only_first("batch_norm", (x, mean, var, weight, bias), {})
    if training:
        raise NoRule("batch norm in training mode mixes prompts; call model.eval()")
    shape = (-1, *[1] * (x.dim() - 2))
    factor = (var + eps).rsqrt() * (1 if weight is None else weight)
    shift = ((0 if bias is None else bias) - mean * factor).reshape(shape)
    factor = factor.reshape(shape)
    return _biased("batch_norm", x.total * factor, x.relevant * factor, shift)


def _norm(x: Decomposed, weight, bias, eps: float, center: bool):
    return current_rules().norm(x, weight, bias, eps=eps, center=center, mark=semantic.no_mark)


def _layer_norm(x, normalized_shape, weight=None, bias=None, eps=1e-5):
    if len(normalized_shape) != 1:
        raise NoRule("layer norm over several axes has no rule")
    return _norm(x, weight, bias, eps, True)


def _rms_norm(x, normalized_shape, weight=None, eps=None):
    if len(normalized_shape) != 1:
        raise NoRule("RMS norm over several axes has no rule")
    return _norm(x, weight, None, torch.finfo(x.dtype).eps if eps is None else eps, False)


def _group_norm(x, num_groups, weight=None, bias=None, eps=1e-5):
    flat = x.reshape(x.shape[0], num_groups, -1)
    value = _norm(flat, None, None, eps, True).reshape(x.shape)
    shape = (-1, *[1] * (x.dim() - 2))
    value = value if weight is None else value * weight.reshape(shape)
    if bias is None:
        return value
    bias, r = bias.reshape(shape), grow(x.relevant, len(value.relevant))
    shared = current_rules().with_bias(value.relevant, bias, r, x.total)
    return finite("group_norm", value.total + bias, shared)


def _join(function, tensors, *rest, **kwargs):
    """cat and stack: plain pieces are irrelevant."""
    pieces = aligned(*map(parts, tensors))
    total = function([p.total for p in pieces], *rest, **kwargs)
    rows = [p.relevant for p in pieces]
    return Decomposed(total, each(lambda *rs: function(list(rs), *rest, **kwargs), total, *rows))


def _pad(x, pad, mode="constant", value=None):
    """Padded entries are constants: nothing in them is relevant."""
    total = F.pad(x.total, pad, mode, value)
    if mode == "constant":
        return Decomposed(total, F.pad(x.relevant, pad))
    return Decomposed(total, each(lambda r: F.pad(r, pad, mode), total, x.relevant))


def _dropout(x, p=0.5, training=True, inplace=False):
    if training and p:
        raise NoRule("dropout is on; call model.eval()")
    return x


def _masked_fill(x, mask, value):
    """Filled entries are constants: nothing in them is relevant."""
    if not isinstance(x, Decomposed) or isinstance(mask, Decomposed) or isinstance(value, Decomposed):
        raise NoRule(_refusal(T.masked_fill, (x,)))
    total = x.total.masked_fill(mask, value)
    return Decomposed(total, lead(x.relevant, total.dim()).masked_fill(mask, 0))


def _where(condition, input, other):
    if isinstance(condition, Decomposed):
        raise NoRule(_refusal(T.bool, ()))
    like = (input if isinstance(input, Decomposed) else other).total
    a, b = aligned(_as_parts(input, like), _as_parts(other, like))
    total = torch.where(condition, a.total, b.total)
    return Decomposed(total, torch.where(condition, lead(a.relevant, total.dim()), lead(b.relevant, total.dim())))


def _select(function, x, *rest, **kwargs):
    """top-k, sort, max along an axis: the choice is the total's, the parts are gathered by it."""
    _only_first(name_of(function), (x, *rest), kwargs)
    first = 1 if function in (torch.topk, T.topk) else 0  # topk has k before dim
    dim = kwargs.get("dim", rest[first] if len(rest) > first else -1)
    chosen = function(x.total, *rest, **kwargs)
    if isinstance(chosen, Tensor) or isinstance(dim, Tensor):
        raise NoRule(f"{name_of(function)} over everything, or of two values, has no rule. {PATCHED}")
    indices = chosen.indices if chosen.indices.dim() == x.dim() else chosen.indices.unsqueeze(dim)

    def gather(r: Tensor) -> Tensor:
        found = r.gather(dim, indices)
        return found if found.dim() == chosen.values.dim() else found.squeeze(dim)

    return type(chosen)((Decomposed(chosen.values, each(gather, chosen.values, x.relevant)), chosen.indices))


def _max_pool2d(x, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False):
    """The winner of every window is the total's."""
    total, winners = F.max_pool2d(x.total, kernel_size, stride, padding, dilation, ceil_mode, return_indices=True)

    def gather(r: Tensor) -> Tensor:
        return r.flatten(-2).gather(-1, winners.flatten(-2)).reshape(winners.shape)

    value = Decomposed(total, each(gather, total, x.relevant))
    return (value, winners) if return_indices else value


def _attention(query, key, value, attn_mask=None, dropout_p=0.0, is_causal=False, scale=None, enable_gqa=False):
    """Fused attention, met outside a declared role: our form of it with the same mask."""
    if dropout_p:
        raise NoRule("attention dropout is on; call model.eval()")
    bias = attn_mask
    if is_causal:
        future = torch.ones(query.shape[-2], key.shape[-2], dtype=torch.bool, device=query.device).triu(1)
        bias = torch.zeros_like(future, dtype=query.dtype).masked_fill(future, float("-inf"))
    elif bias is not None and bias.dtype == torch.bool:
        bias = torch.zeros_like(bias, dtype=query.dtype).masked_fill(~bias, float("-inf"))
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    return current_rules().attention(
        query, key, value, bias=bias, scale=scale, softcap=None, mark=semantic.no_mark
    )


def _of(rule, functions) -> dict:
    """Entries whose rule is told which of `functions` was called."""
    return {f: (lambda *args, f=f, **kwargs: rule(f, *args, **kwargs)) for f in functions}


_SPECIAL = {
    **_of(affine, {F.linear, *table.CONVOLUTIONS}),
    **dict.fromkeys((torch.addmm, torch.baddbmm, T.addmm, T.baddbmm), _add_product),
    F.batch_norm: _batch_norm, F.layer_norm: _layer_norm, F.rms_norm: _rms_norm, F.group_norm: _group_norm,
    **_of(_join, (torch.cat, torch.stack, torch.concat)), F.pad: _pad, F.dropout: _dropout,
    T.masked_fill: _masked_fill, torch.masked_fill: _masked_fill, torch.where: _where,
    T.where: lambda x, condition, other: _where(condition, x, other), F.max_pool2d: _max_pool2d,
    **_of(_select, (torch.topk, T.topk, torch.sort, T.sort, torch.max, T.max, torch.min, T.min)),
    F.scaled_dot_product_attention: _attention,
}
