"""A discrete Mamba-2 mixer (Phi-Mamba; Bick et al. 2024, 2408.10189, section 4; state-space duality: Dao and Gu 2024,
2405.21060): linear attention that forgets by one number a head.

    q, k, v = conv(x W_q), conv(x W_k), conv(x W_v)               the paper's C, B and x; conv over the last 4 tokens
    S_t = a_t S_t-1 + k_t v_t^T       z_t = q_t S_t + D_h v_t     a_t = sigmoid(x_t W_a + b_a), one number a head
    out = (silu(x W_r + b_r) * z) W_o

Shapes: q and k [batch, pos, head, d_key], a [batch, pos, head, 1], v and z [batch, pos, head, d_head]. The model runs
the whole matrix at once, M_ts = q_t k_s prod_{s < w <= t} a_w + D [t = s], as attention does; `gla.states` is the
recurrence. As in the paper there is no norm, no feature map and no denominator. Surprises: rows of M have any sum and
sign; where a is 1 everywhere it is plain linear attention. Ours: a begins between 1/2 and 0.9975 by head, so that some
heads remember, and the gate at 1; with both at 0 the first steps of a distillation have almost no gradient.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from interp.hooks import semantic
from interp.hooks.tap import mark
from interp.parts.context import Context
from interp.parts.mixer import by_head, declare, split
from interp.parts.spec import Spec

WIDTH = 4
GATE_OF_ONE = 1.278464542761074  # silu of it is 1


class DiscreteSsm(nn.Module):
    """One such mixer; causal, and blind to padding. `d_key` a head is d_head unless it is given."""

    mixes = ("mixer.hook_v", "mixer.hook_z")

    def __init__(self, spec: Spec, d_key: int | None = None):
        super().__init__()
        d, self.n_heads = spec.d_model, spec.n_heads
        self.d_key = d_key or d // spec.n_heads
        inner = self.d_key * spec.n_heads
        self.q, self.k = (nn.Linear(d, inner, bias=False) for _ in range(2))
        self.v, self.gate, self.o = (nn.Linear(d, d, bias=False) for _ in range(3))
        self.decay = nn.Linear(d, spec.n_heads, bias=False)
        self.filters = nn.ParameterDict({"q": torch.empty(WIDTH, inner), "k": torch.empty(WIDTH, inner),
                                         "v": torch.empty(WIDTH, d)})
        self.decay_bias, self.skip = (nn.Parameter(torch.empty(spec.n_heads)) for _ in range(2))
        self.gate_bias = nn.Parameter(torch.empty(d))

    def initialise(self, std: float, generator: torch.Generator) -> None:
        for weight in self.filters.values():
            weight.normal_(0.0, std, generator=generator)
            weight[0] += 1.0
        self.decay_bias.copy_(torch.linspace(0.0, 6.0, self.n_heads))
        self.skip.fill_(0.0)
        self.gate_bias.fill_(GATE_OF_ONE)

    def forward(self, x: Float[Tensor, "batch pos d_model"], context: Context) -> Float[Tensor, "batch pos d_model"]:
        real = context.weight(x.dtype)[..., None]
        q, k, v = (mark(self, point, split(self._conv(point, x, real), self.n_heads)) for point in "qkv")
        logits = self.decay(x) + self.decay_bias
        decay = mark(self, "decay", torch.sigmoid(logits)[..., None])
        matrix = self._matrix(*(t.transpose(1, 2) for t in (q, k, decay)))
        z = mark(self, "z", (matrix @ v.transpose(1, 2)).transpose(1, 2))
        gate = mark(self, "gate", split(self.gate(x) + self.gate_bias, self.n_heads))
        return self.o((z * semantic.activation(nn.functional.silu, gate)).flatten(2))

    def _conv(self, point: str, x: Tensor, real: Tensor) -> Tensor:
        """A projection of the last tokens, weighed; what is in front of a row, padding too, counts as 0."""
        y = nn.functional.pad(self.get_submodule(point)(x) * real, (0, 0, WIDTH - 1, 0))
        n = x.shape[1]
        return sum(w * y[:, WIDTH - 1 - lag :][:, :n] for lag, w in enumerate(self.filters[point]))

    def _matrix(self, q: Tensor, k: Tensor, decay: Tensor) -> Float[Tensor, "batch head query key"]:
        n = q.shape[2]
        eye = torch.eye(n, dtype=q.dtype, device=q.device)
        return q @ k.transpose(-1, -2) * faded(decay[..., 0]) + self.skip[:, None, None] * eye

    def mixing(self, cache, prefix: str) -> Float[Tensor, "batch head query key"]:
        """What takes `mixer.hook_v` to `mixer.hook_z`, the skip on its diagonal."""
        read = by_head(cache, prefix)
        return self._matrix(read("q"), read("k"), read("decay"))

    def declare(self, d, path: str) -> None:
        """Its sites, at `path` of a block."""
        declare(d, path, self.n_heads, "", ("q", "k", "v", "decay", "z", "gate"), z="")

    def equations(self, x: str, y: str) -> list[tuple[str, str]]:
        """What it computes from `x` to `y`: (equation, sites)."""
        return [
            (f"q_h, k_h, v_h = conv({x} W_q), conv({x} W_k), conv({x} W_v), over {WIDTH} tokens", "mixer.hook_q|k|v"),
            (f"a_t = sigmoid({x}_t W_a + b_a), one number a head", "mixer.hook_decay"),
            ("S_t = a_t S_t-1 + k_t v_t^T, z_t = q_t S_t + D_h v_t", "mixer.hook_z"),
            (f"g = {x} W_r + b_r", "mixer.hook_gate"),
            (f"{y} = sum_h (silu(g_h) * z_h) W_o,h", ""),
        ]


def faded(decay: Float[Tensor, "batch head pos"]) -> Float[Tensor, "batch head query key"]:
    """prod_{s < w <= t} a_w for s <= t, else 0. Not by logarithms: a decay may be patched to 0, or below."""
    n = decay.shape[-1]
    later = torch.ones(n, n, dtype=torch.bool, device=decay.device).tril(-1)
    return torch.where(later, decay[..., :, None], torch.ones_like(decay[..., :, None])).cumprod(-2).tril()
