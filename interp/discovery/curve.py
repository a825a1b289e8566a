"""Faithfulness against size, and the smallest circuit that holds."""

import numpy as np
import pandas as pd

from interp.discovery.runs import Cut, Piece, sizes
from interp.results import BadInput, bootstrap_ratio
from interp.tasks.behaviour import check_done

# Sizes, as shares of all nodes, of the Mechanistic Interpretability Benchmark (Mueller 2025, 2504.13151)
MIB_SHARES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)


def check_cut(model: str, part, cut: Cut) -> None:
    """Raises BadInput for a part of a task that the model does not do: no faithfulness has a meaning on it."""
    check_done(model, part, cut.full, cut.empty, "clean minus emptied (every node at its counterfactual)")


def faithfulness(cut: np.ndarray, empty: np.ndarray, full: np.ndarray, clusters, seed: int = 0):
    """F(C) = (E m(C) - E m(empty)) / (E m(M) - E m(empty)): a ratio of means with its interval, never clipped.

    Raises BadInput where the interval of the denominator contains 0.
    """
    return bootstrap_ratio(cut - empty, full - empty, clusters, seed=seed)


def faithfulness_curve(circuits: Cut, ranking, part) -> pd.DataFrame:
    """One row a size k of the prefix of `ranking`: k, faithfulness, low, high, metric."""
    grid = sizes(len(ranking))
    values = circuits.keep([ranking[:k] for k in grid])
    rows = []
    for k, value in zip(grid, values):
        f = faithfulness(value, circuits.empty, circuits.full, part.clusters)
        rows.append({"k": k, "faithfulness": f.value, "low": f.low, "high": f.high, "metric": float(value.mean())})
    return pd.DataFrame(rows)


def smallest_within(curve: pd.DataFrame, within: tuple[float, float]) -> int:
    """Smallest k from which on all faithfulness values lie in `within`."""
    low, high = within
    if not low < high:
        raise BadInput(f"within is {within}; give two rising numbers, such as (0.8, 1.2)")
    inside = curve["faithfulness"].between(low, high).to_numpy()
    outside = np.flatnonzero(~inside)
    row = outside[-1] + 1 if len(outside) else 0
    return int(curve["k"].iloc[min(row, len(curve) - 1)])


def mib_integrals(circuits: Cut, scores: dict[Piece, float]) -> dict[str, float]:
    """CPR (area under faithfulness, pieces by signed score) and CMD (area of |1 - F|, by |score|) on MIB's grid.

    Both integrate over the share of nodes (or edges) kept from 0.001 to 1, by trapezoids.
    Paper: Mueller 2025 (2504.13151).
    """
    n = len(scores)
    counts = [max(1, round(share * n)) for share in MIB_SHARES]
    scale = circuits.full.mean() - circuits.empty.mean()
    areas = {}
    for name, key in (("CPR", lambda node: -scores[node]), ("CMD", lambda node: -abs(scores[node]))):
        order = sorted(sorted(scores, key=lambda node: node.name), key=key)  # ties by name, however they were stored
        f = (circuits.keep([order[:k] for k in counts]).mean(1) - circuits.empty.mean()) / scale
        areas[name] = float(np.trapezoid(f if name == "CPR" else np.abs(1 - f), MIB_SHARES))
    return areas
