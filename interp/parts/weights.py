"""What attention weights are when they are not a softmax: sigmoid attention (Ramapuram et al. 2024, 2409.04431, section
2) and universal relative positions (URPE; Luo et al. 2022, 2205.13401, section 4).

    sigmoid   A = sigmoid(s + b),  b = -log n                                          n: the context length
    urpe      A = softmax(s + B[bucket(t - u)]) * C[bucket(t - u)]                     B, C [head, bucket] learned

Shapes: scores, weights [batch, head, query, key]. Both are drop-in (same parameters around them). Surprises: rows of
either do not sum to one, so "how much a head attends" has no total; with b = -log n the weights of an untrained
sigmoid head sum to about one over a full context, and to less over a prefix of it; where all tokens are alike a
softmax gives every position the same output whatever its positional bias, URPE does not.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from interp.hooks import semantic
from interp.parts.context import Context
from interp.parts.spec import Spec

Rows = list[tuple[str, str]]


def attend(q, k, v, *, bias, scale: float, mark, weigh) -> Tensor:
    """`semantic.attention` with `weigh(scores)` in place of the softmax, in functions that every engine knows."""
    q = mark("rot_q", q.transpose(1, 2)).transpose(1, 2)
    k = mark("rot_k", k.transpose(1, 2)).transpose(1, 2)
    k, v = semantic.repeat_heads(k, q.shape[1]), semantic.repeat_heads(v, q.shape[1])
    scores = mark("attn_scores", semantic.scores(q, k, bias=bias, scale=scale))
    return torch.matmul(mark("pattern", weigh(scores)), v)


class Sigmoid(nn.Module):
    """Every key by itself: sigmoid of its score plus a fixed bias, -log of the context length unless given."""

    pattern = "unnormalised"

    def __init__(self, spec: Spec, bias: float | None = None):
        super().__init__()
        self.bias = -math.log(spec.n_ctx) if bias is None else bias

    def forward(self, q, k, v, *, bias, scale: float, mark, context: Context) -> Tensor:
        return attend(q, k, v, bias=bias, scale=scale, mark=mark, weigh=lambda s: torch.sigmoid(s + self.bias))

    def declare(self, d, path: str, heads: int) -> None:
        pass

    def equations(self) -> Rows:
        return [(f"A_h = sigmoid(s_h - {-self.bias:.3g})", "attn.hook_pattern")]


def buckets(distance: Tensor, n_buckets: int, furthest: int, causal: bool) -> Tensor:
    """Bucket of each relative position key - query, as in T5 (Raffel et al. 2019, 1910.10683): one each for the near
    half, logarithmically wider to `furthest`, the last one for all beyond. Without `causal`, half of them for keys
    behind the query."""
    start = 0
    if not causal:
        n_buckets //= 2
        start = (distance > 0).long() * n_buckets
    back = distance.abs() if not causal else (-distance).clamp(min=0)
    near = n_buckets // 2
    far = near + (back.clamp(min=1).float().div(near).log() / math.log(furthest / near) * (n_buckets - near)).long()
    return start + torch.where(back < near, back, far.clamp(max=n_buckets - 1))


class Toeplitz(nn.Module):
    """One number for each head and bucket of relative position: a matrix [batch or 1, head, query, key]."""

    def __init__(self, n_heads: int, start: float, causal: bool, n_buckets: int = 32, furthest: int = 128):
        super().__init__()
        self.start, self.causal, self.furthest = start, causal, furthest
        self.table = nn.Parameter(torch.full((n_buckets, n_heads), start))

    def forward(self, context: Context) -> Float[Tensor, "batch head query key"]:
        distance = context.place[:, None, :] - context.place[:, :, None]
        return self.table[buckets(distance, len(self.table), self.furthest, self.causal)].permute(0, 3, 1, 2)

    def initialise(self, std: float, generator: torch.Generator) -> None:
        self.table.fill_(self.start)


class Urpe(nn.Module):
    """Softmax with a relative bias, times a learned Toeplitz matrix: 0 and 1 at the start, which is plain attention."""

    pattern = "unnormalised"

    def __init__(self, spec: Spec, causal: bool = True):
        super().__init__()
        self.relative, self.multiplier = (Toeplitz(spec.n_heads, start, causal) for start in (0.0, 1.0))

    def forward(self, q, k, v, *, bias, scale: float, mark, context: Context) -> Tensor:
        def weigh(scores: Tensor) -> Tensor:
            wide = scores.to(torch.promote_types(scores.dtype, torch.float32))
            softmax = mark("softmax", torch.softmax(wide, -1).to(scores.dtype))
            return softmax * mark("multiplier", self.multiplier(context))

        return attend(q, k, v, bias=bias + self.relative(context), scale=scale, mark=mark, weigh=weigh)

    def declare(self, d, path: str, heads: int) -> None:
        d.site("attn.hook_softmax", path, "softmax", heads=heads, pattern="softmax")
        d.site("attn.hook_multiplier", path, "multiplier", heads=heads)

    def equations(self) -> Rows:
        return [("S_h = softmax(s_h), B_h[bucket(query - key)] added to s_h", "attn.hook_softmax"),
                ("A_h = S_h * C_h[bucket(query - key)]", "attn.hook_multiplier, attn.hook_pattern")]
