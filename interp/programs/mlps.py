"""MLPs of two variables: with discrete inputs and a discrete output, look-up tables.

Friedman, Wettig & Chen 2023, arXiv 2306.01128, section 3.3: two gated reads -> ReLU -> logits -> a new categorical
variable.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from interp.hooks.tap import mark
from interp.programs.gates import Gates
from interp.programs.heads import Context
from interp.programs.stream import Stream, read


class Mlps(nn.Module):
    """`mlps` MLPs side by side. They read two categorical variables each, or two numerical ones (`counts`)."""

    def __init__(self, mlps: int, variables: int, cardinality: int, d_mlp: int, counts: bool = False):
        super().__init__()
        self.mlps, self.cardinality, self.counts = mlps, cardinality, counts
        self.gate = Gates(2 * mlps, variables)
        width = 2 * (1 if counts else cardinality)
        self.w_in, self.b_in = _uniform(mlps, d_mlp, width), _uniform(mlps, d_mlp, 1, fan_in=width)
        self.w_out, self.b_out = _uniform(mlps, cardinality, d_mlp), _uniform(mlps, cardinality, 1, fan_in=d_mlp)

    def forward(self, stream: Stream, context: Context) -> Float[Tensor, "row batch pos"]:
        """What the MLPs write: cardinality rows each."""
        gate = mark(self, "gate", self.gate(context.choose))
        values = read(stream.numbers, gate, 1) if self.counts else read(stream.symbols, gate, self.cardinality)
        pairs = mark(self, "read", values.reshape(self.mlps, -1, *values.shape[2:]))
        logits = mark(self, "logits", self.logits(pairs))
        return mark(self, "value", context.choose(logits, dim=1)).flatten(0, 1)

    def logits(self, read: Float[Tensor, "mlp d_in batch pos"]) -> Float[Tensor, "mlp value batch pos"]:
        """Preference for each value of the new variable."""
        pre = mark(self, "pre", torch.baddbmm(self.b_in, self.w_in, read.flatten(2)).unflatten(2, read.shape[2:]))
        post = mark(self, "post", pre.relu())
        return torch.baddbmm(self.b_out, self.w_out, post.flatten(2)).unflatten(2, read.shape[2:])


def _uniform(*shape: int, fan_in: int | None = None) -> nn.Parameter:
    """torch's own initial weights of a linear layer."""
    bound = (fan_in or shape[-1]) ** -0.5
    return nn.Parameter(torch.empty(shape).uniform_(-bound, bound))
