"""Phases: stretches of depth within which the stream changes little (the block-recurrent hypothesis, Raptor).

    maxcut   the stretch whose best cut (sum of distances across it) is largest is cut there, while that sum is more
             than eps of the sum over all pairs; stretches of less than twice `smallest` stay whole
    dp       k stretches with the least sum of distances within them, by dynamic programming, exact

Cuts are at one place of a stretch, so that segments are contiguous by construction; `free_cut` is the paper's max-cut
without that and says whether it matters. Surprises: max-cut finds phases in anything: of distances that are all
the same the best cut holds more than half, so that eps = 0.2 cuts them (`interp.depth.phase_count` is about how many
there are). And it adds distances up, which favours halves: of three equal phases it cuts the middle one in two.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from interp.results.errors import BadInput

Segments = list[list[int]]


def segment(distances: np.ndarray, method: Literal["maxcut", "dp"] = "maxcut", *, eps: float = 0.2,
            k: int | None = None, smallest: int | None = None) -> Segments:
    """Contiguous segments of depths 0 to L - 1, in order, of distances [L, L].

    `maxcut` reads `eps` (smallest: 2), `dp` needs `k` (smallest: 1). Raises BadInput for distances that are no square
    of finite numbers, another method, or more segments than fit.
    """
    table = _checked(distances)
    if method == "maxcut":
        return _by_cuts(table, eps, 2 if smallest is None else smallest)
    if method != "dp":
        raise BadInput(f"method is {method!r}; choose maxcut or dp")
    if k is None:
        raise BadInput("method='dp' needs k, the number of segments; interp.depth.phase_count shows a curve over it")
    return _by_programming(table, k, 1 if smallest is None else smallest)


def _checked(distances: np.ndarray) -> np.ndarray:
    table = np.asarray(distances, dtype=float)
    if table.ndim != 2 or table.shape[0] != table.shape[1] or not table.size or not np.isfinite(table).all():
        raise BadInput(f"distances have shape {list(table.shape)}; a square [L, L] of finite numbers is needed")
    return (table + table.T) / 2


def _by_cuts(table: np.ndarray, eps: float, smallest: int) -> Segments:
    segments, total = [list(range(len(table)))], np.triu(table, 1).sum()
    while True:
        cuts = [best_cut(table, part, smallest) for part in segments]
        at = max(range(len(segments)), key=lambda i: cuts[i][0])
        weight, place = cuts[at]
        if place is None or not weight > eps * total:
            return segments
        part = segments[at]
        segments[at: at + 1] = [part[:place], part[place:]]


def best_cut(table: np.ndarray, part: Sequence[int], smallest: int = 2) -> tuple[float, int | None]:
    """(sum of distances across the best cut of a stretch, its place in it); the place is None where it is too short."""
    inner = table[np.ix_(part, part)]
    places = range(smallest, len(part) - smallest + 1)
    weights = {p: float(inner[:p, p:].sum()) for p in places}
    return max(((w, p) for p, w in weights.items()), default=(0.0, None), key=lambda item: item[0])


def free_cut(distances: np.ndarray, smallest: int = 1) -> list[list[int]]:
    """The two sets of depths, contiguous or not, with the largest sum of distances between them, exact.

    Tries every set: for up to 20 depths. Raises BadInput for more, and as `segment`.
    """
    table = _checked(distances)
    n = len(table)
    if n > 20:
        raise BadInput(f"{n} depths have {2 ** (n - 1)} cuts, which is too many to try; 20 depths at most")
    sides = (np.arange(2 ** (n - 1))[:, None] >> np.arange(n)) & 1  # the last depth is always on side 0
    sizes = sides.sum(1)
    fits = (sizes >= smallest) & (n - sizes >= smallest)
    signs = 1.0 - 2.0 * sides[fits]
    best = signs[np.einsum("si,ij,sj->s", signs, table, signs, optimize=True).argmin()]
    return sorted([np.flatnonzero(best > 0).tolist(), np.flatnonzero(best < 0).tolist()])


def within(distances: np.ndarray, segments: Segments) -> float:
    """Sum of distances over pairs of depths of one segment."""
    table = _checked(distances)
    return float(sum(np.triu(table[np.ix_(part, part)], 1).sum() for part in segments))


def phase_score(distances: np.ndarray, segments: Segments) -> float:
    """Mean distance between depths of different segments minus mean distance within them; 0 where there is one kind."""
    table = _checked(distances)
    label = np.empty(len(table), int)
    for i, part in enumerate(segments):
        label[part] = i
    pairs = np.triu_indices(len(table), 1)
    same = label[pairs[0]] == label[pairs[1]]
    values = table[pairs]
    return float(values[~same].mean() - values[same].mean()) if same.any() and not same.all() else 0.0


def _by_programming(table: np.ndarray, k: int, smallest: int) -> Segments:
    if not 1 <= k <= len(table) // smallest:
        raise BadInput(f"{k} segments of at least {smallest} depths do not fit into {len(table)}")
    return best_segments(table, k, smallest)[-1]


def best_segments(table: np.ndarray, k_max: int, smallest: int = 1) -> list[Segments]:
    """The best segmentation into 1, 2, ... k_max segments of symmetric distances [L, L], one table for all."""
    n = len(table)
    sums = np.zeros((n + 1, n + 1))
    sums[1:, 1:] = table.cumsum(0).cumsum(1)
    i = np.arange(n + 1)
    # cost[start, stop): half of the square of distances on the diagonal
    cost = (sums[i, i][None] - sums[i][:, i] - sums[i][:, i].T + sums[i, i][:, None]) / 2
    cost -= np.concatenate([[0.0], np.diagonal(table).cumsum()])[None] / 2
    cost += np.concatenate([[0.0], np.diagonal(table).cumsum()])[:, None] / 2
    allowed = i[None] - i[:, None] >= smallest
    cost = np.where(allowed, cost, np.inf)
    best, back = np.where(i == 0, 0.0, np.inf), []
    found = []
    for _ in range(k_max):
        totals = best[:, None] + cost
        back.append(totals.argmin(0))
        best = totals.min(0)
        segments, stop = [], n
        for step in reversed(back):
            segments.insert(0, list(range(int(step[stop]), stop)))
            stop = int(step[stop])
        found.append(segments)
    return found
