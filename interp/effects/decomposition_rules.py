"""What a rule set decides at each kind of operation: one object per decomposed rule set.

Notation: t total, r relevant part [source, ...], i = t - r.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import torch
from torch import Tensor

from interp.effects.decomposed_tensor import Decomposed, grow
from interp.hooks import semantic


@dataclass(frozen=True)
class DecompositionRules:
    """`interaction`: "irrelevant" (f(r)) or "shapley" (mean of f(t)-f(i) and f(r)-f(0)) for operations of several parts;
    activations use f(t)-f(i) or the same mean. `bias`: "split" by magnitude or "irrelevant". `tol` is added to the
    magnitudes' sum, `norm_eps` replaces the model's where given."""

    interaction: str = "irrelevant"
    bias: str = "split"
    sign_normalise: bool = True
    tol: float = 0.0
    norm_eps: float | None = None

    # -- constants ------------------------------------------------------------------------------------------------

    def bias_share(self, bias: Tensor, r: Tensor, i: Tensor) -> Tensor:
        """The relevant part of a bias: by magnitude, elementwise; 0 where both parts are 0."""
        if self.bias == "irrelevant":
            return torch.zeros_like(r)
        size = r.abs() + i.abs() + self.tol
        return bias * torch.where(size > 0, r.abs() / torch.where(size > 0, size, 1), 0)

    # -- operations -----------------------------------------------------------------------------------------------

    def nonlinear(self, function: Callable[[Tensor], Tensor], value: Decomposed) -> Decomposed:
        """f(t) - f(i), or the mean of that and f(r) - f(0)."""
        total = function(value.total)
        r = total - each(function, total, value.irrelevant)
        if self.interaction == "shapley":
            alone = each(function, total, value.relevant) - function(torch.zeros_like(value.total))
            r = (r + alone) / 2
        return finite(function, total, r)

    def product(self, function: Callable, a: Decomposed, b: Decomposed) -> Decomposed:
        """A product of two decomposed values: f(r, r), or the mean with f(t, t) - f(i, i)."""
        a, b = aligned(a, b)
        total = function(a.total, b.total)
        r = each(function, total, a.relevant, b.relevant)
        if self.interaction == "shapley":
            r = (r + total - each(function, total, a.irrelevant, b.irrelevant)) / 2
        return finite(function, total, r)

    # -- declared operations (the protocol of hooks.semantic.Rules) ------------------------------------------------

    def norm(self, x: Tensor, weight, bias, *, eps: float, center: bool, mark) -> Tensor:
        """Statistics of the total for every part; the shift is shared by the magnitudes of the norm's input."""
        eps = eps if self.norm_eps is None else self.norm_eps
        if not isinstance(x, Decomposed):
            with semantic.use_rules(None):
                return semantic.norm(x, weight, bias, eps=eps, center=center, mark=mark)
        dtype = x.total.dtype
        wide = torch.promote_types(dtype, torch.float32)
        t, r = x.total.to(wide), x.relevant.to(wide)
        centre = (lambda v: v - v.mean(-1, keepdim=True)) if center else (lambda v: v)
        scale = mark("scale", (centre(t).pow(2).mean(-1, keepdim=True) + eps).sqrt())
        scale = scale.total if isinstance(scale, Decomposed) else scale
        value = mark("normalized", Decomposed((centre(t) / scale).to(dtype), (centre(r) / scale).to(dtype)))
        value = semantic.affine(value, weight, None)
        if bias is None:
            return value
        r = grow(x.relevant, value.relevant.shape[0])
        share = self.bias_share(bias, r, x.total - r)
        return Decomposed(value.total + bias, value.relevant + share)

    def attention(self, q: Tensor, k: Tensor, v: Tensor, *, bias, scale: float, softcap, mark) -> Tensor:
        """z_r = softmax(Q_r K_r + mask) V_r, or the mean of that and z - attention of the irrelevant parts.

        A source at the scores or the pattern itself replaces that part of what follows from q and k.
        """
        k, v = semantic.repeat_heads(k, q.shape[1]), semantic.repeat_heads(v, q.shape[1])
        q, k, v = aligned(*map(parts, (q, k, v)))

        def scores(a: Tensor, b: Tensor) -> Tensor:
            with semantic.use_rules(None):
                return semantic.scores(a, b, bias=bias, scale=scale, softcap=softcap)

        total = scores(q.total, k.total)
        masked = torch.zeros_like(total) if bias is None else bias.expand_as(total)
        shown = torch.isfinite(masked) & (masked > torch.finfo(total.dtype).min / 2)
        r = torch.where(shown, each(scores, total, q.relevant, k.relevant) - masked, 0)
        i = each(scores, total, q.irrelevant, k.irrelevant) if self.interaction == "shapley" else None
        marked = parts(mark("attn_scores", Decomposed(total, r)))
        i = _follow(i, r, marked)
        pattern = Decomposed(_softmax(marked.total), _softmax(marked.relevant + masked))
        p_i = None if i is None else _softmax(i)
        after = parts(mark("pattern", pattern))
        p_i = _follow(p_i, pattern.relevant, after)
        after, v = aligned(after, v)
        z = torch.matmul(after.total, v.total)
        z_r = torch.matmul(after.relevant, v.relevant)
        if p_i is not None:
            z_r = (z_r + z - torch.matmul(grow_with(p_i, after.total, z_r.shape[0]), v.irrelevant)) / 2
        return finite("attention", z, z_r)

    def activation(self, function: Callable, x: Tensor) -> Tensor:
        """An activation: the nonlinear rule on its one input."""
        with semantic.use_rules(None):
            return self.nonlinear(function, x) if isinstance(x, Decomposed) else function(x)

    def scan(self, x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor) -> Tensor:
        """Linear in x at the total's dt, B and C; with "shapley", the mean of that and scan(t) - scan(i)."""
        with semantic.use_rules(None):
            x, dt, B, C = aligned(*map(parts, (x, dt, B, C)))
            total = semantic.scan(x.total, dt.total, A, B.total, C.total)
            r = each(lambda part: semantic.scan(part, dt.total, A, B.total, C.total), total, x.relevant)
            if self.interaction == "shapley":
                rest = each(
                    lambda a, b, c, d: semantic.scan(a, b, A, c, d), total, x.irrelevant, dt.irrelevant, B.irrelevant,
                    C.irrelevant,
                )
                r = (r + total - rest) / 2
            return finite("scan", total, r)


def _follow(irrelevant: Tensor | None, before: Tensor, after: Decomposed) -> Tensor | None:
    """The irrelevant scores or pattern, where a source put its own part there."""
    if irrelevant is None:
        return None
    rows = after.relevant.shape[0]
    before = grow(before, rows)
    irrelevant = grow_with(irrelevant, after.total, rows)
    return torch.where(after.relevant == before, irrelevant, after.irrelevant)


def grow_with(relevant: Tensor, fill: Tensor, rows: int) -> Tensor:
    """Like `grow`, with `fill` for the sources that are added (an irrelevant part starts as the total)."""
    missing = rows - relevant.shape[0]
    return relevant if missing <= 0 else torch.cat([relevant, fill.expand(missing, *fill.shape)])


def _softmax(scores: Tensor) -> Tensor:
    return torch.softmax(scores.to(torch.promote_types(scores.dtype, torch.float32)), -1).to(scores.dtype)


def each(function: Callable, total: Tensor, *relevant: Tensor) -> Tensor:
    """`function` on the parts of every source; `total` gives the shape where there is none."""
    if relevant[0].shape[0] == 0:
        return total.new_zeros(0, *total.shape)
    return torch.func.vmap(function)(*relevant)


def parts(value: Tensor) -> Decomposed:
    """`value` as a decomposed one: a plain value has nothing relevant in it."""
    return value if isinstance(value, Decomposed) else Decomposed(value, value.new_zeros(0, *value.shape))


def aligned(*values: Decomposed) -> tuple[Decomposed, ...]:
    """The same values with the same number of sources."""
    rows = max(v.relevant.shape[0] for v in values)
    return tuple(Decomposed(v.total, grow(v.relevant, rows)) for v in values)


def finite(name, total: Tensor, r: Tensor) -> Decomposed:
    """A decomposed result; nothing is relevant where the total is infinite, and a NaN names the operation."""
    from interp.effects.decomposed_ops import NoRule, name_of

    if not torch.isfinite(total).all():
        r = torch.where(torch.isfinite(total), r, 0)
    if torch.isnan(r).any() or torch.isnan(total).any():
        raise NoRule(f"decomposing {name_of(name)} gave NaN")
    return Decomposed(total, r)


CDT = DecompositionRules()
CDT_PUBLISHED = DecompositionRules(tol=1e-8, norm_eps=1e-8)
LOCAL_SHAPLEY = DecompositionRules(interaction="shapley", bias="irrelevant", sign_normalise=False)

_current: ContextVar[DecompositionRules] = ContextVar("interp_decomposition", default=CDT)


@contextmanager
def active_rules(rules: DecompositionRules) -> Iterator[None]:
    """Torch functions on `Decomposed` values inside follow `rules`."""
    token = _current.set(rules)
    try:
        yield
    finally:
        _current.reset(token)


def current_rules() -> DecompositionRules:
    """The rules that torch functions follow now."""
    return _current.get()
