"""Tasks whose difficulty is a number: how often a relation is followed, or how many numbers are added.

    hops        "Anna's boss is Mark. ... Anna's boss's boss is" -> " Paul"      1, 2, 3 hops
    pointers    the same in bare tokens: pairs x f(x), then k, x -> f^k(x)                  for models without words
    arithmetic  "3 + 1 + 2 =" -> the sum, behind worked examples of as many terms

The context is the same whatever is asked, so that only the number of steps differs between difficulties.
Papers: Sanford et al. 2024, "Transformers, parallel computation, and logarithmic depth", arXiv 2402.09268 (k-hop);
Csordas et al. 2025, "Do language models use their depth efficiently?", arXiv 2505.13898 (depth against hops).
"""

from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor

from interp.results.errors import BadInput
from interp.tasks.corpus import words
from interp.tasks.metrics import LogitDiff
from interp.tasks.splits import Pools, Row, check_pool, generate
from interp.tasks.task import Task
from interp.tasks.text import continuation, needs_causal, needs_tokenizer, single

CHAIN = 4
"""People in each of the two chains of `hops`, and so the most hops, plus one."""
SYMBOLS, KEYS, MOST_HOPS = 16, 8, 3
"""Of `pointers`: symbols there are, symbols in one sequence, and the largest k. Token SYMBOLS + k - 1 says k."""
DIGITS = 10


def hops(model: Any = None, n: int = 64, seed: int = 0, *, tokenizer: Any = None, hops: int = 2) -> Task:
    """The boss of the boss of somebody: logit of the person that many steps up, minus the one of the other chain.

    Two chains of four people are told in shuffled sentences; corrupt asks about the foot of the other chain, so that
    its answer is the wrong one here. No part shares a name with another. Raises BadInput for a number of hops that is
    not 1 to 3, for a model that predicts no next token, and for a tokenizer that writes too few names as one token.
    """
    needs_causal(model, "hops", tokenizer or getattr(model, "tokenizer", None))
    tokenizer = tokenizer or needs_tokenizer(model, "hops")
    _check("hops", hops, CHAIN - 1)
    names = single(tokenizer, [*words("female_names"), *words("male_names")])
    check_pool("hops", "names", names, 8 * CHAIN)

    def draw(pools: Pools, generator: np.random.Generator) -> list[Row]:
        people = [str(name) for name in generator.choice(pools["names"], 2 * CHAIN, replace=False)]
        chains = people[:CHAIN], people[CHAIN:]
        facts = [f"{a}'s boss is {b}." for chain in chains for a, b in zip(chain, chain[1:])]
        told = " ".join(facts[i] for i in generator.permutation(len(facts)))
        asked = [f"{told} {chain[0]}" + "'s boss" * hops + " is" for chain in chains]
        answers = [f" {chain[hops]}" for chain in chains]
        return [{"clean": asked[0], "corrupt": asked[1], "answer": answers[0], "wrong": answers[1], "hops": hops,
                 "cluster": told}]

    return Task.from_pairs(generate("hops", n, seed, {"names": names}, draw), tokenizer=tokenizer, name="hops")


def arithmetic(model: Any = None, n: int = 64, seed: int = 0, *, tokenizer: Any = None, terms: int = 3,
               shots: int = 3) -> Task:
    """The sum of some digits, below 10: logit of the sum minus logit of the corrupt prompt's sum.

    `shots` worked examples of as many terms stand before the question; corrupt has one digit of the question
    exchanged. Raises BadInput for a number of terms that is not 2 to 6, for a model that predicts no next token, and
    for a tokenizer that does not write digits as single tokens.
    """
    needs_causal(model, "arithmetic", tokenizer or getattr(model, "tokenizer", None))
    tokenizer = tokenizer or needs_tokenizer(model, "arithmetic")
    if not 2 <= terms <= 6:
        raise BadInput(f"arithmetic adds 2 to 6 digits to less than 10, not {terms}")
    space = "" if len(continuation(tokenizer, "1 + 1 =", " 2")) == 1 else " "  # where " 2" is two tokens
    if any(len(continuation(tokenizer, f"1 + 1 ={space}", f"{' ' if not space else ''}{d}")) != 1 for d in range(10)):
        raise BadInput("arithmetic needs a tokenizer that writes every digit as one token")

    def draw(pools: Pools, generator: np.random.Generator) -> list[Row]:
        rows = [_digits(terms, generator) for _ in range(shots + 1)]
        asked = rows[-1]
        place = int(generator.integers(terms))
        other = asked.copy()
        other[place] = int(generator.integers(DIGITS))
        if not 0 <= other.sum() < DIGITS or other.sum() == asked.sum():
            return []
        told = "".join(f"{' + '.join(map(str, row))} = {row.sum()}\n" for row in rows[:-1])
        clean, corrupt = (f"{told}{' + '.join(map(str, row))} ={space}" for row in (asked, other))
        lead = "" if space else " "
        return [{"clean": clean, "corrupt": corrupt, "answer": f"{lead}{asked.sum()}", "wrong": f"{lead}{other.sum()}",
                 "terms": terms, "cluster": clean}]

    return Task.from_pairs(generate("arithmetic", n, seed, {}, draw), tokenizer=tokenizer, name="arithmetic")


def _digits(terms: int, generator: np.random.Generator) -> np.ndarray:
    """Digits that sum to at most nine, every sum alike likely."""
    total = int(generator.integers(DIGITS))
    cuts = np.sort(generator.integers(total + 1, size=terms - 1))
    return np.diff(np.concatenate([[0], cuts, [total]]))


def pointers(model: Any = None, n: int = 64, seed: int = 0, *, hops: int = 2) -> Task:
    """f^k(x) in bare tokens, for a model trained on `pointer_batch`: its logit minus that of f^k(x').

    A cycle of eight of the sixteen symbols is given as eight pairs in shuffled order, then k and x; corrupt asks about
    another x'. Every row is its own cluster. Raises BadInput for a k that is not 1 to 3.
    """
    _check("pointers", hops, MOST_HOPS)
    known = getattr(getattr(model, "map", None), "d_vocab", None)
    if known is not None and known < SYMBOLS + MOST_HOPS:
        raise BadInput(f"pointers has {SYMBOLS + MOST_HOPS} tokens; the model knows {known}")
    split = np.resize(["discover", "discover", "select", "test"], n)
    tokens, cycle = _context(n, torch.Generator().manual_seed(seed))
    start = torch.randint(KEYS, (n, 2), generator=torch.Generator().manual_seed(seed + 1))
    start[:, 1] = (start[:, 0] + 1 + start[:, 1] % (KEYS - 1)) % KEYS
    ask = torch.full((n, 1), SYMBOLS + hops - 1)
    clean, corrupt = (torch.cat([tokens, ask, _at(cycle, start[:, i])], 1) for i in (0, 1))
    correct, wrong = (_at(cycle, (start[:, i] + hops) % KEYS)[:, 0] for i in (0, 1))
    import pandas as pd

    table = pd.DataFrame({"clean": [" ".join(map(str, r)) for r in clean.tolist()],
                          "corrupt": [" ".join(map(str, r)) for r in corrupt.tolist()], "hops": hops, "split": split})
    metric = LogitDiff(torch.full((n,), clean.shape[1] - 1), correct, wrong)
    return Task("pointers", clean, corrupt, metric, table, np.arange(n),
                {part: np.flatnonzero(split == part) for part in ("discover", "select", "test")})


def pointer_batch(rows: int, generator: Generator, queries: int = 8) -> tuple[Tensor, Tensor]:
    """Training data of `pointers`: token ids and targets [rows, 16 + 3 * queries], -100 where nothing is asked.

    Behind the pairs stand `queries` triples k, x, f^k(x), k and x uniform; the target is at x.
    """
    tokens, cycle = _context(rows, generator)
    k = torch.randint(1, MOST_HOPS + 1, (rows, queries), generator=generator)
    start = torch.randint(KEYS, (rows, queries), generator=generator)
    answer = cycle.gather(1, (start + k) % KEYS)
    asked = torch.stack([SYMBOLS + k - 1, cycle.gather(1, start), answer], -1)
    targets = torch.full_like(asked, -100)
    targets[:, :, 1] = answer
    ignored = torch.full_like(tokens, -100)
    return torch.cat([tokens, asked.flatten(1)], 1), torch.cat([ignored, targets.flatten(1)], 1)


def _context(rows: int, generator: Generator) -> tuple[Tensor, Tensor]:
    """Pairs x f(x) in shuffled order [rows, 16], and the cycle [rows, 8] in which f is one step."""
    cycle = torch.rand(rows, SYMBOLS, generator=generator).argsort(1)[:, :KEYS]
    pairs = torch.stack([cycle, cycle.roll(-1, 1)], -1)
    order = torch.rand(rows, KEYS, generator=generator).argsort(1)
    return pairs.gather(1, order[..., None].expand(-1, -1, 2)).flatten(1), cycle


def _at(cycle: Tensor, place: Tensor) -> Tensor:
    return cycle.gather(1, place[:, None])


def _check(name: str, hops: int, most: int) -> None:
    if not 1 <= hops <= most:
        raise BadInput(f"{name} follows its relation 1 to {most} times, not {hops}")
