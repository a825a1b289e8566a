"""CrossFormer (Wang et al. 2021, 2108.00154): embeddings of several scales (3.1), short and long distance attention
(3.2), position biases from a network (3.3).

    embedding   x = [conv_k1 image; conv_k2 image; ...], kernels of all sizes at one stride around one middle
    short       a query sees the g x g places of its square          long   every i-th place along both axes
    bias        B_h = mlp(key - query)_h, the offset in places of the group (in steps of i, for long)

Shapes: B [1, head, query, key]. Surprises: the network is asked for offsets, so that at any one size it is a table, and
at a larger image it goes on where a table ends. Long attention counts offsets in its own steps: to the network the next
place of a comb is as near as the next place of a square. Its last layer has no shift here, which would move all scores
of a query alike and change nothing.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from interp.parts.grid_attention import Rows, hide, rows_and_columns, side_of
from interp.results.errors import BadInput


class CrossScale(nn.Module):
    """Convolutions of several kernel sizes at one stride, side by side; the larger, the fewer channels."""

    def __init__(self, d_in: int, d_out: int, kernels: tuple[int, ...], stride: int):
        super().__init__()
        widths = [d_out // 2 ** (i + 1) for i in range(len(kernels) - 1)]
        widths.append(d_out - sum(widths))
        self.convs = nn.ModuleList(nn.Conv2d(d_in, width, k, stride, padding=(k - stride) // 2)
                                   for k, width in zip(kernels, widths))

    def forward(self, x: Float[Tensor, "batch d_in side side"]) -> Float[Tensor, "batch d_out smaller smaller"]:
        return torch.cat([conv(x) for conv in self.convs], 1)


class DynamicBias(nn.Module):
    """A network from an offset (rows, columns) to one number a head."""

    def __init__(self, n_heads: int, width: int = 8):
        super().__init__()
        def layer(d_out: int, bias: bool) -> list[nn.Module]:
            return [nn.LayerNorm(width), nn.ReLU(), nn.Linear(width, d_out, bias)]

        self.net = nn.Sequential(nn.Linear(2, width), *layer(width, True), *layer(width, True), *layer(n_heads, False))

    def forward(self, offset: Float[Tensor, "... 2"]) -> Float[Tensor, "... head"]:
        return self.net(offset)


class Groups(nn.Module):
    """Places for `GridAttention`: squares of `size` places a side, or with `far` combs of every `size`-th place."""

    def __init__(self, n_heads: int, size: int, far: bool):
        super().__init__()
        self.size, self.far, self.bias = size, far, DynamicBias(n_heads)

    def along(self, side: int) -> tuple[Tensor, Tensor]:
        """Along one axis: group of every place, and place in its group. Raises BadInput where groups do not divide."""
        if side % self.size:
            raise BadInput(f"groups of {self.size} do not divide an image {side} places wide")
        place = torch.arange(side)
        group, inside = place // self.size, place % self.size
        return (inside, group) if self.far else (group, inside)

    def forward(self, q: Tensor, k: Tensor) -> Tensor:
        """B, [1, head, query, key]."""
        side = side_of(q.shape[-2])
        group, inside = self.along(side)
        at = rows_and_columns(side)
        sees = torch.stack([group[x][:, None] == group[x] for x in at]).all(0)
        last = int(inside.max())
        steps = torch.arange(-last, last + 1)
        table = self.bias(torch.cartesian_prod(steps, steps).to(q))  # every offset once
        down, right = (inside[x] - inside[x][:, None] + last for x in at)
        return hide(sees, table[down * len(steps) + right].movedim(-1, 0))[None]

    def equations(self) -> Rows:
        """What it is: (equation, sites)."""
        where = (f"combs of every {self.size}-th place, offset in such steps" if self.far else
                 f"squares of {self.size} x {self.size} places")
        return [(f"B_h = mlp(key - query)_h within {where}", "attn.hook_bias")]
