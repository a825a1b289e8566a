"""Repeated sequences: a lead of random length, then a block of different tokens that repeats to the end of the row.

Lead and period are drawn for every row: no model can solve it by looking a fixed number of tokens back, and none can
tell from the place of a token whether it is looked up. Olsson et al. 2022, arXiv 2209.11895 (repeated random tokens).
"""

import torch
from jaxtyping import Bool, Int
from torch import Generator, Tensor


def sequences(
    rows: int, generator: Generator, *, n_tokens: int, n_ctx: int, periods: tuple[int, int], longest_lead: int
) -> tuple[Int[Tensor, "batch pos"], Int[Tensor, " batch"], Int[Tensor, " batch"]]:
    """Token ids [rows, n_ctx], the period of every row and where its first block begins [rows].

    Tokens are 0 to n_tokens - 1 behind a first one, n_tokens; periods are drawn evenly from `periods`, both ends
    included, leads from 0 to `longest_lead`. Lead and block have no token in common.
    """
    low, high = periods
    period = torch.randint(low, high + 1, (rows,), generator=generator)
    lead = torch.randint(longest_lead + 1, (rows,), generator=generator)
    order = torch.rand(rows, n_tokens, generator=generator).argsort(1)
    place = torch.arange(n_ctx - 1).expand(rows, -1)
    place = torch.where(place < lead[:, None], place, lead[:, None] + (place - lead[:, None]) % period[:, None])
    return torch.cat([torch.full((rows, 1), n_tokens), order.gather(1, place)], 1), period, lead + 1


def matches(tokens: Int[Tensor, "batch pos"]) -> Bool[Tensor, "batch query key"]:
    """True where the key stands behind an earlier occurrence of the query's token: what an induction head looks at."""
    before = tokens.roll(1, 1)
    found = (tokens[:, :, None] == before[:, None, :]).tril()
    found[:, :, 0] = False  # what stands before the first token is not the last one
    return found


def predictable(tokens: Int[Tensor, "batch pos"]) -> Bool[Tensor, "batch pos"]:
    """True where the next token is there and has been seen behind the same token before."""
    seen = matches(tokens).any(-1)
    seen[:, -1] = False  # nothing is known to come next
    return seen
