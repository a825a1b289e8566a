"""Whether two trainings find the same codes: codes are compared by the tokens on which they are active."""

import torch
from jaxtyping import Bool, Int
from torch import Generator, Tensor

from interp.results.errors import BadInput


def stability(
    a: Int[Tensor, "row pos group k"], b: Int[Tensor, "row pos group k"], *,
    real: Bool[Tensor, "row pos"] | None = None, seed: int = 0,
) -> dict[str, float]:
    """How alike the codes of two books are, on the same tokens: for every live code of `a`, of the tokens on which it
    or a code of `b` is active the share on which both are, for the code of `b` (any group) where that is largest.

    "mean" counts every live code of `a` once, "weighted" by how often it is active; "shuffled" is "weighted" with the
    tokens of `b` exchanged: what codes of these frequencies reach by chance. The measure is not symmetric.
    Raises BadInput for codes of different tokens.
    """
    if a.shape[:2] != b.shape[:2]:
        raise BadInput(f"codes of {list(a.shape[:2])} and of {list(b.shape[:2])} tokens: give both the same input")
    kept = torch.ones(a.shape[:2], dtype=torch.bool) if real is None else real
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


def _best(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """(largest share, uses) of every live feature of a."""
    n_a, n_b = int(a.max()) + 1, int(b.max()) + 1
    uses_a, uses_b = (torch.bincount(t[t >= 0], minlength=n) for t, n in ((a, n_a), (b, n_b)))
    best = torch.zeros(n_a, dtype=torch.double)
    both: Tensor = torch.zeros(0, dtype=torch.long)
    number: Tensor = torch.zeros(0, dtype=torch.long)
    for part_a, part_b in zip(a.split(1024), b.split(1024)):
        pairs = part_a[:, :, None] * n_b + part_b[:, None, :]
        pairs = pairs[(part_a[:, :, None] >= 0) & (part_b[:, None, :] >= 0)]
        number, where = torch.cat([number, pairs]).unique(return_inverse=True)
        both = torch.zeros(len(number), dtype=torch.long).index_add_(
            0, where, torch.cat([both, torch.ones(len(pairs), dtype=torch.long)]))
    left, right = number // n_b, number % n_b
    share = both.double() / (uses_a[left] + uses_b[right] - both)
    best.scatter_reduce_(0, left, share, "amax")
    live = uses_a > 0
    return best[live], uses_a[live].double()
