"""induction: the digit that followed this letter before. Friedman, Wettig & Chen 2023 (arXiv 2306.01128), section 4.1.
"""

from functools import partial

import numpy as np

from interp.results.errors import BadInput
from interp.tasks.sequences.build import assemble, distinct
from interp.tasks.sequences.dataset import Dataset

LINE = "at each letter, the digit that followed it last time, or <unk>: a 1 b 0 a 1 -> <unk> . <unk> . 1 ."
SIZES = {"vocab": 10, "length": 10, "n": 20_000}
UNKNOWN = "<unk>"


def oracle(string: tuple[str, ...]) -> list[str | None]:
    """At letters the token behind their last occurrence, `UNKNOWN` at the first; nothing at digits.

    `UNKNOWN` is asked for on purpose. Where first occurrences have no label, what position says is worth more (a
    letter that was seen and is the second one can only be the first one), and no program of seeds 0 to 4 read tokens.
    """
    answers: list[str | None] = []
    for i, token in enumerate(string):
        before = [j for j in range(i) if string[j] == token]
        answers.append(None if token.isdigit() else string[before[-1] + 1] if before else UNKNOWN)
    return answers


def draw(generator: np.random.Generator, letters: str, pairs: int) -> tuple[str, ...]:
    """Letters, each with the digit that a random map gives it; behind a stray digit half the time."""
    digits = [str(i) for i in generator.integers(len(letters), size=len(letters))]
    chosen = generator.integers(len(letters), size=pairs)
    stray = [str(generator.integers(len(letters)))] if generator.random() < 0.5 else []
    return (*stray, *(token for i in chosen for token in (letters[i], digits[i])))


def make(*, vocab: int, length: int, n: int, seed: int) -> Dataset:
    """As many letters as digits, (vocab - 2) / 2 of each; (length - 2) / 2 pairs behind "<s>"."""
    kinds, pairs = (vocab - 2) // 2, (length - 2) // 2
    if kinds < 2 or kinds > 10 or vocab % 2 or pairs < 2:
        raise BadInput(f"induction takes an even vocab of 6 to 22 and a length of 6 or more, not {vocab} and {length}")
    letters = "abcdefghij"[:kinds]
    digits = [str(i) for i in range(kinds)]
    found = distinct(partial(draw, letters=letters, pairs=pairs), n, np.random.default_rng([seed, 0]), "induction")
    drawn = f"{n:,} strings: a random map from letters to digits, then letters, repeats left out"
    return assemble("induction", found, oracle, (*letters, *digits), (UNKNOWN, *digits), n_ctx=length, seed=seed,
                    sizes={"vocab": vocab, "length": length, "n": n}, drawn=drawn, causal=True)
