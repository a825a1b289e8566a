"""What multiplies a branch before it is added: LayerScale (Touvron et al. 2021, 2103.17239, section 2.1).

    x += s * branch(x), s [d_model] learned, started small

Surprise: a branch contributes what leaves its scale, so a map that reads the branch itself sees it 10 to 10^5 times
too large.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn


class LayerScale(nn.Module):
    """One learned factor a channel."""

    equation = "s *"

    def __init__(self, d_model: int, start: float = 0.1):
        super().__init__()
        self.start = start
        self.scale = nn.Parameter(torch.full((d_model,), start))

    def initialise(self, std: float, generator: torch.Generator) -> None:
        """Small, so that a branch grows into the stream; nothing is drawn."""
        self.scale.fill_(self.start)

    def forward(self, x: Float[Tensor, "... d_model"]) -> Float[Tensor, "... d_model"]:
        return x * self.scale
