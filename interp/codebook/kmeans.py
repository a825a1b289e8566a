"""k-means centres to start a codebook from."""

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from interp.codebook.nearest import Similarity, nearest


def centres(
    x: Float[Tensor, "row d"], n: int, similarity: Similarity, rounds: int, generator: Generator
) -> Float[Tensor, "n d"]:
    """n centres by Lloyd's algorithm from random distinct rows; rows are assigned by `similarity` and averaged.

    A centre that nothing is assigned to moves to one of the rows that are worst represented. With fewer distinct rows
    than centres, every row is a centre and the rest are rows with noise.
    """
    x = x.detach()
    distinct = x.unique(dim=0)
    order = torch.randperm(len(distinct), generator=generator).to(x.device)
    if len(distinct) <= n:
        more = distinct[order[torch.arange(n - len(distinct)) % len(distinct)]]
        noise = torch.randn(more.shape, generator=generator).to(x)
        return torch.cat([distinct, more + 1e-2 * more.norm(dim=-1, keepdim=True) * noise])
    found = distinct[order[:n]].clone()
    for _ in range(rounds):
        scores, ids = (part[0, :, 0] for part in nearest(x[None], found[None], 1, similarity))
        counts = torch.bincount(ids, minlength=n)
        sums = torch.zeros_like(found).index_add_(0, ids, x)
        found = torch.where(counts[:, None] > 0, sums / counts[:, None].clamp(min=1), found)
        empty = (counts == 0).nonzero()[:, 0]
        found[empty] = x[scores.argsort()[: len(empty)]]
    return found
