"""How much two choices have in common, against what chance gives: exact, without drawing."""

from collections import Counter
from collections.abc import Callable, Collection, Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from interp.discovery.controls import pool_of, pools_of
from interp.discovery.runs import Piece
from interp.results import BadInput, Estimate
from interp.results.estimate import bootstrap_statistic

SIZE, DEPTH = "same size", "same size and depths"


@dataclass(frozen=True)
class Overlap:
    """`jaccard` is |A and B| / |A or B|, nan where both are empty; `expected` its mean over all choices like B of the
    kind `null`; `p` the share of these that have as much in common with A as B has."""

    both: int
    jaccard: float
    expected: float
    p: float
    null: str


def overlap(a: Collection[Piece], b: Collection[Piece], universe: Sequence[Piece], null: str = DEPTH) -> Overlap:
    """What A and B share. The null exchanges B for every choice of as many pieces of `universe`: of each site, where
    null is "same size and depths" (as `matched_circuits` does), or anywhere, where it is "same size".

    The number in common is then a sum of independent hypergeometric numbers, so that p is that of a permutation test
    with every permutation drawn. Raises BadInput where A or B is not within the universe.
    """
    a, b = set(a), set(b)
    if missing := (a | b) - set(universe):
        raise BadInput(f"{sorted(piece.name for piece in missing)[0]} is a member and not among the candidates")
    pools = pools_of(list(universe)) if null == DEPTH else {}
    chances = _common(a, b, universe, (lambda piece: pool_of(piece, pools)) if pools else (lambda piece: null))
    both, sizes = len(a & b), len(a) + len(b)
    if not sizes:
        return Overlap(0, np.nan, np.nan, 1.0, null)
    jaccards = np.arange(len(chances)) / (sizes - np.arange(len(chances)))
    return Overlap(both, both / (sizes - both), float(chances @ jaccards), min(1.0, float(chances[both:].sum())), null)


def _common(a: set, b: set, universe: Sequence[Piece], pool_of: Callable[[Piece], Hashable]) -> np.ndarray:
    """P(k pieces in common) for k = 0, 1 ..., A fixed and B drawn anew within each pool."""
    from scipy.stats import hypergeom

    counts = Counter(map(pool_of, universe))
    in_a, in_b = Counter(map(pool_of, a)), Counter(map(pool_of, b))
    chances = np.ones(1)
    for pool, drawn in in_b.items():
        most = min(drawn, in_a[pool])
        chances = np.convolve(chances, hypergeom.pmf(np.arange(most + 1), counts[pool], in_a[pool], drawn))
    return chances


def jaccard(a: Collection[Hashable], b: Collection[Hashable]) -> float:
    """|A and B| / |A or B|; nan where both are empty."""
    a, b = set(a), set(b)
    return len(a & b) / len(a | b) if a | b else np.nan


def rank_correlation(x: Sequence[float], y: Sequence[float], unit: str, seed: int = 0) -> Estimate | float:
    """Spearman's correlation of paired signed scores, ties at their mean rank, with a bootstrap interval over pieces.

    The interval says how much the number hangs on single pieces, not what other prompts would give. Without an interval
    (a plain number) where too many resamples have all scores equal; nan for fewer than three pieces or constant scores.
    """
    x, y = np.asarray(x, float), np.asarray(y, float)
    if len(x) < 3 or np.isnan(value := spearman(x, y)):
        return np.nan
    try:
        return bootstrap_statistic(spearman, [x, y], unit=unit, seed=seed, draws=1000 if len(x) < 2000 else 200)
    except BadInput:
        return value


def spearman(x: np.ndarray, y: np.ndarray) -> float:
    """Pearson's correlation of the ranks; nan where one side is constant."""
    from scipy.stats import rankdata

    x, y = rankdata(x), rankdata(y)
    x, y = x - x.mean(), y - y.mean()
    scale = np.sqrt((x @ x) * (y @ y))
    return float(x @ y / scale) if scale > 0 else np.nan
