"""Which prompts are for finding, for choosing and for confirming: parts that share no cluster, and no content."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from interp.results.errors import BadInput

PARTS = ("discover", "select", "test")
_PATIENCE = 200  # draws in a row that bring nothing new before a task counts as exhausted

Row = dict[str, Any]
Pools = Mapping[str, list]
Draw = Callable[[Pools, np.random.Generator], list[Row]]


def sizes(n: int) -> dict[str, int]:
    """How n things are shared out: a quarter each to select and test, at least one where n is 3 or more."""
    quarter = max(round(n / 4), 1) if n >= 3 else 0
    return {"discover": n - 2 * quarter, "select": quarter, "test": quarter}


def deal(items: Sequence, generator: np.random.Generator) -> dict[str, list]:
    """The items, shuffled, as three lists without overlap."""
    order, dealt, start = generator.permutation(len(items)), {}, 0
    for part, size in sizes(len(items)).items():
        dealt[part] = [items[i] for i in order[start : start + size]]
        start += size
    return dealt


def split_by_cluster(clusters: np.ndarray, generator: np.random.Generator) -> dict[str, np.ndarray]:
    """Row numbers of each part; all rows of a cluster fall in one. With fewer than 3 clusters parts are empty."""
    dealt = deal(np.unique(clusters), generator)
    return {part: np.flatnonzero(np.isin(clusters, dealt[part])) for part in PARTS}


def generate(name: str, n: int, seed: int, pools: Pools, draw: Draw) -> pd.DataFrame:
    """n different prompts as a table with a column `split`, each part made from its own share of every pool.

    `draw(pools, generator)` gives some rows that belong together (with `clean` and a `cluster` label each).
    Raises BadInput for n below 3, and where the words do not make that many prompts.
    """
    check_size(name, n)
    generator = np.random.default_rng(seed)
    dealt = {pool: deal(items, generator) for pool, items in pools.items()}
    rows: list[Row] = []
    taken: set[str] = set()  # the prompts, clean or corrupt, of the parts before
    for part, size in sizes(n).items():
        mine, found, fruitless = {pool: dealt[pool][part] for pool in dealt}, {}, 0
        while len(found) < size:
            drawn = draw(mine, generator)
            apart = taken.isdisjoint(_texts(drawn))
            new = {row["clean"]: row for row in drawn if apart and row["clean"] not in found}
            fruitless = 0 if new else fruitless + 1
            if fruitless > _PATIENCE:
                raise BadInput(
                    f"task {name!r} has about {len(found)} different prompts for its {part} part, "
                    f"and n={n} asks for {size}; ask for fewer"
                )
            found |= new
        kept = list(found.values())[:size]
        taken |= _texts(kept)
        rows += [{**row, "split": part} for row in kept]
    return pd.DataFrame(rows)


def _texts(rows: list[Row]) -> set[str]:
    return {row[side] for row in rows for side in ("clean", "corrupt")}


def check_size(name: str, n: int) -> None:
    """Raises BadInput for an n that cannot be split in three."""
    if n < 3:
        raise BadInput(f"task {name!r} was asked for n={n} prompts; at least 3 are needed, one for each part")


def check_pool(name: str, what: str, pool: Sequence, least: int) -> None:
    """Raises BadInput where a tokenizer leaves too few words."""
    if len(pool) < least:
        raise BadInput(
            f"task {name!r} needs {least} {what} that this tokenizer writes as a single token; it has {len(pool)}. "
            "Use a model with a larger vocabulary."
        )
