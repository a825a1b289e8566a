"""Chosen derivatives: the value stays what it is, the gradient follows the rule set.

Used by the linearised engine inside a `TorchFunctionMode`, so that operations written in plain torch functions and the
declared operations of `hooks.semantic` obey the same rules.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from interp.hooks import semantic

_GATE = "_interp_gate"  # marks what an activation returned, so that a product knows which factor gates
_PRODUCTS = {torch.mul, Tensor.mul, Tensor.__mul__, Tensor.__rmul__, torch.multiply, Tensor.multiply}
_ACTIVATIONS = {F.gelu, F.relu, F.silu, torch.relu, Tensor.relu, torch.tanh, Tensor.tanh, torch.sigmoid,
                Tensor.sigmoid, F.softplus, F.leaky_relu, F.elu, F.hardswish, F.mish, F.relu6}
_SOFTMAX = {F.softmax, torch.softmax, Tensor.softmax}


@dataclass(frozen=True)
class LinearRules:
    """Which operations lose their true derivative. All False is the tangent: nothing is changed."""

    hold_norm: bool = False
    hold_pattern: bool = False
    ratio_activation: bool = False
    product: str = "tangent"  # "half": each factor gets half; "gate": the activated factor is held

    def norm(self, x: Tensor, weight, bias, *, eps: float, center: bool, mark) -> Tensor:
        """A norm whose denominator is a constant."""
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        wide = wide - wide.mean(-1, keepdim=True) if center else wide
        scale = (wide.pow(2).mean(-1, keepdim=True) + eps).sqrt()
        scale = mark("scale", scale.detach() if self.hold_norm else scale)
        return semantic.affine(mark("normalized", (wide / scale).to(x.dtype)), weight, bias)

    def attention(self, q: Tensor, k: Tensor, v: Tensor, *, bias, scale: float, softcap, mark) -> Tensor:
        """Attention whose pattern is a constant, where it is held."""
        k, v = semantic.repeat_heads(k, q.shape[1]), semantic.repeat_heads(v, q.shape[1])
        scores = semantic.scores(q, k, bias=bias, scale=scale, softcap=softcap)
        scores = mark("attn_scores", scores.detach() if self.hold_pattern else scores)
        pattern = torch.softmax(scores.to(torch.promote_types(scores.dtype, torch.float32)), -1).to(q.dtype)
        pattern = mark("pattern", pattern.detach() if self.hold_pattern else pattern)
        return torch.matmul(pattern, v)

    def activation(self, function: Callable, x: Tensor) -> Tensor:
        """x times the constant f(x)/x; an f with f(0) != 0 keeps that as a constant."""
        if not self.ratio_activation or not x.requires_grad:
            out = function(x)
        else:
            with torch.no_grad():
                value, zero = function(x), function(torch.zeros_like(x))
                ratio = (value - zero) / torch.where(x == 0, 1, x)
                small = function(torch.full_like(x, 1e-3)) - function(torch.full_like(x, -1e-3))
                ratio = torch.where(x == 0, small / 2e-3, ratio)
            out = _with_gradient_of(value, x * ratio)
        setattr(out, _GATE, True)
        return out

    def scan(self, x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, *, mark) -> Tensor:
        """A scan that is linear in x where patterns are held: its dt, B and C are what its pattern is made of."""
        if self.hold_pattern:
            dt, B, C = dt.detach(), B.detach(), C.detach()
        with semantic.use_rules(None):
            return semantic.scan(x, dt, A, B, C, mark=mark)

    def multiply(self, function: Callable, a, b) -> Tensor:
        """A product of two values that both depend on the sources."""
        if self.product == "half":
            half = 0.5 * function(a, b.detach()) + 0.5 * function(a.detach(), b)
            return _with_gradient_of(function(a, b).detach(), half)
        if getattr(a, _GATE, False) and not getattr(b, _GATE, False):
            return function(a.detach(), b)
        if getattr(b, _GATE, False) and not getattr(a, _GATE, False):
            return function(a, b.detach())
        return function(a, b)


class LinearMode(TorchFunctionMode):
    """Sends products, activations and norms written as plain torch functions to the rules."""

    def __init__(self, rules: LinearRules):
        super().__init__()
        self.rules = rules

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs, rules = kwargs or {}, self.rules
        if function in _PRODUCTS and rules.product != "tangent" and _both_live(args):
            return rules.multiply(function, *args[:2])
        if function in _ACTIVATIONS and rules.ratio_activation and _live(args[0]):
            return rules.activation(lambda x: function(x, *args[1:], **kwargs), args[0])
        if function in _SOFTMAX and rules.hold_pattern:  # attention or a router written out in the model's own code
            return function(*args, **kwargs).detach()
        if function is F.scaled_dot_product_attention and rules.hold_pattern:
            q, k, *rest = args
            return function(q.detach(), k.detach(), *rest, **kwargs)
        if function is F.layer_norm and rules.hold_norm and _live(args[0]):
            return self._layer_norm(*args, **kwargs)
        if function is F.group_norm and rules.hold_norm and _live(args[0]):
            return self._group_norm(*args, **kwargs)
        return function(*args, **kwargs)

    def _layer_norm(self, x, normalized_shape, weight=None, bias=None, eps=1e-5):
        if len(normalized_shape) == 1:
            return self.rules.norm(x, weight, bias, eps=eps, center=True, mark=semantic.no_mark)
        flat = x.flatten(-len(normalized_shape))
        out = self.rules.norm(flat, None, None, eps=eps, center=True, mark=semantic.no_mark)
        return semantic.affine(out.reshape(x.shape), weight, bias)

    def _group_norm(self, x, num_groups, weight=None, bias=None, eps=1e-5):
        grouped = x.reshape(x.shape[0], num_groups, -1)
        out = self.rules.norm(grouped, None, None, eps=eps, center=True, mark=semantic.no_mark).reshape(x.shape)
        shape = (1, -1, *[1] * (x.dim() - 2))
        return semantic.affine(out, None if weight is None else weight.reshape(shape),
                               None if bias is None else bias.reshape(shape))


def _with_gradient_of(value: Tensor, other: Tensor) -> Tensor:
    """`value`, bit for bit, with the derivative of `other`: what is added is zero."""
    return value + (other - other.detach())


def _live(value) -> bool:
    return isinstance(value, Tensor) and value.requires_grad


def _both_live(args) -> bool:
    return len(args) > 1 and _live(args[0]) and _live(args[1])


TANGENT = LinearRules()
RELP = LinearRules(hold_norm=True, ratio_activation=True, product="half")
FROZEN = LinearRules(hold_norm=True, hold_pattern=True, ratio_activation=True, product="gate")
DIRECT = LinearRules(hold_norm=True)
