"""Batch norm of the residual stream (Ioffe & Szegedy 2015, 1502.03167), behind an addition.

    y = (x - m) / sqrt(v + eps) * w + b        m and v [d]: of the batch while training, running means afterwards

Shapes: x and y [batch, pos, d]; `hook_scale` is sqrt(v + eps), [1, 1, d], the same for every token. Surprise: at
inference the norm of a post-norm stream is a fixed affine map, so that such a stream adds up as a pre-norm one does,
with a gain a channel for every block passed.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from interp.hooks.tap import mark
from interp.parts.norms import OwnNorm


@dataclass(frozen=True)
class BatchNormRole(OwnNorm):
    """A norm whose scale is one number a channel and whose mean is part of the shift."""

    center: bool = False

    def shift(self, module: nn.Module) -> Tensor:
        """What is left of a stream at zero."""
        return module.bias - module.weight * module.mean / (module.variance + module.eps).sqrt()


class StreamBatchNorm(nn.Module):
    """Batch norm of a stream: statistics of what is `real` in this batch while training, running ones afterwards."""

    role = BatchNormRole()

    def __init__(self, d_model: int, eps: float = 1e-5, momentum: float = 0.1):
        super().__init__()
        self.eps, self.momentum = eps, momentum
        self.weight, self.bias = nn.Parameter(torch.ones(d_model)), nn.Parameter(torch.zeros(d_model))
        self.register_buffer("mean", torch.zeros(d_model))
        self.register_buffer("variance", torch.ones(d_model))

    def initialise(self, std: float, generator: torch.Generator) -> None:
        """Gain and running variance 1, shift and running mean 0; nothing is drawn."""
        for one, zero in ((self.weight, self.bias), (self.variance, self.mean)):
            one.fill_(1.0), zero.zero_()

    def forward(self, x: Float[Tensor, "batch pos d"], real: Bool[Tensor, "batch pos"] | None = None) -> Tensor:
        mean, variance = self.mean, self.variance
        if self.training:
            rows = x.flatten(0, 1) if real is None else x[real]
            mean, variance = rows.mean(0), rows.var(0, correction=0)
            with torch.no_grad():
                self.mean.lerp_(mean, self.momentum)
                self.variance.lerp_(rows.var(0) if len(rows) > 1 else variance, self.momentum)
        scale = mark(self, "scale", (variance + self.eps).sqrt().view(1, 1, -1))
        return mark(self, "normalized", (x - mean) / scale) * self.weight + self.bias

    def equation(self, name: str) -> str:
        """What it computes at inference."""
        return f"{name}(x) = (x - m) / sqrt(v + {self.eps:g}) * w + b, m and v of the training data"
