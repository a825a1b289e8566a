"""Associative recall: keys come with their values, and some keys come again; which value do they have?

    k1 v1 k2 v2 k1 v1 k3 v3 k2 v2 ...       at a key that has been there the next token is known, elsewhere it is chance

Whether a place holds a new pair or an old one is drawn for every row, so that answers stand at no fixed place and the
number of pairs in memory grows within a row. Values may be equal, so that what was answered says nothing of what is
left. Surprise: with all pairs in front and all questions behind them, learned from the answers alone, two softmax
layers stay on a plateau (guessing among the values in the row) far longer than with this mixture and every token
predicted.

Papers: Ba et al. 2016, "Using fast weights to attend to the recent past", arXiv 1610.06258 (the task);
several questions a row: Arora et al. 2023, "Zoology", arXiv 2312.04927.
"""

from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from torch import Generator, Tensor

from interp.results.errors import BadInput
from interp.tasks.metrics import LogitDiff
from interp.tasks.splits import Row, generate
from interp.tasks.task import Task
from interp.tasks.text import needs_causal

N_KEYS = 16  # tokens 0 to 15 are keys, 16 to 31 values
MOST_PAIRS = 8
N_CTX = 32


def episodes(
    rows: int, generator: Generator, *, n_keys: int = N_KEYS, most: int = MOST_PAIRS, n_ctx: int = N_CTX
) -> tuple[Int[Tensor, "batch pos"], Int[Tensor, "batch pos"]]:
    """Token ids [rows, n_ctx] and, at keys that have been there before, how many pairs there are to choose from.

    Elsewhere that number is 0.

    Keys are 0 to n_keys - 1, values n_keys to 2 n_keys - 1, a key's value drawn evenly once a row. A place for a pair
    holds a new one with probability 1/2 while there are fewer than `most`, else one of the pairs before it, evenly.
    Raises BadInput for more pairs than keys, none, or an odd length.
    """
    if not 1 <= most <= n_keys or n_ctx < 2 or n_ctx % 2:
        raise BadInput(f"rows of {n_ctx} tokens with up to {most} pairs were asked for; an even length is needed, and "
                       f"1 to {n_keys} pairs for {n_keys} keys")
    keys = torch.rand(rows, n_keys, generator=generator).argsort(1)[:, :most]
    values = torch.randint(n_keys, 2 * n_keys, (rows, most), generator=generator)
    new = torch.rand(rows, n_ctx // 2, generator=generator) < 0.5
    new[:, 0] = True
    new &= new.cumsum(1) <= most
    known = new.cumsum(1) - new.long()
    asked = (torch.rand(rows, n_ctx // 2, generator=generator) * known).long()
    pair = torch.where(new, known, asked)
    tokens = torch.stack([keys.gather(1, pair), values.gather(1, pair)], 2).flatten(1)
    choices = torch.where(new, 0, known)
    return tokens, torch.stack([choices, torch.zeros_like(choices)], 2).flatten(1)


def recall(model: Any = None, n: int = 64, seed: int = 0, *, pairs: int | None = None) -> Task:
    """The value that stood behind a key: logit of this value minus logit of another key's.

    Rows are `pairs` pairs (by default 6, or as many as fit) and one of their keys, drawn evenly. Tokens: keys are the
    first half of the vocabulary, values the second, as in garden/recall-gpt. Corrupt has the values of the asked key
    and of one other exchanged, so that the same tokens stand there and the answer is the other's. Each row is its own
    cluster.
    Raises BadInput where the vocabulary is odd, too small or not known, or the pairs do not fit the context.
    """
    needs_causal(model, "recall")
    facts = getattr(model, "map", None)
    size, context = getattr(facts, "d_vocab", None) or 2 * N_KEYS, getattr(facts, "n_ctx", None) or N_CTX
    n_keys, most = size // 2, min((context - 1) // 2, size // 2)
    pairs = min(6, most) if pairs is None else pairs
    if size % 2 or not 2 <= pairs <= most:
        raise BadInput(f"recall has as many keys as values and 2 pairs or more: {pairs} pairs do not fit a vocabulary "
                       f"of {size} tokens and a context of {context}; it is made for models such as garden/recall-gpt")
    table = generate("recall", n, seed, {}, lambda pools, generator: _draw(generator, pairs, n_keys))
    clean, corrupt = (torch.tensor(table.pop(f"{side}_ids").tolist()) for side in ("clean", "corrupt"))
    correct, wrong = (torch.tensor(table[column].to_numpy()) for column in ("answer_id", "wrong_id"))
    split = {part: np.flatnonzero(table["split"] == part) for part in table["split"].unique()}
    return Task("recall", clean, corrupt, LogitDiff(torch.full((n,), 2 * pairs), correct, wrong), table, np.arange(n),
                split)


def _draw(generator: np.random.Generator, n_pairs: int, n_keys: int) -> list[Row]:
    keys = generator.permutation(n_keys)[:n_pairs]
    values = n_keys + generator.integers(n_keys, size=n_pairs)
    asked, other = generator.permutation(n_pairs)[:2]
    if values[asked] == values[other]:
        return []
    swapped = values.copy()
    swapped[[asked, other]] = values[[other, asked]]
    sides = {side: [*np.stack([keys, v], 1).flatten().tolist(), int(keys[asked])]
             for side, v in (("clean", values), ("corrupt", swapped))}
    texts = {side: " ".join(map(str, ids)) for side, ids in sides.items()}
    return [{**texts, **{f"{side}_ids": ids for side, ids in sides.items()}, "answer_id": int(values[asked]),
             "wrong_id": int(values[other]), "asked": int(asked), "cluster": texts["clean"]}]
