"""What a rule set decides at each kind of operation: one object per decomposed rule set.

Notation: t total, r relevant part [source, ...], i = t - r.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import torch
from torch import Tensor

from interp.effects.decomposed_tensor import Decomposed, NoRule, aligned, each, finite, grow, masked, parts
from interp.hooks import semantic


@dataclass(frozen=True)
class DecompositionRules:
    """`interaction`: "irrelevant" (f(r)) or "shapley" (mean of f(t)-f(i) and f(r)-f(0)) for operations of several
    parts; activations use f(t)-f(i) or the same mean. `bias`: "split" by magnitude or "irrelevant". `tol` is added to
    the magnitudes' sum, `norm_eps` replaces the model's where given."""

    interaction: str = "irrelevant"
    bias: str = "split"
    sign_normalise: bool = True
    tol: float = 0.0
    norm_eps: float | None = None

    # -- constants ------------------------------------------------------------------------------------------------

    def with_bias(self, r: Tensor, bias: Tensor, of: Tensor, whole: Tensor, sign: float = 1) -> Tensor:
        """`r` with the relevant part of a bias: by the magnitudes of `of` and `whole - of`, elementwise; nothing
        where both are 0."""
        if self.bias == "irrelevant" or not len(of):
            return r
        # |r| + |i| is the larger of |r + i| and |r - i|: two passes over the parts fewer
        least = whole.abs().clamp_min_(torch.finfo(of.dtype).tiny)
        size = torch.maximum(torch.add(-whole, of, alpha=2).abs_(), least)
        share = of.abs().div_(size.add_(self.tol) if self.tol else size)
        return torch.addcmul(r, share, bias.to(share), value=sign)

    # -- operations -----------------------------------------------------------------------------------------------

    def nonlinear(
        self, function: Callable[[Tensor], Tensor], value: Decomposed, name: str, elementwise: bool = False
    ) -> Decomposed:
        """f(t) - f(i), or the mean of that and f(r) - f(0). A function that works in place changes `value` too."""
        own = value.total.clone()
        total = function(own)
        of_rows = (lambda f, t, rows: f(rows)) if elementwise and len(value.relevant) else each
        r = total - of_rows(function, total, value.irrelevant)
        if self.interaction == "shapley":
            alone = of_rows(function, total, value.relevant.clone()) - function(torch.zeros_like(value.total))
            r = (r + alone) / 2
        result = finite(name, total, r)
        in_place = total.data_ptr() == own.data_ptr() and not torch.equal(own, value.total)
        return value.become(result, name) if in_place else result

    def product(self, function: Callable, rows: Callable, a: Decomposed, b: Decomposed, name: str) -> Decomposed:
        """A product of two decomposed values: f(r, r), or the mean with f(t, t) - f(i, i).

        `rows(total, r, r)` is the product of every source's parts.
        """
        a, b = aligned(a, b)
        total = function(a.total, b.total)
        r = rows(total, a.relevant, b.relevant)
        if self.interaction == "shapley":
            r = (r + total - rows(total, a.irrelevant, b.irrelevant)) / 2
        return finite(name, total, r)

    def normalise_sign(self, value: Decomposed) -> Decomposed:
        """Where relevant and irrelevant part differ in sign, the larger one takes the sum and the other becomes 0.

        That is: r is clamped to lie between 0 and t.
        """
        low, high = value.total.clamp(max=0), value.total.clamp(min=0)
        return Decomposed(value.total, value.relevant.clamp(low, high) if len(value.relevant) else value.relevant)

    # -- declared operations (the protocol of hooks.semantic.Rules) ------------------------------------------------

    def norm(self, x: Tensor, weight, bias, *, eps: float, center: bool, mark) -> Tensor:
        """Statistics of the total for every part; the shift is shared by the magnitudes of the norm's input."""
        x = parts(x)  # a source may begin inside: at the normalised value
        dtype = x.total.dtype
        wide = torch.promote_types(dtype, torch.float32)
        t, r = x.total.to(wide), x.relevant.to(wide)
        if center:
            t, r = t - t.mean(-1, keepdim=True), r - r.mean(-1, keepdim=True)
        eps = eps if self.norm_eps is None else self.norm_eps
        scale = mark("scale", (t.pow(2).mean(-1, keepdim=True) + eps).sqrt())
        scale = scale.total if isinstance(scale, Decomposed) else scale
        value = mark("normalized", Decomposed((t / scale).to(dtype), (r / scale).to(dtype)))
        value = semantic.affine(value, weight, None)
        if bias is None:
            return value
        r = grow(x.relevant, value.relevant.shape[0])
        shared = self.with_bias(value.relevant, bias, r, x.total)
        return finite("norm", value.total + bias, shared)

    def attention(self, q: Tensor, k: Tensor, v: Tensor, *, bias, scale: float, softcap, mark) -> Tensor:
        """z_r = softmax(Q_r K_r + mask) V_r, or the mean of that and z - attention of the irrelevant parts.

        A source at the scores or the pattern itself replaces that part of what follows from q and k.
        """
        if isinstance(bias, Decomposed):
            raise NoRule("attention scores with a decomposed bias have no rule")
        k, v = semantic.repeat_heads(k, q.shape[1]), semantic.repeat_heads(v, q.shape[1])
        q, k, v = aligned(*map(parts, (q, k, v)))

        def scores(a: Tensor, b: Tensor, bias=None) -> Tensor:
            with semantic.use_rules(None):
                return semantic.scores(a, b, bias=bias, scale=scale, softcap=softcap)

        total = scores(q.total, k.total, bias)
        allowed = 0 if bias is None else bias
        r = scores(q.relevant, k.relevant)  # without the bias, a constant that no source brings
        i = scores(q.irrelevant, k.irrelevant, bias) if self.interaction == "shapley" else None
        marked = parts(mark("attn_scores", Decomposed(total, _unmasked(r, bias))))
        p_r = _softmax(marked.relevant + allowed) * _met(q, k, v, marked)
        after = parts(mark("pattern", Decomposed(_softmax(marked.total), p_r)))
        p_i = None if i is None else _follow(_softmax(_follow(i, marked)), after)
        after, v = aligned(after, v)
        z = torch.matmul(after.total, v.total)
        z_r = torch.matmul(after.relevant, v.relevant)
        if p_i is not None:
            z_r = (z_r + z - torch.matmul(_grow_with(p_i, after.total, len(z_r)), v.irrelevant)) / 2
        return finite("attention", z, z_r)

    def activation(self, function: Callable, x: Tensor) -> Tensor:
        """An activation: the nonlinear rule on its one input."""
        with semantic.use_rules(None):
            if not isinstance(x, Decomposed):
                return function(x)
            return self.nonlinear(function, x, getattr(function, "__qualname__", "activation"), elementwise=True)

    def scan(self, x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, *, mark) -> Tensor:
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


def _unmasked(r: Tensor, bias) -> Tensor:
    """Relevant scores, 0 where the total is masked (-inf, or the lowest number that stands for it)."""
    return r if bias is None else torch.where(masked(bias), 0, r)


def _met(q: Decomposed, k: Decomposed, v: Decomposed, scores: Decomposed) -> Tensor:
    """[source, 1, 1, 1, 1]: 1 for sources of which something arrives here, else 0. The softmax of no scores at all is
    uniform; where a source brings nothing, nothing of the pattern is its."""
    rows = len(scores.relevant)
    if not rows:
        return scores.relevant
    largest = sum(grow(torch.linalg.vector_norm(x.relevant.flatten(1), torch.inf, 1), rows) for x in (q, k, v, scores))
    return (largest > 0).to(scores.dtype).reshape(rows, *[1] * scores.dim())


def _follow(irrelevant: Tensor, after: Decomposed) -> Tensor:
    """The irrelevant scores or pattern, with what sources put there themselves."""
    irrelevant = _grow_with(irrelevant, after.total, len(after.relevant))
    for row, mask in after.injected:
        irrelevant[row] = torch.where(mask, after.total - after.relevant[row], irrelevant[row])
    return irrelevant


def _grow_with(relevant: Tensor, fill: Tensor, rows: int) -> Tensor:
    """Like `grow`, with `fill` for the sources that are added (an irrelevant part starts as the total)."""
    missing = rows - relevant.shape[0]
    return relevant if missing <= 0 else torch.cat([relevant, fill.expand(missing, *fill.shape)])


def _softmax(scores: Tensor) -> Tensor:
    return torch.softmax(scores.to(torch.promote_types(scores.dtype, torch.float32)), -1).to(scores.dtype)


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
