"""Greedy pruning of edges, from the output backwards: an edge whose removal changes the metric by less than a threshold
goes, and the next is tested in what is left.

Paper: Conmy 2023 (2304.14997), algorithm 1, on the task's metric. Sequential by definition; here a whole stretch of
removals is tried in one batch as if all succeeded, and repeated from the first that did not: the same circuit.
"""

import numpy as np

from interp.discovery.edge_runs import EdgeCircuits
from interp.results import BadInput

SHARES = (0.3, 0.1, 0.03, 0.01, 0.003)  # thresholds, as shares of the difference between the full and the empty model
STRETCH = 16


def acdc_scores(circuits: EdgeCircuits, shares: tuple[float, ...] = SHARES) -> tuple[np.ndarray, dict]:
    """(score per edge [edge], facts): the largest threshold that it survives, in the metric's unit, 0 if none.

    The facts hold the thresholds and the number of edges that each keeps.
    """
    scale = abs(float(circuits.full.mean() - circuits.empty.mean()))
    scores = np.zeros(len(circuits.universe))
    sizes = []
    for share in sorted(shares, reverse=True):
        kept = acdc(circuits, share * scale)
        sizes.append(int(kept.sum()))
        scores = np.where((scores == 0) & kept, share * scale, scores)
    return scores, {"forwards": circuits.forwards, "thresholds": [s * scale for s in sorted(shares, reverse=True)],
                    "kept": sizes}


def acdc(circuits: EdgeCircuits, threshold: float) -> np.ndarray:
    """The edges that survive, boolean [edge]. `threshold` in the metric's unit, on its mean over the prompts."""
    if not threshold > 0:
        raise BadInput(f"the threshold is {threshold}; give a change of the metric above 0")
    kept = np.ones(len(circuits.universe), dtype=bool)
    now = float(circuits.full.mean())
    order = np.arange(len(kept))[::-1]  # edges are listed by reader in execution order
    at, stretch = 0, 1
    while at < len(order):
        tried = order[at : at + stretch]
        masks = np.repeat(kept[None], len(tried), 0)
        for row, edge in enumerate(tried):
            masks[row:, edge] = False
        values = circuits.keep_masks(masks).mean(1)
        steps = np.abs(np.diff(values, prepend=now))
        fails = np.flatnonzero(steps >= threshold)
        accepted = len(tried) if not len(fails) else int(fails[0])
        if accepted:
            kept[tried[:accepted]] = False
            now = float(values[accepted - 1])
        at += accepted + bool(len(fails))
        stretch = min(2 * stretch, STRETCH) if not len(fails) else max(1, stretch // 2)
    return kept
