"""Brackets of two kinds: which one closes the last that is open? In the tokens of garden/dyck-2l.

Paper: Hewitt et al. 2020, "RNNs can generate bounded hierarchical languages with optimal memory", arXiv 2010.07515
(closing brackets as what a language model can be right about).
"""

from typing import Any

import numpy as np
import torch

from interp.results.errors import BadInput
from interp.tasks.metrics import LogitDiff
from interp.tasks.splits import Row, generate
from interp.tasks.task import Task
from interp.tasks.text import needs_causal

BRACKETS = "()[]"
START = len(BRACKETS)  # the token that every word begins with
LENGTH = 32


def dyck(model: Any = None, n: int = 64, seed: int = 0, *, length: int | None = None) -> Task:
    """The bracket that closes the innermost open one: logit of the right closing bracket minus logit of the other kind.

    Tokens are ( ) [ ] and the start; rows are the start and `length` brackets (by default 5/8 of what fits) that some
    end makes a balanced word, with one open at least. Corrupt has the innermost open bracket in the other kind, which
    is one token, as far back as it happens to be. A cluster is a row in both roles.
    Raises BadInput where the vocabulary is not of brackets, or the length does not fit.
    """
    needs_causal(model, "dyck")
    known = getattr(getattr(model, "map", None), "d_vocab", None)
    context = getattr(getattr(model, "map", None), "n_ctx", None) or LENGTH
    length = length or 5 * context // 8
    if known not in (None, START + 1) or not 4 <= length < context:
        raise BadInput(f"dyck has {START + 1} tokens and a length of 4 to {context - 1} brackets, not a vocabulary of "
                       f"{known} and {length} brackets; it is made for garden/dyck-2l")
    table = generate("dyck", n, seed, {}, lambda pools, generator: _draw(generator, length))
    clean, corrupt = (torch.tensor(table.pop(f"{side}_ids").tolist()) for side in ("clean", "corrupt"))
    correct, wrong = (torch.tensor(table[column].to_numpy()) for column in ("answer_id", "wrong_id"))
    metric = LogitDiff(torch.full((n,), length), correct, wrong)
    _, clusters = np.unique(table["cluster"], return_inverse=True)
    split = {part: np.flatnonzero(table["split"] == part) for part in table["split"].unique()}
    return Task("dyck", clean, corrupt, metric, table, clusters, split)


def balanced(rows: int, length: int, generator: np.random.Generator) -> np.ndarray:
    """Balanced words as token ids [rows, length], length even: at every place a bracket opens with probability 1/2
    where both are possible, kinds are drawn evenly."""
    words, depth = np.zeros((rows, length), dtype=np.int64), np.zeros(rows, dtype=np.int64)
    stack = np.zeros((rows, length), dtype=np.int64)
    every = np.arange(rows)
    for place in range(length):
        opens = (depth == 0) | ((depth < length - place) & (generator.random(rows) < 0.5))
        kind = generator.integers(2, size=rows)
        stack[every[opens], depth[opens]] = kind[opens]
        words[:, place] = np.where(opens, 2 * kind, 2 * stack[every, np.maximum(depth - 1, 0)] + 1)
        depth += np.where(opens, 1, -1)
    return words


def innermost(word: list[int]) -> int | None:
    """Place of the innermost bracket of a prefix that is still open, or None."""
    opened: list[int] = []
    for place, token in enumerate(word):
        if token % 2:
            opened.pop()
        else:
            opened.append(place)
    return opened[-1] if opened else None


def _draw(generator: np.random.Generator, length: int) -> list[Row]:
    word = balanced(1, 2 * length, generator)[0, :length].tolist()
    place = innermost(word)
    if place is None:
        return []
    other = [token if i != place else 2 - token for i, token in enumerate(word)]
    texts = ["".join(BRACKETS[token] for token in ids) for ids in (word, other)]
    return [
        {"clean": texts[side], "corrupt": texts[1 - side], "clean_ids": [START, *ids], "corrupt_ids": [START, *against],
         "answer_id": ids[place] + 1, "wrong_id": against[place] + 1, "distance": length - place,
         "cluster": " / ".join(sorted(texts))}
        for side, (ids, against) in enumerate(((word, other), (other, word)))
    ]
