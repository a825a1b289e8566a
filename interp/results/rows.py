"""Rows of numbers and the clusters they belong to: the checks and the resampling behind every interval."""

from collections.abc import Hashable
from typing import Any

import numpy as np

from interp.results.errors import BadInput

BLOCK = 4_000_000
"""Numbers held at once while resampling (32 MB), so that many prompts do not exhaust memory."""


def numbers(values: Any) -> np.ndarray:
    """Numbers as float64, from lists, numpy, pandas or torch on any device, with or without gradients."""
    detach = getattr(values, "detach", None)
    try:
        return np.asarray(detach().cpu().double() if callable(detach) else values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise BadInput(f"these are not numbers: {error}") from error


def one_number_a_row(values: Any, name: str) -> np.ndarray:
    """float64 [row], at least one row, all finite. Raises: BadInput that calls the values `name`."""
    rows = numbers(values)
    if rows.ndim != 1 or not len(rows):
        raise BadInput(
            f"{name} has shape {list(rows.shape)}; one number per row is needed, and at least one row"
        )
    if not np.isfinite(rows).all():
        raise BadInput(f"{name} is NaN or infinite in {int((~np.isfinite(rows)).sum())} of {len(rows)} rows")
    return rows


def cluster_numbers(clusters: Any, n: int) -> np.ndarray:
    """Cluster number of each of n rows, from 0 in the order they first appear; each row its own without
    labels.

    Raises: BadInput when there is not one hashable label a row.
    """
    if clusters is None:
        return np.arange(n)
    to_list = getattr(
        clusters, "tolist", None
    )  # numpy, pandas and torch: their own scalars do not all hash by value
    labels = [tuple(c) if isinstance(c, list) else c for c in (to_list() if callable(to_list) else clusters)]
    if len(labels) != n:
        raise BadInput(f"{len(labels)} cluster labels for {n} rows")
    seen: dict[Hashable, int] = {}
    return np.array([seen.setdefault(label, len(seen)) for label in labels])


def resampled_sums(sums: np.ndarray, seed: int, draws: int) -> np.ndarray:
    """sums [quantity, cluster] -> [draw, quantity], each the total over clusters drawn with replacement."""
    generator, n = np.random.default_rng(seed), sums.shape[1]
    block = max(1, BLOCK // n)
    parts = []
    for start in range(0, draws, block):
        picked = generator.integers(n, size=(min(block, draws - start), n))
        parts.append(np.stack([row[picked].sum(axis=1) for row in sums], axis=1))
    return np.concatenate(parts)
