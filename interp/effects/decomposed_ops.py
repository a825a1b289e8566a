"""Torch functions on decomposed values: which are linear, affine, products, nonlinear, and what is refused."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from interp.effects.decomposed_tensor import Decomposed, grow
from interp.effects.decomposition_rules import aligned, current_rules, each, finite, parts
from interp.results.errors import InterpError


class NoRule(InterpError):
    """An operation that would lose the relevant part of a value, or that no rule covers."""


T = Tensor
# one decomposed argument, everything else constant, no constant term of their own
LINEAR = {
    T.view, T.reshape, torch.reshape, T.transpose, torch.transpose, T.permute, torch.permute, T.flatten, torch.flatten,
    T.unflatten, T.unsqueeze, torch.unsqueeze, T.squeeze, torch.squeeze, T.expand, T.expand_as, T.view_as, T.repeat,
    T.repeat_interleave, torch.repeat_interleave, T.contiguous, T.clone, torch.clone, T.detach, T.to, T.type, T.float,
    T.double, T.half, T.bfloat16, T.chunk, torch.chunk, T.split, torch.split, T.unbind, torch.unbind, T.select,
    torch.select, T.narrow, torch.narrow, T.__getitem__, T.index_select, torch.index_select, T.gather, torch.gather,
    T.roll, torch.roll, T.flip, torch.flip, T.neg, torch.neg, T.__neg__, T.sum, torch.sum, T.mean, torch.mean,
    T.cumsum, torch.cumsum, T.tril, torch.tril, T.triu, torch.triu, F.pad, F.dropout, F.avg_pool1d, F.avg_pool2d,
    F.adaptive_avg_pool1d, F.adaptive_avg_pool2d, torch.swapaxes, T.swapaxes, torch.movedim, T.movedim, T.type_as,
    T.diagonal, torch.diagonal, F.unfold, F.interpolate, T.masked_select,
}
ADD = {torch.add: 1, T.add: 1, T.__add__: 1, T.__radd__: 1, torch.sub: -1, T.sub: -1, T.__sub__: -1}
REVERSED_SUB = {T.__rsub__, torch.rsub}
PRODUCTS = {torch.mul, T.mul, T.__mul__, T.__rmul__, torch.multiply, T.multiply, torch.matmul, T.matmul, T.__matmul__,
            T.__rmatmul__, torch.bmm, T.bmm, torch.einsum}
DIVISIONS = {torch.div, T.div, T.__truediv__, torch.true_divide, T.true_divide, torch.divide, T.divide}
NONLINEAR = {
    F.gelu, F.relu, F.relu6, F.silu, F.elu, F.mish, F.softplus, F.hardswish, F.leaky_relu, torch.relu, T.relu, torch.tanh,
    T.tanh, F.tanh, torch.sigmoid, T.sigmoid, F.sigmoid, torch.exp, T.exp, torch.log, T.log, torch.sqrt, T.sqrt,
    torch.rsqrt, T.rsqrt, torch.pow, T.pow, T.__pow__, torch.square, T.square, torch.abs, T.abs, torch.softmax, T.softmax,
    F.softmax, torch.log_softmax, T.log_softmax, F.log_softmax, torch.logsumexp, T.logsumexp, T.amax, torch.amax, T.amin,
    torch.amin, torch.clamp, T.clamp, T.clamp_min, torch.clamp_min, T.norm, torch.linalg.vector_norm, F.normalize,
    T.reciprocal, torch.reciprocal, F.max_pool2d, torch.sin, torch.cos, T.sin, T.cos, F.logsigmoid, torch.erf, T.erf,
    T.var, torch.var, T.std,
}
AFFINE = {F.linear: (1, 2), F.conv1d: (1, 2), F.conv2d: (1, 2), F.conv3d: (1, 2), torch.conv1d: (1, 2),
          torch.conv2d: (1, 2), F.batch_norm: None}
SELECTING = {torch.topk, T.topk, torch.sort, T.sort}
INDEX_FROM_FLOAT = {torch.argmax, T.argmax, torch.argmin, T.argmin, torch.argsort, T.argsort, T.gt, T.lt, T.ge, T.le,
                    T.eq, T.ne, T.__gt__, T.__lt__, T.__ge__, T.__le__, T.__eq__, T.__ne__, torch.gt, torch.lt, torch.ge,
                    torch.le, torch.eq, torch.ne, T.item, T.__bool__, T.__int__, T.__float__, T.tolist, T.numpy,
                    T.long, T.int, T.nonzero, torch.nonzero, torch.multinomial, T.bool, T.round, torch.round}
CONSTANT = {torch.zeros_like, torch.ones_like, torch.empty_like, torch.full_like, torch.rand_like, T.new_zeros, T.new_ones,
            T.new_full, T.new_empty, T.new_tensor, T.isnan, torch.isnan, torch.isfinite, T.isinf, torch.isinf}
FACTS = {T.size, T.dim, T.numel, T.stride, T.is_floating_point, torch.is_floating_point, T.is_contiguous, T.__len__,
         T.get_device, T.element_size, T.is_complex, torch.is_complex, T.storage_offset, torch.numel, T.ndimension}
IN_PLACE = {T.__iadd__: torch.add, T.add_: torch.add, T.__isub__: torch.sub, T.sub_: torch.sub, T.__imul__: torch.mul,
            T.mul_: torch.mul, T.__itruediv__: torch.div, T.div_: torch.div, T.relu_: torch.relu}
_SHAPED = {"T", "mT", "H", "real"}


def name_of(function) -> str:
    """A function's name for messages."""
    return function if isinstance(function, str) else getattr(function, "__name__", repr(function))


def _total(value):
    if isinstance(value, Decomposed):
        return value.total
    if isinstance(value, list | tuple):
        return type(value)(_total(v) for v in value)
    return value


def dispatch(function, args: tuple, kwargs: dict):
    """Apply `function` by its rule. Raises NoRule, naming it, for one that has none or would lose the relevant part."""
    if function is T.view:
        function = T.reshape  # parts may be laid out otherwise than the total
    if getattr(function, "__name__", "") == "__get__":
        return _attribute(function, args)
    if function in FACTS or function in CONSTANT:
        return function(*_total(args), **kwargs)
    if function in LINEAR:
        return linear(function, args, kwargs)
    if function in ADD or function in REVERSED_SUB:
        return add(function, args, kwargs)
    if function in PRODUCTS:
        return product(function, args, kwargs)
    if function in DIVISIONS:
        return division(function, args, kwargs)
    if function in NONLINEAR:
        return current_rules().nonlinear(lambda x: function(x, *args[1:], **kwargs), args[0])
    if function in AFFINE or function in (torch.addmm, torch.baddbmm):
        return affine(function, args, kwargs)
    if function in _SPECIAL:
        return _SPECIAL[function](function, args, kwargs)
    if function in IN_PLACE and isinstance(args[0], Decomposed):
        changed = dispatch(IN_PLACE[function], args, kwargs)
        args[0].total, args[0].relevant = changed.total, changed.relevant
        return args[0]
    raise NoRule(_refusal(function, args))


def _refusal(function, args) -> str:
    name = name_of(function)
    if function in INDEX_FROM_FLOAT:
        return (f"{name} makes a number, a condition or an index out of a decomposed value: a decision that has no "
                'selection rule here. Use rules="ablation", which decides anew in every patched run.')
    if args and not isinstance(args[0], Decomposed) and (name.endswith("_") or name == "__setitem__"):
        return f'{name} writes a decomposed value into a plain tensor, which would lose it. Use rules="ablation".'
    return f'operation {name} has no decomposition rule. Use rules="ablation", which needs none.'


def _attribute(function, args):
    name = getattr(getattr(function, "__self__", None), "__name__", "")
    if name in _SHAPED:
        return linear(lambda x: getattr(x, name), args, {})
    if name == "data":
        return args[0]
    return getattr(args[0].total, name)


def linear(function, args, kwargs):
    """A linear map of one decomposed argument: the same map of every part."""
    place = next((i for i, a in enumerate(args) if isinstance(a, Decomposed)), None)
    if place is None or any(isinstance(a, Decomposed) for a in args[place + 1 :]):
        if function in (T.expand_as, T.view_as, T.type_as, T.to):
            return linear(function, (*args[: place + 1], *_total(args[place + 1 :])), kwargs)
        raise NoRule(f"{name_of(function)} of more than one decomposed value has no rule")
    value = args[place]
    total = function(*args[:place], value.total, *args[place + 1 :], **kwargs)
    if isinstance(total, Tensor) and not (total.is_floating_point() or total.is_complex()):
        raise NoRule(_refusal(T.long, args))
    if value.relevant.shape[0] == 0:
        return _wrap(total, None)
    part = torch.func.vmap(lambda r: function(*args[:place], r, *args[place + 1 :], **kwargs))(value.relevant)
    return _wrap(total, part)


def _wrap(total, part):
    if isinstance(total, tuple | list):
        parts = part if part is not None else [None] * len(total)
        return type(total)(_wrap(t, p) for t, p in zip(total, parts))
    return Decomposed(total, total.new_zeros(0, *total.shape) if part is None else part)


def _as_parts(value, like: Tensor) -> Decomposed:
    if isinstance(value, Decomposed):
        return value
    return parts(value if isinstance(value, Tensor) else torch.as_tensor(value, dtype=like.dtype, device=like.device))


def add(function, args, kwargs):
    """Sums: parts add up; a plain addend is irrelevant, a parameter is a bias."""
    a, b, *_ = args
    total = function(*_total(args), **kwargs)
    sign = -1 if function in REVERSED_SUB else ADD[function]
    factor = kwargs.get("alpha", 1) * sign
    like = (a if isinstance(a, Decomposed) else b).total
    a_, b_ = aligned(_as_parts(a, like), _as_parts(b, like))
    if function in REVERSED_SUB:
        r = each(lambda u, v: v - u, total, a_.relevant, b_.relevant)
    else:
        r = each(lambda u, v: u + factor * v, total, a_.relevant, b_.relevant)
    for constant, value in ((b, a_), (a, b_)):
        if isinstance(constant, nn.Parameter):
            share = current_rules().bias_share(constant, value.relevant, value.irrelevant)
            r = r + (factor if constant is b else 1) * share
    return finite(function, total, r)


def product(function, args, kwargs):
    """Products, elementwise or matrix: linear in one decomposed factor, a rule of their own with two."""
    if function is torch.einsum:
        equation, *operands = args
        operands = list(operands[0]) if len(operands) == 1 and isinstance(operands[0], list | tuple) else operands
        return _product(lambda *parts: torch.einsum(equation, *parts), operands)
    return _product(lambda *parts: function(*parts, **kwargs), args)


def _product(function, operands):
    places = [i for i, o in enumerate(operands) if isinstance(o, Decomposed)]
    if len(places) == 1:
        return linear(function, tuple(operands), {})
    if len(places) == 2 and len(operands) == 2:
        return current_rules().product(function, *operands)
    raise NoRule(f"a product of {len(places)} decomposed values has no rule")


def division(function, args, kwargs):
    """x / constant is linear; a decomposed divisor is the nonlinear 1/x and a product."""
    a, b = args[:2]
    if not isinstance(b, Decomposed):
        return linear(function, args, kwargs)
    inverse = current_rules().nonlinear(lambda x: 1 / x, b)
    return product(torch.mul, (a, inverse), {})


def affine(function, args, kwargs):
    """A linear map plus a bias: the bias is shared by the rules."""
    if function in (torch.addmm, torch.baddbmm):  # bias + x @ weight
        bias, x, weight = args
        return _affine(lambda v: torch.matmul(v, weight), x, bias)
    if function is F.batch_norm:
        return _batch_norm(*args, **kwargs)
    x, weight, *rest = args
    bias = kwargs.pop("bias", None) if "bias" in kwargs else (rest.pop(0) if rest else None)
    if isinstance(weight, Decomposed) or isinstance(bias, Decomposed):
        raise NoRule(f"{name_of(function)} with a decomposed weight has no rule")
    if bias is not None and function is not F.linear:
        bias = bias.reshape(-1, *[1] * (weight.dim() - 2))
    return _affine(lambda v: function(v, weight, None, *rest, **kwargs), x, bias)


def _affine(apply, x: Decomposed, bias) -> Decomposed:
    """The bias is added to A t as in the model's own rounding elsewhere: relative differences stay at one ulp."""
    value = linear(apply, (x,), {})
    if bias is None:
        return value
    r = value.relevant + current_rules().bias_share(bias, value.relevant, value.irrelevant)
    return Decomposed(value.total + bias, r)


def _batch_norm(x, mean, var, weight=None, bias=None, training=False, momentum=0.1, eps=1e-5):
    if training:
        raise NoRule("batch norm in training mode mixes prompts; call model.eval()")
    shape = (1, -1, *[1] * (x.dim() - 2))
    factor = (var + eps).rsqrt() * (1 if weight is None else weight)
    shift = (0 if bias is None else bias) - mean * factor
    return _affine(lambda v: v * factor.reshape(shape[-v.dim():] if v.dim() < len(shape) else shape), x, shift.reshape(shape))


def _layer_norm(function, args, kwargs):
    from interp.hooks import semantic

    x, shape, weight, bias, eps = _norm_arguments(args, kwargs)
    if len(shape) != 1:
        raise NoRule("layer norm over several axes has no rule")
    return semantic.norm(x, weight, bias, eps=eps, center=True)


def _norm_arguments(args, kwargs):
    names = ("input", "normalized_shape", "weight", "bias", "eps")
    given = {"weight": None, "bias": None, "eps": 1e-5, **dict(zip(names, args)), **kwargs}
    return [given[n] for n in names]


def _group_norm(function, args, kwargs):
    from interp.hooks import semantic

    x, groups, weight, bias, eps = _norm_arguments(args, {("normalized_shape" if k == "num_groups" else k): v
                                                          for k, v in kwargs.items()})
    flat = x.reshape(x.shape[0], groups, -1)
    value = semantic.norm(flat, None, None, eps=eps, center=True).reshape(x.shape)
    shape = (1, -1, *[1] * (x.dim() - 2))
    value = value if weight is None else value * weight.reshape(shape)
    if bias is None:
        return value
    r = grow(x.relevant, value.relevant.shape[0])
    share = current_rules().bias_share(bias.reshape(shape), r, x.total - r)
    return Decomposed(value.total + bias.reshape(shape), value.relevant + share)


def _join(function, args, kwargs):
    """cat and stack: plain pieces are irrelevant."""
    pieces, *rest = args
    pieces = aligned(*map(parts, pieces))
    total = function([p.total for p in pieces], *rest, **kwargs)
    return Decomposed(total, each(lambda *rs: function(list(rs), *rest, **kwargs), total, *(p.relevant for p in pieces)))


def _masked_fill(function, args, kwargs):
    """Filled entries are constants: nothing in them is relevant."""
    x, mask, value = args
    if not isinstance(x, Decomposed) or isinstance(mask, Decomposed):
        raise NoRule(_refusal(function, args))
    return Decomposed(x.total.masked_fill(mask, value), x.relevant.masked_fill(mask, 0))


def _where(function, args, kwargs):
    mask, a, b = args if function is torch.where else (args[1], args[0], args[2])
    if isinstance(mask, Decomposed):
        raise NoRule(_refusal(T.bool, args))
    like = (a if isinstance(a, Decomposed) else b).total
    a, b = aligned(_as_parts(a, like), _as_parts(b, like))
    total = torch.where(mask, a.total, b.total)
    return Decomposed(total, each(lambda u, v: torch.where(mask, u, v), total, a.relevant, b.relevant))


def _select(function, args, kwargs):
    """top-k and sort: the choice is the total's, the parts are gathered by it."""
    x, *rest = args
    chosen = function(x.total, *rest, **kwargs)
    dim = kwargs.get("dim", rest[1] if len(rest) > 1 and function in (torch.topk, T.topk) else -1)
    part = each(lambda r: r.gather(dim, chosen.indices), chosen.values, x.relevant)
    return type(chosen)((Decomposed(chosen.values, part), chosen.indices))


def _attention(function, args, kwargs):
    """Fused attention, met outside a declared role: our form of it with the same mask."""
    from interp.hooks import semantic

    names = ("query", "key", "value", "attn_mask", "dropout_p", "is_causal")
    given = {"attn_mask": None, "is_causal": False, "scale": None, **dict(zip(names, args)), **kwargs}
    q, k, v, bias = (given[n] for n in ("query", "key", "value", "attn_mask"))
    if given["is_causal"]:
        future = torch.ones(q.shape[-2], k.shape[-2], dtype=torch.bool, device=q.device).triu(1)
        bias = torch.zeros_like(future, dtype=q.dtype).masked_fill(future, float("-inf"))
    elif bias is not None and bias.dtype == torch.bool:
        bias = torch.zeros_like(bias, dtype=q.dtype).masked_fill(~bias, float("-inf"))
    return semantic.attention(q, k, v, bias=bias, scale=given["scale"] or q.shape[-1] ** -0.5)


_SPECIAL = {
    F.layer_norm: _layer_norm, F.group_norm: _group_norm, torch.cat: _join, torch.stack: _join,
    torch.concat: _join, T.masked_fill: _masked_fill, torch.masked_fill: _masked_fill, torch.where: _where, T.where: _where,
    F.scaled_dot_product_attention: _attention, **dict.fromkeys(SELECTING, _select),
}
