"""Cross-shaped windows (CSWin: Dong et al. 2021, 2107.00652, sections 3.2 and 3.3): heads see rows or columns.

    the first half of the heads sees the query's stripe of w rows, the second half its stripe of w columns
    local: a depthwise convolution of the values (LePE) that stops at the border of the head's stripe

Surprises: no head sees the cross, only both halves together do, and only the output projection brings them together.
The authors' code convolves within each stripe as well, so that beside a border zeros stand in for the neighbour. (In it
columns come first; heads here are in the paper's order.) As wide as the image, both halves are full attention.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d

from interp.parts.grid_attention import Rows, Stream, hide, image, rows_and_columns, side_of, tokens
from interp.results.errors import BadInput


def width_in(width: int, side: int) -> int:
    """Width of stripes in an image of that side. Raises BadInput where they do not divide it."""
    if side % min(width, side):
        raise BadInput(f"stripes {width} wide do not divide an image {side} places wide")
    return min(width, side)


class Stripes(nn.Module):
    """Places for `GridAttention`."""

    def __init__(self, n_heads: int, width: int):
        super().__init__()
        if n_heads % 2:
            raise BadInput(f"n_heads is {n_heads}; half of the heads see rows and half columns")
        self.n_heads, self.width = n_heads, width

    def forward(self, q: Tensor, k: Tensor) -> Tensor:
        """B, [1, head, query, key]."""
        side = side_of(q.shape[-2])
        stripe = torch.stack([at // width_in(self.width, side) for at in rows_and_columns(side)])
        sees = stripe[:, :, None] == stripe[:, None]
        return hide(sees, q.new_zeros(())).repeat_interleave(self.n_heads // 2, 0)[None]

    def equations(self) -> Rows:
        """What it is: (equation, sites)."""
        what = f"{self.width} rows (h < {self.n_heads // 2}) or columns"
        return [(f"B_h = 0 within stripes of {what}, else lowest", "attn.hook_bias")]


class StripeConv(nn.Module):
    """The convolution within stripes, 3 x 3."""

    where = " within its stripe"

    def __init__(self, d_model: int, width: int):
        super().__init__()
        self.width = width
        self.conv = nn.Conv2d(d_model, d_model, 3, padding=1, groups=d_model)

    def forward(self, x: Stream) -> Stream:
        across, down = image(x).chunk(2, 1)
        weights, biases = self.conv.weight.chunk(2), self.conv.bias.chunk(2)
        across = self._in_stripes(across, weights[0], biases[0])
        down = self._in_stripes(down.transpose(2, 3), weights[1].transpose(2, 3), biases[1]).transpose(2, 3)
        return tokens(torch.cat([across, down], 1))

    def _in_stripes(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """Of every stripe of rows by itself, as if it were an image."""
        batch, channels, side, _ = x.shape
        stripes = x.unflatten(2, (-1, width_in(self.width, side))).transpose(1, 2).flatten(0, 1)
        y = conv2d(stripes, weight, bias, padding=1, groups=channels)
        return y.unflatten(0, (batch, -1)).transpose(1, 2).flatten(2, 3)
