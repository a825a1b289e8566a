"""Token mixers without weights (MetaFormer: Yu et al. 2021, 2111.11418, sections 3.1 and 4.3): pooling and nothing.

    pooling    z = mean of the 3 x 3 places around - x        identity    z = x         x, z [batch, pos, d_model]

Both are one matrix of places, the same for every image and channel. Surprises: at the rim the mean is of the places
that there are; x is taken off because the stream adds it anyway, but what is added is normed and scaled, so that no
plain mean is left; and rows of the matrix sum to 0, so that what is the same everywhere is not mixed at all.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from interp.hooks.tap import IN, OUT, Heads
from interp.parts.context import Context
from interp.parts.grid_attention import Rows, Stream, image, side_of, tokens
from interp.parts.spec import Spec

Image = Float[Tensor, "batch d side side"]


class Fixed(nn.Module):
    """A mixer that is a fixed matrix of places: `mix` maps images to images, `equation` says it of {x}."""

    causal = False
    mixes = ("mixer.hook_v", "mixer.hook_z")

    def __init__(self, mix: Callable[[Image], Image], equation: str):
        super().__init__()
        self.mix, self.equation = mix, equation

    def forward(self, x: Stream, context: Context) -> Stream:
        return tokens(self.mix(image(x)))

    def mixing(self, cache, prefix: str) -> Float[Tensor, "1 1 query key"]:
        """The matrix, from an image with a one at each place in turn."""
        x = cache[f"{prefix}.mixer.hook_v"]
        side = side_of(x.shape[1])
        return self.mix(torch.eye(side * side).to(x).view(-1, 1, side, side)).flatten(1).T[None, None]

    def declare(self, d, path: str) -> None:
        """Its sites, at `path` of a block: what goes in and what comes out, as one head."""
        d.site("mixer.hook_v", path, IN, Heads(1), heads=1)
        d.site("mixer.hook_z", path, OUT, Heads(1), heads=1)

    def equations(self, x: str, y: str) -> Rows:
        """What it computes from `x` to `y`: (equation, sites)."""
        return [(f"{y} = {self.equation.format(x=x)}", "mixer.hook_v, mixer.hook_z")]


def _pool(x: Image) -> Image:
    return nn.functional.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False) - x


def pooling(spec: Spec) -> Fixed:
    """The mean of 3 x 3 places less the one in the middle."""
    return Fixed(_pool, "mean of 3 x 3 places of {x} - {x}")


def identity(spec: Spec) -> Fixed:
    """No mixing."""
    return Fixed(torch.clone, "{x}")  # what goes in and what comes out are sites of their own
