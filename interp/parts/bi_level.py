"""Bi-level routing (BiFormer: Zhu et al. 2023, 2303.08810, section 3.2): regions choose regions, then tokens attend.

    r = (mean of q in a region) (mean of k in a region)^T / sqrt(d_model)          T = top k of every row of r
    B = 0 where the key's region is in T of the query's region, the lowest number elsewhere

Shapes: regions x regions of an image; r [batch, region, region]; T [batch, region, choice], integers, best first.
Surprises: all heads share one choice, made of all their channels; no gradient goes through it, so that what is not
chosen is not learned about; and a region need not choose itself.
"""

import torch
from torch import Tensor, nn

from interp.hooks.tap import mark
from interp.parts.grid_attention import Rows, hide, rows_and_columns, side_of
from interp.results.errors import BadInput


class Routed(nn.Module):
    """Places for `GridAttention`: `regions` a side, of which `top` are read."""

    def __init__(self, n_heads: int, regions: int, top: int):
        super().__init__()
        if not 1 <= top <= regions**2:
            raise BadInput(f"top is {top}; of {regions} x {regions} regions, 1 to {regions**2} can be read")
        self.regions, self.top = regions, top

    def region_of(self, side: int) -> Tensor:
        """Region of every place, [side^2]. Raises BadInput where regions do not divide the image."""
        if side % self.regions:
            raise BadInput(f"{self.regions} regions a side do not divide an image {side} places wide")
        row, column = (at * self.regions // side for at in rows_and_columns(side))
        return row * self.regions + column

    def forward(self, q: Tensor, k: Tensor) -> Tensor:
        """B, [batch, 1, query, key]."""
        region = self.region_of(side_of(q.shape[-2])).to(q.device)
        count = self.regions**2
        mean = (region == torch.arange(count, device=q.device)[:, None]).to(q) * (count / len(region))
        of_q, of_k = (mean @ x.detach().transpose(1, 2).flatten(2) for x in (q, k))
        scores = of_q @ of_k.transpose(1, 2) * of_q.shape[-1] ** -0.5
        route = mark(self, "route", scores.topk(self.top, -1).indices)
        chosen = (route[..., None] == torch.arange(count, device=q.device)).any(2)
        return hide(chosen[:, region][:, :, region], q.new_zeros(()))[:, None]

    def declare(self, d, path: str) -> None:
        """Its sites, at `path` of a block: the choice. Its scores are none, for they reach nothing but it."""
        d.site("attn.hook_route", path, "route")

    def equations(self) -> Rows:
        """What it is: (equation, sites)."""
        return [
            (f"r = (region means of q) (region means of k)^T / sqrt(d), {self.regions} x {self.regions} regions", ""),
            (f"T = the {self.top} largest of every row of r", "attn.hook_route"),
            ("B_h = 0 where the key's region is in T of the query's, else lowest", "attn.hook_bias"),
        ]
