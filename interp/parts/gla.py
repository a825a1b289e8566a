"""Gated linear attention (Yang et al. 2023, 2312.06635, section 4): linear attention whose state forgets by the input.

    S_t = diag(a_t) S_t-1 + k_t v_t^T          z_t = q_t S_t / sqrt(d_key)       a_t = sigmoid(x_t W_1 W_2 + b)^(1/16)
    out = (swish(x W_r + b_r) * LN(z_h) w) W_o                                  LN per head, without shift

Shapes: q, k, a [batch, pos, head, d_key], v and z [batch, pos, head, d_head], S [batch, pos, head, d_key, d_head], with
d_key half of d_head. The model runs the recurrence, so that every state can be read; `parallel` is the same at once.
Surprises: the decay is low-rank (16) and starts near 1, where the mixer is plain linear attention; the norm behind z
undoes its size, so that a state that decayed to a hundredth still writes as loudly.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from interp.hooks import semantic
from interp.hooks.tap import mark
from interp.parts.context import Context
from interp.parts.mixer import by_head, declare, split
from interp.parts.spec import Spec

RANK, TEMPERATURE, EPS = 16, 16.0, 1e-5


class GatedLinear(nn.Module):
    """One GLA mixer; causal, and blind to padding."""

    mixes = ("mixer.hook_v", "mixer.hook_z")

    def __init__(self, spec: Spec):
        super().__init__()
        d, self.n_heads = spec.d_model, spec.n_heads
        d_key = max(d // spec.n_heads // 2, 1) * spec.n_heads
        self.q, self.k = (nn.Linear(d, d_key, bias=False) for _ in range(2))
        self.v, self.o = (nn.Linear(d, d, bias=False) for _ in range(2))
        self.down_decay, self.up_decay = nn.Linear(d, RANK, bias=False), nn.Linear(RANK, d_key)
        self.gate = nn.Linear(d, d)
        self.gain = nn.Parameter(torch.empty(d // spec.n_heads))

    def initialise(self, std: float, generator: torch.Generator) -> None:
        self.gain.fill_(1.0)

    def forward(self, x: Float[Tensor, "batch pos d_model"], context: Context) -> Float[Tensor, "batch pos d_model"]:
        real = context.weight(x.dtype)[..., None, None]
        q, k, v = (split(project(x), self.n_heads) for project in (self.q, self.k, self.v))
        k = mark(self, "k", k * real)
        logits = split(self.up_decay(self.down_decay(x)), self.n_heads)
        decay = mark(self, "decay", (nn.functional.logsigmoid(logits) / TEMPERATURE).exp())
        state = mark(self, "state", states(k, v, decay))
        z = (q[..., None, :] @ state)[..., 0, :] * q.shape[-1] ** -0.5
        z = mark(self, "z", z)
        gate = semantic.activation(nn.functional.silu, mark(self, "gate", split(self.gate(x), self.n_heads)))
        normed = semantic.norm(z, self.gain, None, eps=EPS, center=True)
        return self.o((normed * gate).flatten(2))

    def mixing(self, cache, prefix: str) -> Float[Tensor, "batch head query key"]:
        """What takes `mixer.hook_v` to `mixer.hook_z`: products decayed channel by channel."""
        read = by_head(cache, prefix)
        return parallel(read("q"), read("k"), read("decay"))

    def declare(self, d, path: str) -> None:
        """Its sites, at `path` of a block."""
        declare(d, path, self.n_heads, "qv", ("k", "decay", "state", "z", "gate"), z="")

    def equations(self, x: str, y: str) -> list[tuple[str, str]]:
        """What it computes from `x` to `y`: (equation, sites)."""
        return [
            (f"q_h, k_h, v_h = {x} W_q, {x} W_k, {x} W_v", "mixer.hook_q|k|v"),
            (f"a_t = sigmoid({x}_t W_1 W_2 + b)^(1/{TEMPERATURE:g})", "mixer.hook_decay"),
            ("S_t = diag(a_t) S_t-1 + k_t v_t^T", "mixer.hook_state"),
            (f"z_t = q_t S_t / sqrt({self.q.out_features // self.n_heads})", "mixer.hook_z"),
            (f"g = {x} W_r + b_r", "mixer.hook_gate"),
            (f"{y} = sum_h (swish(g_h) * LN(z_h) w) W_o,h", ""),
        ]


def states(
    k: Float[Tensor, "batch pos head d_key"], v: Float[Tensor, "batch pos head d_head"],
    decay: Float[Tensor, "batch pos head d_key"],
) -> Float[Tensor, "batch pos head d_key d_head"]:
    """The state behind every token, one after the other."""
    inflow = k[..., None] * v[..., None, :]
    state, out = torch.zeros_like(inflow[:, 0]), []
    for t in range(k.shape[1]):
        state = state * decay[:, t, :, :, None] + inflow[:, t]
        out.append(state)
    return torch.stack(out, 1)


def parallel(
    q: Float[Tensor, "batch head pos d_key"], k: Float[Tensor, "batch head pos d_key"],
    decay: Float[Tensor, "batch head pos d_key"],
) -> Float[Tensor, "batch head query key"]:
    """sum_c q_tc k_uc prod_{u < w <= t} a_wc / sqrt(d_key), 0 for u > t. In logarithms, so that nothing overflows."""
    total = decay.log().cumsum(2)
    gap = (total[:, :, :, None] - total[:, :, None]).clamp(max=0)
    return torch.einsum("bhqc,bhqkc,bhkc->bhqk", q, gap.exp(), k).tril() * q.shape[-1] ** -0.5
