"""Simplified linear attention (SLAB; Guo et al. 2024, 2405.11582, section 3.3), bidirectional.

    q, k = relu(x W_q), relu(x W_k)        z_t = q_t (sum_u k_u v_u^T) / (q_t . sum_u k_u + eps) + (w conv v)_t

Shapes: q, k, v, z [batch, pos, head, d_head]; w a depthwise convolution of `width` positions, its d_head filters shared
by the heads (5 x 5 on images in the paper; here positions are a line). Surprise: ReLU makes whole queries zero, and
then only the convolution speaks.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from interp.hooks.tap import mark
from interp.parts.context import Context
from interp.parts.mixer import by_head, declare, split
from interp.parts.spec import Spec

EPS = 1e-6


class SimplifiedLinear(nn.Module):
    """One such mixer: linear attention with a ReLU kernel, and a local path beside it."""

    mixes = ("mixer.hook_v", "mixer.hook_z")
    causal = False

    def __init__(self, spec: Spec, width: int = 5):
        super().__init__()
        self.n_heads, self.width = spec.n_heads, width
        self.q, self.k, self.v, self.o = (nn.Linear(spec.d_model, spec.d_model) for _ in range(4))
        self.local = nn.Conv1d(spec.d_model // spec.n_heads, spec.d_model // spec.n_heads, width, padding=width // 2,
                               groups=spec.d_model // spec.n_heads, bias=False)

    def forward(self, x: Float[Tensor, "batch pos d_model"], context: Context) -> Float[Tensor, "batch pos d_model"]:
        real = context.weight(x.dtype)[..., None, None]
        q, k, v = (split(project(x), self.n_heads) for project in (self.q, self.k, self.v))
        q, k = mark(self, "kernel_q", torch.relu(q)), mark(self, "kernel_k", torch.relu(k) * real)
        v = mark(self, "v", v * real)
        state = torch.einsum("bphk,bphd->bhkd", k, v)
        far = torch.einsum("bphk,bhkd->bphd", q, state) / ((q * k.sum(1, keepdim=True)).sum(-1, keepdim=True) + EPS)
        near = self.local(v.permute(0, 2, 3, 1).flatten(0, 1))  # [batch * head, d_head, pos]
        near = near.unflatten(0, (-1, self.n_heads)).permute(0, 3, 1, 2)
        near = mark(self, "local", near)
        return self.o((far + near).flatten(2))

    def mixing(self, cache, prefix: str) -> Float[Tensor, "batch channel query key"]:
        """What takes `mixer.hook_v` to `mixer.hook_z`: one matrix a head, and the convolution's a channel."""
        read = by_head(cache, prefix)
        products = read("kernel_q") @ read("kernel_k").transpose(-1, -2)
        far = products / (products.sum(-1, keepdim=True) + EPS)
        n, taps = far.shape[-1], self.local.weight[:, 0]
        near = far.new_zeros(len(taps), n, n)
        for j in range(self.width):
            lag = j - self.width // 2
            near += taps[:, j, None, None] * torch.eye(n).to(near).roll(lag, 1).tril(max(lag, 0)).triu(min(lag, 0))
        return (far[:, :, None] + near).flatten(1, 2)

    def declare(self, d, path: str) -> None:
        """Its sites, at `path` of a block."""
        declare(d, path, self.n_heads, "qk", ("kernel_q", "kernel_k", "v", "local"))

    def equations(self, x: str, y: str) -> list[tuple[str, str]]:
        """What it computes from `x` to `y`: (equation, sites)."""
        return [
            (f"q_h, k_h, v_h = {x} W_q + b_q, {x} W_k + b_k, {x} W_v + b_v", "mixer.hook_q|k|v"),
            ("q_h, k_h = relu(q_h), relu(k_h)", "mixer.hook_kernel_q|kernel_k"),
            (f"l_h = v_h through a convolution of {self.width} positions", "mixer.hook_local"),
            ("z_h = q_h (sum_u k_u v_u^T) / (q_h . sum_u k_u) + l_h", "mixer.hook_z"),
            (f"{y} = sum_h z_h W_o,h + b_o", ""),
        ]
