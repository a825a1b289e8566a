"""Softmax attention (Vaswani et al. 2017, 1706.03762, section 3.2), multi-head and grouped-query (Ainslie et al. 2023,
2305.13245).

    q, k, v = x W_q, x W_k, x W_v        z_h = softmax(q_h k_g(h)^T / sqrt(d_head) + mask) v_g(h)        out = z W_o

Shapes: q and z [batch, pos, head, d_head]; k and v [batch, pos, kv_head, d_head]; query head h reads key/value head
g(h) = h // (n_heads / n_kv_heads). Surprise: a bias on keys adds the same number to all scores of a query, so without
rotary positions it changes nothing.

What else may be in it is a module: a `filter` of queries and keys and a `shift` of the input (`interp.parts.filters`),
and `weights` that replace the softmax (`interp.parts.weights`).
"""

from collections.abc import Callable
from functools import partial

from jaxtyping import Float
from torch import Tensor, nn

from interp.hooks import semantic
from interp.hooks.tap import mark
from interp.parts.context import Context
from interp.parts.positions import Alibi, Rotary
from interp.parts.spec import Spec


class Attention(nn.Module):
    """One attention sublayer; `rotary` turns queries and keys, `alibi` is added to the scores, `shift`, `filter` and
    `weights` are modules in front of the projections, behind rotary and in place of the softmax. `d_head` is d_model /
    n_heads unless it is given."""

    def __init__(
        self, d_model: int, n_heads: int, n_kv_heads: int | None = None, *, causal: bool = True, bias: bool = True,
        rotary: Rotary | None = None, alibi: Alibi | None = None, d_head: int | None = None,
        shift: nn.Module | None = None, filter: nn.Module | None = None, weights: nn.Module | None = None,
    ):
        super().__init__()
        self.n_heads, self.n_kv_heads, self.d_head = n_heads, n_kv_heads or n_heads, d_head or d_model // n_heads
        self.causal, self.rotary, self.alibi = causal, rotary, alibi
        self.shift, self.filter, self.weights = shift, filter, weights
        self.q = nn.Linear(d_model, self.n_heads * self.d_head, bias)
        self.k = nn.Linear(d_model, self.n_kv_heads * self.d_head, bias)
        self.v = nn.Linear(d_model, self.n_kv_heads * self.d_head, bias)
        self.o = nn.Linear(self.n_heads * self.d_head, d_model, bias)

    @classmethod
    def of(
        cls, spec: Spec, *, causal: bool = True, bias: bool = True, shift: Callable[[int], nn.Module] | None = None,
        filter: Callable[[int, int], nn.Module] | None = None, weights: Callable[[Spec], nn.Module] | None = None,
    ) -> "Attention":
        """The attention of a spec, with the positions that belong inside it; `shift` is made from d_model, `filter`
        from the key/value heads and d_head, `weights` from the spec."""
        rotary = Rotary() if spec.position is Rotary else None
        alibi = Alibi(spec.n_heads) if spec.position is Alibi else None
        made = {
            "shift": shift and shift(spec.d_model),
            "filter": filter and filter(spec.n_kv_heads or spec.n_heads, spec.d_model // spec.n_heads),
            "weights": weights and weights(spec),
        }
        return cls(spec.d_model, spec.n_heads, spec.n_kv_heads, causal=causal, bias=bias, rotary=rotary, alibi=alibi,
                   **made)

    def forward(
        self, x: Float[Tensor, "batch pos d_model"], context: Context
    ) -> Float[Tensor, "batch pos d_model"]:
        if self.shift is not None:
            x = mark(self, "shift", self.shift(x, context))
        q, k, v = (self._heads(project(x)) for project in (self.q, self.k, self.v))
        if self.rotary is not None:
            q, k = self.rotary(q, context.place), self.rotary(k, context.place)
        if self.filter is not None:
            q, k = self.filter(q, k, context)
        bias = context.mask(self.causal, x.dtype)
        if self.alibi is not None:
            bias = bias + self.alibi(context.place, x.dtype)
        attend = semantic.attention if self.weights is None else partial(self.weights, context=context)
        z = attend(q, k, v, bias=bias, scale=self.d_head**-0.5, mark=partial(mark, self))
        return self.o(z.transpose(1, 2).flatten(2))

    def _heads(self, x: Tensor) -> Tensor:
        """[batch, pos, head * d] -> [batch, head, pos, d]"""
        return x.unflatten(-1, (-1, self.d_head)).transpose(1, 2)

    def declare(self, d, path: str) -> None:
        """Its sites, at `path` of a block (see `interp.adapters.declare`)."""
        if self.shift is not None:
            d.site("attn.hook_shift", path, "shift")
        turned = self.rotary is not None or self.filter is not None
        d.attention(path, q=f"{path}.q", k=f"{path}.k", v=f"{path}.v", out=f"{path}.o", heads=self.n_heads,
                    kv_heads=self.n_kv_heads, rotary=turned, pattern=getattr(self.weights, "pattern", "softmax"))
        if self.weights is not None:
            self.weights.declare(d, path, self.n_heads)

    def equations(self, x: str, y: str) -> list[tuple[str, str]]:
        """What it computes from `x` to `y`: (equation, sites)."""
        b = self.v.bias is not None
        rows = [] if self.shift is None else self.shift.equations(x)
        x = x if self.shift is None else "r"
        group = "g" if self.n_kv_heads < self.n_heads else "h"
        rows += [(f"q_h, k_{group}, v_{group} = {x} W_q{' + b_q' if b else ''}, {x} W_k{' + b_k' if b else ''}, "
                 f"{x} W_v{' + b_v' if b else ''}", "attn.hook_q|k|v")]
        if group == "g":
            rows.append((f"g = h // {self.n_heads // self.n_kv_heads}", ""))
        if self.rotary is not None:
            rows.append((f"q_h, k_{group} = {self.rotary.equation} q_h, {self.rotary.equation} k_{group}",
                         "attn.hook_rot_q|rot_k"))
        rows += [] if self.filter is None else self.filter.equations()
        scores = f"s_h = q_h k_{group}^T / sqrt({self.d_head})"
        scores += f" {self.alibi.equation}" if self.alibi is not None else ""
        rows.append((scores + (", key <= query" if self.causal else ""), "attn.hook_attn_scores"))
        rows += [("A_h = softmax(s_h)", "attn.hook_pattern")] if self.weights is None else self.weights.equations()
        rows.append((f"z_h = A_h v_{group}", "attn.hook_z"))
        rows.append((f"{y} = sum_h z_h W_o,h{' + b_o' if b else ''}", "attn.hook_result"))
        return rows
