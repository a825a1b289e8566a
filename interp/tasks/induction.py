"""Induction: in "A B ... A" the next token is B, whatever A and B are.

Paper: Olsson et al. 2022, "In-context learning and induction heads", arXiv 2209.11895.
"""

from typing import Any, Literal

import numpy as np
import torch

from interp.results.errors import BadInput, nearest
from interp.tasks.metrics import LogitDiff
from interp.tasks.splits import Draw, Row, generate
from interp.tasks.task import Task
from interp.tasks.text import needs_causal

LENGTH = 48  # tokens of a sequence where the context and the vocabulary allow it
SHORTEST = 12


def induction(
    model: Any = None,
    n: int = 64,
    seed: int = 0,
    *,
    tokenizer: Any = None,
    d_vocab: int | None = None,
    length: int | None = None,
    bos: int | None = None,
    counterfactual: Literal["prefix", "answer"] = "prefix",
) -> Task:
    """What followed last time: a block of random tokens repeats, with a period that differs from row to row.

    Read at the last token A: logit of the token B that followed every earlier A, minus that of B', the answer of the
    corrupt sequence. `counterfactual` "prefix" exchanges the earlier A with the token before some other B', so that A
    was followed by B': what stands before a token is changed, and with it where to look. "answer" puts a B' that is
    nowhere else in the place of every B: where to look stays, what is found there changes, and heads that mark a token
    with the one before it do nothing. A lead of random length stands before the block, and all tokens of both are
    different. Rows have `length` tokens after the first one, `bos`: the tokenizer's, for the garden's models the last
    token of the vocabulary. Each row is its own cluster.
    Raises BadInput where the vocabulary or the context is too small, or is not known, and for another counterfactual.
    """
    needs_causal(model, "induction")
    tokenizer = tokenizer if tokenizer is not None else getattr(model, "tokenizer", None)
    if counterfactual not in ("prefix", "answer"):
        raise BadInput(f"induction has the counterfactuals prefix and answer, not {counterfactual!r}."
                       + nearest(str(counterfactual), ("prefix", "answer")))
    size = d_vocab or getattr(getattr(model, "map", None), "d_vocab", None)
    if size is None:
        raise BadInput("induction needs to know the vocabulary: give a model of token ids, or d_vocab=...")
    first, usable = _vocabulary(tokenizer, size, bos)
    length = length or _longest(model, len(usable))
    if length < SHORTEST or length > _longest_for(len(usable)):
        raise BadInput(
            f"induction on sequences of {length} tokens does not fit: give a length of {SHORTEST} or more, and at most "
            f"{_longest_for(len(usable))} for {len(usable)} tokens that can be drawn"
        )
    table = generate("induction", n, seed, {}, _draw(usable, length, counterfactual))
    clean, corrupt = (torch.tensor(table.pop(f"{side}_ids").tolist()) for side in ("clean", "corrupt"))
    if first is not None:
        clean, corrupt = (torch.nn.functional.pad(ids, (1, 0), value=first) for ids in (clean, corrupt))
    correct, wrong = (torch.tensor(table[column].to_numpy()) for column in ("answer_id", "wrong_id"))
    metric = LogitDiff(torch.full((n,), clean.shape[1] - 1), correct, wrong)
    split = {part: np.flatnonzero(table["split"] == part) for part in table["split"].unique()}
    return Task("induction", clean, corrupt, metric, table, np.arange(n), split)


def _vocabulary(tokenizer: Any, size: int, bos: int | None) -> tuple[int | None, np.ndarray]:
    """The id that sequences begin with, and the ids they are drawn from."""
    if tokenizer is None:
        first, special = size - 1 if bos is None else bos, []
    else:
        first = getattr(tokenizer, "bos_token_id", None) if bos is None else bos
        special = list(getattr(tokenizer, "all_special_ids", ()))
    usable = np.setdiff1d(np.arange(min(size, len(tokenizer)) if hasattr(tokenizer, "__len__") else size), special)
    return first, usable if first is None else usable[usable != first]


def _longest(model: Any, n_tokens: int) -> int:
    context = getattr(getattr(model, "map", None), "n_ctx", None) or LENGTH + 1
    return min(LENGTH, context - 1, _longest_for(n_tokens))


def _longest_for(n_tokens: int) -> int:
    """A row has at most 1/4 lead, a block of half the rest, and one more token: 5/8 of its length, and one."""
    return 8 * (n_tokens - 1) // 5


def _draw(usable: np.ndarray, length: int, counterfactual: str) -> Draw:
    def draw(pools: Any, generator: np.random.Generator) -> list[Row]:
        # without a lead the position alone would tell which tokens are ever looked up
        lead = int(generator.integers(length // 4 + 1))
        rest = length - lead
        period = int(generator.integers(max(rest // 4, 4), rest // 2 + 1))
        new, *drawn = generator.choice(usable, 1 + lead + period, replace=False).tolist()
        base = drawn[lead:]
        last = (rest - 1) % period
        answer = base[(last + 1) % period]
        clean = drawn[:lead] + [base[i % period] for i in range(rest)]
        if counterfactual == "prefix":
            # any place of the period but the last token's, the one before it and the one behind it
            place = (last + int(generator.integers(2, period - 1))) % period
            other = base[(place + 1) % period]
            corrupt = [*_exchanged(clean[:-1], base[last], base[place]), clean[-1]]
        else:
            other = new
            corrupt = [other if token == answer else token for token in clean]
        text = {"clean": " ".join(map(str, clean)), "corrupt": " ".join(map(str, corrupt))}
        return [{**text, "clean_ids": clean, "corrupt_ids": corrupt, "answer_id": answer, "wrong_id": other,
                 "lead": lead, "period": period, "cluster": text["clean"]}]

    return draw


def _exchanged(tokens: list[int], a: int, b: int) -> list[int]:
    return [b if token == a else a if token == b else token for token in tokens]
