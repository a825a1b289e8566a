"""Gates: which of the variables so far an operator reads. One choice for all inputs.

Friedman, Wettig & Chen 2023, arXiv 2306.01128, section 3.1.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from interp.programs.gumbel import Choice


class Gates(nn.Module):
    """`gates` choices among `variables`. A single variable leaves nothing to choose and nothing to learn."""

    def __init__(self, gates: int, variables: int):
        super().__init__()
        self.gates, self.variables = gates, variables
        self.logits = nn.Parameter(torch.randn(gates, variables)) if variables > 1 else None
        self.register_buffer("only", torch.ones(gates, 1), persistent=False)

    def forward(self, choose: Choice) -> Float[Tensor, "gate variable"]:
        """One-hot rows (relaxed while training)."""
        return self.only if self.logits is None else choose(self.logits)
