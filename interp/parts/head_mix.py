"""Mixing of heads in the values and the output projection (Dual-Stream Transformer, 2026, seed 203).

    W = [M_ij B_ij], blocks i, j of d_head x d_head                                    y = x W^T, [batch, pos, d_model]

    dense          every block is free
    kronecker      B_ij = 1: heads exchange whole channels by one number a pair, W = M (x) 1
    independent    M = 1: a head's values come from its own channel of the stream and go back there

Surprise: the Kronecker form has n_heads^2 numbers where the independent one has d_model * d_head, and still does better
in the paper. Which maps are constrained the abstract does not say; here it is what heads move (values and output), not
what they look for (queries and keys).
"""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

Mixing = Literal["dense", "kronecker", "independent"]


class HeadMix(nn.Module):
    """A linear map from d_model to d_model without bias; `weight` is the matrix it stands for."""

    bias = None

    def __init__(self, n_heads: int, d_head: int, mixing: Mixing):
        super().__init__()
        self.n_heads, self.d_head, self.mixing = n_heads, d_head, mixing
        shape = {"dense": (n_heads, n_heads, d_head, d_head), "kronecker": (n_heads, n_heads),
                 "independent": (n_heads, d_head, d_head)}[mixing]
        self.blocks = nn.Parameter(torch.zeros(shape))

    def initialise(self, std: float, generator: torch.Generator) -> None:
        """Dense and independent as other projections; Kronecker near the identity, which has the size of a stream."""
        self.blocks.normal_(0.0, std, generator=generator)
        if self.mixing == "kronecker":
            self.blocks.add_(torch.eye(self.n_heads))

    @property
    def weight(self) -> Float[Tensor, "out in"]:
        """[d_model, d_model], as nn.Linear has it."""
        blocks = self.blocks
        if self.mixing == "kronecker":
            blocks = blocks[..., None, None] * torch.eye(self.d_head, dtype=blocks.dtype, device=blocks.device)
        elif self.mixing == "independent":
            blocks = torch.eye(self.n_heads, dtype=blocks.dtype, device=blocks.device)[..., None, None] * blocks
        return blocks.transpose(1, 2).flatten(2).flatten(0, 1)

    def forward(self, x: Float[Tensor, "... d_model"]) -> Float[Tensor, "... d_model"]:
        return F.linear(x, self.weight)
