"""Batch norm over tokens (Ioffe & Szegedy 2015, 1502.03167): one mean and variance a channel, over batch and positions.

    training    y = (x - mean) / sqrt(var + eps) * w + b          of this batch, padding included
    inference   the same with running means: a fixed affine map   x, y [batch, pos, d]
"""

import torch
from jaxtyping import Float
from torch import nn


class BatchNorm(nn.BatchNorm1d):
    """torch's own, for channels last."""

    def forward(self, x: Float[torch.Tensor, "batch pos d"]) -> Float[torch.Tensor, "batch pos d"]:
        return super().forward(x.flatten(0, 1)).reshape(x.shape)

    def initialise(self, std: float, generator: torch.Generator) -> None:
        """Gain and running variance 1, shift and running mean 0; nothing is drawn."""
        for one in (self.weight, self.running_var):
            one.fill_(1.0)
        for zero in (self.bias, self.running_mean, self.num_batches_tracked):
            zero.zero_()
