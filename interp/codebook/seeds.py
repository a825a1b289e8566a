"""Whether two trainings find the same codes: codes are compared by the tokens on which they are active."""

from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Generator, Tensor

from interp.results.errors import BadInput

if TYPE_CHECKING:
    from scipy.sparse import csr_array

FEATURES = 1024  # at once


def stability(
    a: Int[Tensor, "row pos group k"], b: Int[Tensor, "row pos group k"], *,
    real: Bool[Tensor, "row pos"] | None = None, seed: int = 0,
) -> dict[str, float]:
    """How alike the codes of two books are, on the same tokens: for every live code of `a`, of the tokens on which it
    or a code of `b` is active the share on which both are, for the code of `b` (any group) where that is largest.

    "mean" counts every live code of `a` once, "weighted" by how often it is active; "shuffled" is "weighted" with the
    tokens of `b` exchanged: what codes of these frequencies reach by chance. The measure is not symmetric.
    Raises BadInput for codes of different tokens, and where no code of `a` is active.
    """
    if a.shape[:2] != b.shape[:2]:
        raise BadInput(f"codes of {list(a.shape[:2])} and of {list(b.shape[:2])} tokens: give both the same input")
    kept = torch.ones(a.shape[:2], dtype=torch.bool) if real is None else real
    if not (a[kept] >= 0).any():
        raise BadInput(f"no code is active on the {int(kept.sum())} tokens that were given")
    flat_a, flat_b = (_numbered(ids[kept]) for ids in (a, b))
    order = torch.randperm(len(flat_b), generator=Generator().manual_seed(seed))
    best, uses = _best(flat_a, flat_b)
    chance, _ = _best(flat_a, flat_b[order])
    return {"mean": float(best.mean()), "weighted": float((best * uses).sum() / uses.sum()),
            "shuffled": float((chance * uses).sum() / uses.sum()), "live": len(uses)}


def _numbered(ids: Tensor) -> Tensor:
    """[token, feature] with one number for every group and code, -1 for none."""
    n = int(ids.max()) + 1
    return (ids + torch.arange(ids.shape[1])[:, None] * n).where(ids >= 0, -1).flatten(1)


def _best(a: Int[Tensor, "token feature"], b: Int[Tensor, "token feature"]) -> tuple[Tensor, Tensor]:
    """(largest share, uses) of every live feature of a."""
    left, right = _active(a), _active(b)
    uses_a, uses_b = (np.asarray(one.sum(0)).ravel() for one in (left, right))
    best = np.zeros(left.shape[1])
    columns = left.tocsc()
    for start in range(0, left.shape[1], FEATURES):  # in parts: as many pairs as there are may not fit in memory
        both = (columns[:, start : start + FEATURES].T @ right).tocoo()
        share = both.data / (uses_a[start + both.row] + uses_b[both.col] - both.data)
        np.maximum.at(best, start + both.row, share)
    live = uses_a > 0
    return torch.from_numpy(best[live]), torch.from_numpy(uses_a[live])


def _active(numbers: Int[Tensor, "token feature"]) -> "csr_array":
    """1 where a feature is active on a token, [token, feature]."""
    from scipy.sparse import csr_array

    token, slot = (numbers >= 0).nonzero(as_tuple=True)
    shape = (len(numbers), int(numbers.max()) + 1)
    return csr_array((np.ones(len(token)), (token.numpy(), numbers[token, slot].numpy())), shape=shape)
