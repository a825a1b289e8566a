"""Relations between words, as prompts of examples: "Q: hot\\nA: cold\\n\\nQ: big\\nA:" -> " small".

antonyms, past (tense), plural, capital. Only pairs are used whose answer is one token of the model's tokenizer.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from interp.results.errors import BadInput, nearest
from interp.tasks.capitals import countries
from interp.tasks.corpus import words
from interp.tasks.text import Inputs, batch, continuation, encode

Pair = tuple[str, str]
RELATIONS = ("antonyms", "past", "plural", "capital")


@cache
def relation(name: str) -> tuple[Pair, ...]:
    """The pairs of a relation (question, answer), each question once. Raises BadInput for an unknown one."""
    if name not in RELATIONS:
        raise BadInput(f"there is no relation {name!r}.{nearest(name, RELATIONS)} There are: {', '.join(RELATIONS)}")
    if name == "plural":
        return tuple((a, b) for a, b in words("nouns"))
    if name == "capital":
        return tuple(countries().items())
    table = json.loads((files("interp.icl") / "data" / "word_pairs.json").read_text("utf-8"))
    return tuple((a, b) for a, b in table[name])


def single_token_pairs(name: str, tokenizer: Any) -> list[Pair]:
    """The pairs of a relation whose answer is one token behind "A:"."""
    return [(a, b) for a, b in relation(name) if len(continuation(tokenizer, "A:", f" {b}")) == 1]


@dataclass(frozen=True, eq=False)
class Prompts:
    """Prompts of examples for a model: `x` its input, `answers` [prompt] the token ids of what is right, `last`
    [prompt] the position it is read at, `asked` the pair in question."""

    x: Inputs
    answers: Int[Tensor, " prompt"]
    last: Int[Tensor, " prompt"]
    asked: list[Pair]

    def __len__(self) -> int:
        return len(self.asked)


def prompts(
    tokenizer: Any, asked: Sequence[Pair], shown: Sequence[Pair], shots: int, seed: int = 0, *, shuffled: bool = False
) -> Prompts:
    """One prompt for each pair of `asked`, behind `shots` examples drawn from `shown` (never the pair in question).

    `shuffled` deals the answers of the examples among them anew, so that they show no relation; none stays at home
    where there are two or more. Raises BadInput for too few pairs.
    """
    generator, dealer = np.random.default_rng(seed), np.random.default_rng(seed + 1)  # the same words, shuffled or not
    rows = []
    for pair in asked:
        others = [other for other in shown if other[0] != pair[0]]
        if len(others) < shots or (shuffled and shots == 1):
            raise BadInput(f"{shots} examples{' to shuffle' if shuffled else ''} cannot be drawn out of {len(others)}")
        some = [others[i] for i in generator.permutation(len(others))[:shots]]
        answers = [b for _, b in some]
        if shuffled and shots:
            # A turn of a random order is a derangement of places.
            order = dealer.permutation(shots)
            dealt = {int(order[i]): answers[order[(i + 1) % shots]] for i in range(shots)}
            answers = [dealt[i] for i in range(shots)]
        text = "".join(f"Q: {a}\nA: {b}\n\n" for (a, _), b in zip(some, answers)) + f"Q: {pair[0]}\nA:"
        rows.append(encode(tokenizer, text, special=True))
    x, start = batch(rows, tokenizer)
    last = start + torch.tensor([len(row) - 1 for row in rows])
    answers = torch.tensor([continuation(tokenizer, "A:", f" {b}")[0] for _, b in asked])
    return Prompts(x, answers, last, list(asked))
