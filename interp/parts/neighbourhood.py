"""Neighbourhood attention, dilated (Hassani et al. 2022, 2204.07143, section 3.1; DiNAT: 2209.15001, section 3.1).

    query (i, j) sees the k x k places nearest to it among those of its own residue (i mod d, j mod d)
    B_h = T_h[(key - query) / d]        T [head, 2k - 1, 2k - 1], learned

Surprise: at the rim the window stops and does not shrink: a corner sees k x k places too, all on one side, which is why
the table must hold offsets up to k - 1 and not only to k // 2.
"""

import torch
from torch import Tensor, nn

from interp.parts.grid_attention import hide, rows_and_columns, side_of
from interp.results.errors import BadInput


def nearest(length: int, size: int, dilation: int) -> tuple[Tensor, Tensor]:
    """Along one axis, [query, key] each: whether the key is among the `size` nearest, and its offset in dilations.

    Raises BadInput where one residue has fewer than `size` places.
    """
    if size * dilation > length:
        raise BadInput(f"{size} neighbours at dilation {dilation} need {size * dilation} places along a side; there "
                       f"are {length}")
    place = torch.arange(length)
    own, residue = place // dilation, place % dilation
    count = (length - 1 - residue) // dilation + 1  # places of this residue
    start = torch.minimum((own - size // 2).clamp(min=0), count - size)
    sees = (residue[:, None] == residue) & (own >= start[:, None]) & (own < start[:, None] + size)
    return sees, own - own[:, None]


class Neighbourhood(nn.Module):
    """Places for `GridAttention`: `size` odd, per axis; `dilation` in places."""

    def __init__(self, n_heads: int, size: int, dilation: int = 1):
        super().__init__()
        if size % 2 == 0:
            raise BadInput(f"the neighbourhood is {size} wide; it must be odd, to have a middle")
        self.size, self.dilation = size, dilation
        self.table = nn.Parameter(torch.zeros(n_heads, 2 * size - 1, 2 * size - 1))

    def initialise(self, std: float, generator: torch.Generator) -> None:
        """The table drawn as embeddings are."""
        self.table.normal_(0.0, std, generator=generator)

    def forward(self, q: Tensor, k: Tensor) -> Tensor:
        """B, [1, head, query, key]."""
        side = side_of(q.shape[-2])
        sees, offset = nearest(side, self.size, self.dilation)
        row, column = rows_and_columns(side)
        index = (offset + self.size - 1).clamp(0, 2 * self.size - 2)
        down, right = index[row][:, row], index[column][:, column]
        return hide(sees[row][:, row] & sees[column][:, column], self.table[:, down, right])[None]

    def equations(self) -> list[tuple[str, str]]:
        """What it is: (equation, sites)."""
        apart, of = ("", "place") if self.dilation == 1 else (f" / {self.dilation}", f"{self.dilation} x "
                                                              f"{self.dilation} places")
        return [(f"B_h = T_h[(key - query){apart}] at the {self.size} x {self.size} nearest of every {of}",
                 "attn.hook_bias")]
