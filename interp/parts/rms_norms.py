"""Norms of a stream without mean that stand for LayerNorm exactly (Jiang et al. 2023, 2305.14858).

    RMSNormShift:  y = x / sqrt(mean x^2 + eps) * w + b                                    x, y [batch, pos, d_model]
    CRMSNorm:      y = x / sqrt((sum x^2 + (sum x)^2) / (d_model + 1) + eps) * w + b

On a stream whose mean is zero LayerNorm is RMSNorm with a shift. Such a stream has a redundant coordinate, minus the
sum of the others; CRMSNorm is the RMSNorm of d_model + 1 coordinates of which the last is not stored. Surprise: it is
no RMSNorm of what it sees: a stream with a large sum is divided by more. `interp.surgery.recentre` converts trained
models both ways.
"""

from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn

from interp.hooks import semantic
from interp.hooks.tap import mark
from interp.parts.norms import OwnNorm


class RMSNormShift(nn.Module):
    """RMSNorm with a bias, which the LayerNorm it stands for had."""

    role = OwnNorm(center=False)

    def __init__(self, d_model: int, eps: float = 1e-5):
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(d_model))
        self.bias = nn.Parameter(torch.zeros(d_model))

    def initialise(self, std: float, generator: torch.Generator) -> None:
        """Gain 1, shift 0; nothing is drawn."""
        self.weight.fill_(1.0)
        self.bias.zero_()

    def forward(self, x: Float[Tensor, "batch pos d_model"]) -> Float[Tensor, "batch pos d_model"]:
        return semantic.norm(x, self.weight, self.bias, eps=self.eps, center=False, mark=partial(mark, self))

    def equation(self, name: str) -> str:
        """What it computes."""
        return f"{name}(x) = x / sqrt(mean x^2 + {self.eps:g}) * w + b"


class CRMSNorm(RMSNormShift):
    """RMSNorm of the d_model numbers of the stream and of their negative sum. `hook_normalized` has that sum too."""

    def forward(self, x: Float[Tensor, "batch pos d_model"]) -> Float[Tensor, "batch pos d_model"]:
        whole = torch.cat([x, -x.sum(-1, keepdim=True)], -1)
        normed = semantic.norm(whole, None, None, eps=self.eps, center=False, mark=partial(mark, self))
        return semantic.affine(normed[..., :-1], self.weight, self.bias)

    def equation(self, name: str) -> str:
        """What it computes."""
        return f"{name}(x) = x / sqrt((sum x^2 + (sum x)^2) / (d + 1) + {self.eps:g}) * w + b"
