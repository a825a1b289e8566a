"""PRepBN: from LayerNorm to a foldable batch norm over the course of training (SLAB; Guo et al. 2024, 2405.11582,
section 3.2).

    y = l LN(x) + (1 - l) (BN(x) + a x),   l from 1 to 0 while training         x, y [batch, pos, d_model]; a one number
    inference with l = 0:  y = x (w / s + a) + b - w m / s                          m, s running mean and deviation

The state in the catalog is half way, l = 0.5, where all of it is alive; `progress` moves it. Surprise: at the end
nothing of a token's own size is divided out any more: the norm is a fixed affine map, `fuse` puts it into the next
linear map, and a stream that grows with depth arrives as large as it is.
"""

from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn

from interp.hooks import semantic
from interp.hooks.tap import mark
from interp.parts.norms import OwnNorm
from interp.results.errors import BadInput


class PRepBN(nn.Module):
    """The mixed norm. Sites hold what its LayerNorm does; `share` is l, kept with the weights."""

    role = OwnNorm()

    def __init__(self, d_model: int, eps: float = 1e-5, momentum: float = 0.1):
        super().__init__()
        self.eps, self.momentum = eps, momentum
        for name in ("weight", "bias", "bn_weight", "bn_bias"):
            self.register_parameter(name, nn.Parameter(torch.empty(d_model)))
        self.alpha = nn.Parameter(torch.empty(1))
        for name, shape in (("share", ()), ("mean", (d_model,)), ("variance", (d_model,))):
            self.register_buffer(name, torch.empty(shape))

    def initialise(self, std: float, generator: torch.Generator) -> None:
        """Gains, alpha and running variance 1, shifts 0, half way; nothing is drawn."""
        for one in (self.weight, self.bn_weight, self.alpha, self.variance):
            one.fill_(1.0)
        for zero in (self.bias, self.bn_bias, self.mean):
            zero.zero_()
        self.share.fill_(0.5)

    def forward(self, x: Float[Tensor, "batch pos d_model"]) -> Float[Tensor, "batch pos d_model"]:
        layer = semantic.norm(x, self.weight, self.bias, eps=self.eps, center=True, mark=partial(mark, self))
        return layer * self.share + (self.batch(x) + x * self.alpha) * (1 - self.share)

    def batch(self, x: Tensor) -> Tensor:
        """The batch norm alone; in training over all tokens of the batch, padding included."""
        rows = x.flatten(0, -2)
        out = nn.functional.batch_norm(rows, self.mean, self.variance, self.bn_weight, self.bn_bias, self.training,
                                       self.momentum, self.eps)
        return out.reshape(x.shape)

    def equation(self, name: str) -> str:
        """What it computes, with the share of the moment."""
        l = float(self.share)
        return (f"{name}(x) = {l:g} LN(x) + {1 - l:g} (BN(x) + a x), LN(x) = (x - mean x) / sqrt(var x + {self.eps:g}) "
                "* w + b")


def progress(model: nn.Module, done: float) -> None:
    """Set every PRepBN to a share of training that is done, 0 to 1: pure LayerNorm to pure RepBN.

    Raises BadInput for a share outside 0 to 1 or a model that has none.
    """
    if not 0 <= done <= 1:
        raise BadInput(f"{done} of the training cannot be done; a share is from 0 to 1")
    norms = [part for part in model.modules() if isinstance(part, PRepBN)]
    if not norms:
        raise BadInput(f"{type(model).__name__} has no PRepBN; build 'prepbn' or 'slab'")
    for norm in norms:
        norm.share.fill_(1.0 - done)


def fuse(norm: PRepBN, linear: nn.Linear) -> nn.Linear:
    """The linear map that equals `linear(norm(x))` at inference once the norm is pure RepBN.

    Raises BadInput before that.
    """
    if float(norm.share) != 0:
        raise BadInput(f"its LayerNorm still has a share of {float(norm.share):g}; only at 0 does PRepBN fuse")
    slope = norm.bn_weight / (norm.variance + norm.eps).sqrt()
    fused = nn.Linear(linear.in_features, linear.out_features, dtype=linear.weight.dtype)
    with torch.no_grad():
        fused.weight.copy_(linear.weight * (slope + norm.alpha))
        shift = linear.weight @ (norm.bn_bias - slope * norm.mean)
        fused.bias.copy_(shift if linear.bias is None else shift + linear.bias)
    return fused
