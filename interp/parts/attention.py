"""Softmax attention (Vaswani et al. 2017, 1706.03762, section 3.2), multi-head and grouped-query (Ainslie et al. 2023,
2305.13245).

    q, k, v = x W_q, x W_k, x W_v        z_h = softmax(q_h k_g(h)^T / sqrt(d_head) + mask) v_g(h)        out = z W_o

Shapes: q and z [batch, pos, head, d_head]; k and v [batch, pos, kv_head, d_head]; query head h reads key/value head
g(h) = h // (n_heads / n_kv_heads). Surprise: a bias on keys adds the same number to all scores of a query, so without
rotary positions it changes nothing.
"""

from functools import partial

from jaxtyping import Float
from torch import Tensor, nn

from interp.hooks import semantic
from interp.hooks.tap import mark
from interp.parts.context import Context
from interp.parts.positions import Alibi, Rotary
from interp.parts.spec import Spec


class Attention(nn.Module):
    """One attention sublayer; `rotary` turns queries and keys, `alibi` is added to the scores."""

    def __init__(
        self, d_model: int, n_heads: int, n_kv_heads: int | None = None, *, causal: bool = True, bias: bool = True,
        rotary: Rotary | None = None, alibi: Alibi | None = None,
    ):
        super().__init__()
        self.n_heads, self.n_kv_heads, self.d_head = n_heads, n_kv_heads or n_heads, d_model // n_heads
        self.causal, self.rotary, self.alibi = causal, rotary, alibi
        self.q = nn.Linear(d_model, self.n_heads * self.d_head, bias)
        self.k = nn.Linear(d_model, self.n_kv_heads * self.d_head, bias)
        self.v = nn.Linear(d_model, self.n_kv_heads * self.d_head, bias)
        self.o = nn.Linear(self.n_heads * self.d_head, d_model, bias)

    @classmethod
    def of(cls, spec: Spec, *, causal: bool = True, bias: bool = True) -> "Attention":
        """The attention of a spec, with the positions that belong inside it."""
        rotary = Rotary() if spec.position is Rotary else None
        alibi = Alibi(spec.n_heads) if spec.position is Alibi else None
        return cls(spec.d_model, spec.n_heads, spec.n_kv_heads, causal=causal, bias=bias, rotary=rotary, alibi=alibi)

    def forward(
        self, x: Float[Tensor, "batch pos d_model"], context: Context
    ) -> Float[Tensor, "batch pos d_model"]:
        q, k, v = (self._heads(project(x)) for project in (self.q, self.k, self.v))
        if self.rotary is not None:
            q, k = self.rotary(q, context.place), self.rotary(k, context.place)
        bias = context.mask(self.causal, x.dtype)
        if self.alibi is not None:
            bias = bias + self.alibi(context.place, x.dtype)
        z = semantic.attention(q, k, v, bias=bias, scale=self.d_head**-0.5, mark=partial(mark, self))
        return self.o(z.transpose(1, 2).flatten(2))

    def _heads(self, x: Tensor) -> Tensor:
        """[batch, pos, head * d] -> [batch, head, pos, d]"""
        return x.unflatten(-1, (-1, self.d_head)).transpose(1, 2)

    def declare(self, d, path: str) -> None:
        """Its sites, at `path` of a block (see `interp.adapters.declare`)."""
        d.attention(path, q=f"{path}.q", k=f"{path}.k", v=f"{path}.v", out=f"{path}.o", heads=self.n_heads,
                    kv_heads=self.n_kv_heads, rotary=self.rotary is not None)

    def equations(self, x: str, y: str) -> list[tuple[str, str]]:
        """What it computes from `x` to `y`: (equation, sites)."""
        b = self.q.bias is not None
        group = "g" if self.n_kv_heads < self.n_heads else "h"
        rows = [(f"q_h, k_{group}, v_{group} = {x} W_q{' + b_q' if b else ''}, {x} W_k{' + b_k' if b else ''}, "
                 f"{x} W_v{' + b_v' if b else ''}", "attn.hook_q|k|v")]
        if group == "g":
            rows.append((f"g = h // {self.n_heads // self.n_kv_heads}", ""))
        if self.rotary is not None:
            rows.append((f"q_h, k_{group} = {self.rotary.equation} q_h, {self.rotary.equation} k_{group}",
                         "attn.hook_rot_q|rot_k"))
        scores = f"s_h = q_h k_{group}^T / sqrt({self.d_head})"
        scores += f" {self.alibi.equation}" if self.alibi is not None else ""
        rows.append((scores + (", key <= query" if self.causal else ""), "attn.hook_attn_scores"))
        rows.append(("A_h = softmax(s_h)", "attn.hook_pattern"))
        rows.append((f"z_h = A_h v_{group}", "attn.hook_z"))
        rows.append((f"{y} = sum_h z_h W_o,h{' + b_o' if b else ''}", "attn.hook_result"))
        return rows
