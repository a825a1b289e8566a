"""Group norm with one group (Wu & He 2018, 1803.08494; in PoolFormer: Yu et al. 2021, 2111.11418, section 3.2).

    y = (x - mean) / sqrt(var + eps) * w + b        mean and var over all places and channels of one image

Shapes: x and y [batch, pos, d_model]; `hook_scale` is [batch, pos, 1], the same at every place. Surprise: this norm
mixes positions. What is changed at one place moves every other one a little, in a block whose mixer sees 3 x 3 too.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from interp.hooks.tap import mark
from interp.parts.norms import OwnNorm


class GroupNorm(nn.Module):
    """torch's `GroupNorm(1, d_model)` for streams."""

    role = OwnNorm()

    def __init__(self, d_model: int, eps: float = 1e-5):
        super().__init__()
        self.eps = eps
        self.weight, self.bias = nn.Parameter(torch.ones(d_model)), nn.Parameter(torch.zeros(d_model))

    def initialise(self, std: float, generator: torch.Generator) -> None:
        """Gain 1, shift 0; nothing is drawn."""
        self.weight.fill_(1.0)
        self.bias.zero_()

    def forward(self, x: Float[Tensor, "batch pos d_model"]) -> Float[Tensor, "batch pos d_model"]:
        centred = x - x.mean((1, 2), keepdim=True)
        scale = (centred.pow(2).mean((1, 2), keepdim=True) + self.eps).sqrt().expand(-1, x.shape[1], -1)
        return mark(self, "normalized", centred / mark(self, "scale", scale)) * self.weight + self.bias

    def equation(self, name: str) -> str:
        """What it computes."""
        return f"{name}(x) = (x - mean) / sqrt(var + {self.eps:g}) * w + b, over all places and channels"
