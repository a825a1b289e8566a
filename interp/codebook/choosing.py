"""Which codes to steer with: those that, active everywhere, raise the chance that a word of the topic comes next.

A word is asked for whole, as the product over the tokens that spell it: with a small vocabulary words begin with one or
two letters, and what raises those raises no word. Codes are chosen on text of one kind and judged by what is generated
from other prompts (`interp.codebook.steering.steer`), since the best of many candidates is partly luck.
"""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Generator, Tensor

from interp.codebook.books import Books
from interp.codebook.circuits import Code
from interp.codebook.steering import activated
from interp.results.errors import BadInput
from interp.results.progress import progress
from interp.tasks.text import encode

_CUT = 12  # characters a token, at most, of the text that a context is cut from


def contexts(tokenizer: Any, texts: Sequence[str], n: int, length: int, seed: int = 0) -> Int[Tensor, "row pos"]:
    """`n` stretches of `length` tokens that end where a word ends, from random places of random texts.

    Raises BadInput where no text is long enough.
    """
    generator, rows, size = Generator().manual_seed(seed), [], length * _CUT
    usable = [text for text in texts if len(text) > size]
    if not usable:
        raise BadInput(f"none of {len(texts)} texts has the {size} characters that contexts of {length} tokens need")
    while len(rows) < n:
        text = usable[int(torch.randint(len(usable), (), generator=generator))]
        start = int(torch.randint(len(text) - size + 1, (), generator=generator))
        ids = encode(tokenizer, text[start : start + size].rpartition(" ")[0])[-length:]
        if len(ids) == length:
            rows.append(ids)
    return torch.tensor(rows)


def spelled(tokenizer: Any, words: Sequence[str]) -> list[list[int]]:
    """The tokens of every word behind a space. Raises BadInput for no words."""
    if not words:
        raise BadInput("a topic needs words: give at least one")
    return [encode(tokenizer, f" {word}") for word in words]


@torch.no_grad()
def log_chance(
    books: Books, before: Int[Tensor, "row pos"], words: Sequence[Sequence[int]], codes: Sequence[Code] = (), *,
    every_slot: bool = False,
) -> Float[Tensor, " row"]:
    """ln of the probability that one of the words comes next, with the codes active everywhere; nats. A word that goes
    on from another (ship, ships) is counted with it."""
    spelt = list(dict.fromkeys(map(tuple, words)))
    spelt = [word for word in spelt if not any(word != other == word[: len(other)] for other in spelt)]
    # a word's last token is never read, so words that begin alike share a row
    stems = {word[:-1] for word in spelt}
    tails = sorted(stem for stem in stems if not any(stem != other and other[: len(stem)] == stem for other in stems))
    row = [next(i for i, tail in enumerate(tails) if tail[: len(word) - 1] == word[:-1]) for word in spelt]
    read, last = _padded(tails, max(map(len, tails))), before.shape[1] - 1
    rows = torch.cat([before.repeat_interleave(len(tails), 0), read.repeat(len(before), 1)], 1)
    with books.model.edit(activated(books, codes, every_slot=every_slot) if codes else books):
        said = books.model(rows)[:, last:].float().log_softmax(-1).cpu().unflatten(0, (len(before), len(tails)))
    tokens = _padded(spelt, read.shape[1] + 1).expand(len(before), -1, -1)
    real = torch.arange(tokens.shape[-1]) < torch.tensor([[len(word)] for word in spelt])
    return (said[:, row].gather(-1, tokens[..., None])[..., 0] * real).sum(-1).logsumexp(-1)


def _padded(words: Sequence[Sequence[int]], length: int) -> Int[Tensor, "word length"]:
    return torch.tensor([[*word, *[0] * (length - len(word))] for word in words], dtype=torch.long)


def influence(
    books: Books, before: Int[Tensor, "row pos"], codes: Sequence[Code], words: Sequence[Sequence[int]], *,
    every_slot: bool = False,
) -> Float[Tensor, " code"]:
    """By how much each code, active everywhere, raises `log_chance`, on average over the contexts; nats."""
    start = log_chance(books, before, words)
    return torch.stack([(log_chance(books, before, words, [code], every_slot=every_slot) - start).mean()
                        for code in progress(codes, "trying codes")])


def strongest(codes: Sequence[Code], gains: Float[Tensor, " code"], per_book: int = 1) -> list[Code]:
    """The `per_book` codes with the largest gains of every book, a head's being a book of its own, best first."""
    taken: dict[tuple[str, int], int] = {}
    found = []
    for i in gains.argsort(descending=True).tolist():
        if taken.setdefault(codes[i][:2], 0) < per_book:
            taken[codes[i][:2]] += 1
            found.append(codes[i])
    return found
