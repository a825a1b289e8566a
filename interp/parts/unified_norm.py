"""Unified Normalization (Yang et al. 2022, 2208.01313): a channelwise norm that is a constant at inference.

    training    v = mean of x^2 over batch and positions;  s^2 = (product of v of the last M batches)^(1/M)
                y = x / sqrt(s^2 + eps) * w + b
    inference   y = x / sqrt(running s^2 + eps) * w + b         x, y [batch, pos, d_model]; s, w, b [d_model]

The mean over the window is geometric, taken of logarithms. A batch is an outlier where it would pull the arithmetic
and the geometric mean of the window apart, log AM - log GM > `limit` in some channel: it is normed by its own
statistics and enters neither the window nor the running ones. Surprises: no centring; at inference tokens do not meet
in it and it has no nonlinearity, so that `fuse` puts it into the next linear map exactly; and in training padding
counts, as in every batch norm. Gradients are autograd's own, through the share 1/M of the present batch, where the
authors smooth gradient statistics as well.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from interp.hooks.tap import mark
from interp.parts.norms import OwnNorm


class UnifiedNorm(nn.Module):
    """Channelwise quadratic mean, smoothed over `window` batches; `limit` is the gap that makes an outlier."""

    role = OwnNorm(center=False)

    def __init__(self, d_model: int, eps: float = 1e-5, window: int = 4, momentum: float = 0.9, limit: float = 1.0):
        super().__init__()
        self.eps, self.window, self.momentum, self.limit = eps, window, momentum, limit
        self.weight = nn.Parameter(torch.ones(d_model))
        self.bias = nn.Parameter(torch.zeros(d_model))
        self.register_buffer("running", torch.ones(d_model))
        self.register_buffer("recent", torch.zeros(window, d_model))  # logarithms, the latest first
        self.register_buffer("seen", torch.zeros((), dtype=torch.long))
        self.register_buffer("skipped", torch.zeros((), dtype=torch.long))

    def initialise(self, std: float, generator: torch.Generator) -> None:
        """Gains and running squares 1, all else 0; nothing is drawn."""
        for tensor, value in ((self.weight, 1), (self.bias, 0), (self.running, 1), (self.recent, 0), (self.seen, 0),
                              (self.skipped, 0)):
            tensor.fill_(value)

    def forward(self, x: Float[Tensor, "batch pos d_model"]) -> Float[Tensor, "batch pos d_model"]:
        square = self._batch_square(x) if self.training else self.running
        scale = mark(self, "scale", (square + self.eps).sqrt()[None, None])
        return mark(self, "normalized", x / scale) * self.weight + self.bias

    def _batch_square(self, x: Tensor) -> Tensor:
        """Smoothed mean square of this batch [d_model]; takes the batch into window and running mean, or skips it."""
        own = x.pow(2).mean((0, 1)).clamp(min=1e-12)
        logs = torch.cat([own.log()[None], self.recent[: min(int(self.seen), self.window - 1)]])
        geometric = logs.mean(0).exp()
        gap = (logs.exp().mean(0).log() - logs.mean(0)).max()
        if gap > self.limit:
            self.skipped += 1
            return own
        with torch.no_grad():
            self.recent = torch.cat([own.log()[None], self.recent[:-1]]).detach()
            self.running = self.running * self.momentum + geometric.detach() * (1 - self.momentum)
            self.seen += 1
        return geometric

    def equation(self, name: str) -> str:
        """What it computes at inference."""
        return f"{name}(x) = x / sqrt(running mean x^2 of each channel + {self.eps:g}) * w + b"


def fuse(norm: UnifiedNorm, linear: nn.Linear) -> nn.Linear:
    """The linear map that equals `linear(norm(x))` at inference."""
    gain = norm.weight / (norm.running + norm.eps).sqrt()
    fused = nn.Linear(linear.in_features, linear.out_features, dtype=linear.weight.dtype)
    with torch.no_grad():
        fused.weight.copy_(linear.weight * gain)
        fused.bias.copy_(linear.weight @ norm.bias + (0 if linear.bias is None else linear.bias))
    return fused
