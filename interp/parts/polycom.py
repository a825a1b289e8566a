"""Polynomial compositions as activations (PolyCom; Zhuo et al. 2024, 2411.03884, section 2).

    PolyReLU:  y = a_0 + sum_i a_i relu(x)^i             PolyNorm:  y = a_0 + sum_i a_i x^i / rms(x^i),   i = 1 .. order

Shapes: x, y [..., d]; a [order + 1], shared by all channels, 1 / order at the start and a_0 = 0. Surprise: PolyNorm is
no elementwise function: its norms run over all channels, so that one large neuron turns down all others, and its
powers are of size one whatever the size of x.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from interp.hooks import semantic


class _Polynomial(nn.Module):
    """Coefficients, constant first."""

    def __init__(self, order: int = 3):
        super().__init__()
        self.order = order
        self.coefficients = nn.Parameter(torch.empty(order + 1))

    def initialise(self, std: float, generator: torch.Generator) -> None:
        """Equal shares, no constant; nothing is drawn."""
        self.coefficients.fill_(1 / self.order)
        self.coefficients[0] = 0.0


class PolyReLU(_Polynomial):
    """A polynomial of relu(x)."""

    def forward(self, x: Float[Tensor, "... d"]) -> Float[Tensor, "... d"]:
        a, positive = self.coefficients, torch.relu(x)
        y = a[self.order] * positive
        for i in range(self.order - 1, 0, -1):  # Horner's scheme
            y = (y + a[i]) * positive
        return y + a[0]


class PolyNorm(_Polynomial):
    """A polynomial of x, each power normed."""

    elementwise = False

    def forward(self, x: Float[Tensor, "... d"]) -> Float[Tensor, "... d"]:
        a, power, y = self.coefficients, torch.ones_like(x), 0.0
        for i in range(1, self.order + 1):
            power = power * x
            y = y + a[i] * semantic.norm(power, None, None, eps=1e-6, center=False)
        return y + a[0]
