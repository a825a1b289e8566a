"""Modular addition: "a b =" -> (a + b) mod p, in the tokens of garden/mod-add-29.

Paper: Nanda et al. 2023, "Progress measures for grokking via mechanistic interpretability", arXiv 2301.05217.
"""

from typing import Any

import numpy as np
import torch

from interp.results.errors import BadInput
from interp.tasks.metrics import LogitDiff
from interp.tasks.splits import Pools, Row, generate
from interp.tasks.task import Task

LARGEST = 500


def mod_add(model: Any = None, n: int = 64, seed: int = 0, *, modulus: int | None = None) -> Task:
    """The sum of two numbers, modulo 29 for the garden's model: logit of the sum minus logit of the corrupt one's.

    Tokens are 0 to modulus - 1 and, last, the equals sign. Corrupt has one of the two numbers exchanged. Sums are drawn
    from all there are, those that the garden's model was trained on too. A cluster is the two numbers in either order;
    no part has, clean or corrupt, two numbers of another.
    Raises BadInput where the vocabulary is too small, too large (over 501) or not known.
    """
    known = getattr(getattr(model, "map", None), "d_vocab", None)
    if modulus is None and known is None:
        raise BadInput("mod-add needs to know the modulus: give a model such as garden/mod-add-29, or modulus=29")
    p = known - 1 if modulus is None else modulus
    if p < 5 or (known is not None and p >= known):
        raise BadInput(f"mod-add has a modulus of 5 or more and a token for the equals sign, not modulus {p}"
                       + (f" with a vocabulary of {known}" if known is not None else ""))
    if p > LARGEST:
        raise BadInput(f"mod-add lists all pairs of numbers, so its modulus is {LARGEST} at most, not {p}; a model of "
                       "so many tokens was not trained on it. Take garden/mod-add-29, or give modulus=")
    pairs = [(a, b) for a in range(p) for b in range(a, p)]
    table = generate("mod-add", n, seed, {"pairs": pairs}, lambda pools, generator: _draw(pools, generator, p))
    clean, corrupt = (torch.tensor(table.pop(f"{side}_ids").tolist()) for side in ("clean", "corrupt"))
    correct, wrong = (torch.tensor(table[column].to_numpy()) for column in ("answer_id", "wrong_id"))
    metric = LogitDiff(torch.full((n,), 2), correct, wrong)
    _, clusters = np.unique(table["cluster"], return_inverse=True)
    split = {part: np.flatnonzero(table["split"] == part) for part in table["split"].unique()}
    return Task("mod-add", clean, corrupt, metric, table, clusters, split)


def _draw(pools: Pools, generator: np.random.Generator, p: int) -> list[Row]:
    a, b = pools["pairs"][generator.integers(len(pools["pairs"]))]
    if generator.random() < 0.5:
        a, b = b, a
    others = [c for c in range(p) if c != a and (min(b, c), max(b, c)) in pools["pairs"]]
    if not others:
        return []
    c = int(generator.choice(others))
    orders = {(a, b): (c, b), (b, a): (b, c)}
    return [
        {"clean": f"{x} + {y} =", "corrupt": f"{u} + {v} =", "clean_ids": [x, y, p], "corrupt_ids": [u, v, p],
         "answer_id": (a + b) % p, "wrong_id": (c + b) % p, "cluster": f"{min(a, b)} {max(a, b)}"}
        for (x, y), (u, v) in orders.items()
    ]
